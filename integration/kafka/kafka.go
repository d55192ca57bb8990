// Package kafka fetches and runs an Apache Kafka of one node, to ask it what Segue should answer, to hand it files that
// Segue wrote, and to have its command-line tools. It needs Java and Maven; who uses it skips where they are missing.
package kafka

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing is what Fetch fails with where there is no Java, or no Maven.
var ErrMissing = errors.New("not installed")

//go:embed pom.xml
var pom string

// Kafka is an Apache Kafka on this machine. Its methods may be called concurrently.
type Kafka struct {
	version string
	jars    string // the folder
}

// Fetch has Maven bring Kafka's jars into the user's cache directory, unless they are there.
func Fetch(ctx context.Context) (*Kafka, error) {
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s, which Apache Kafka needs: %w", program, ErrMissing)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("where to keep Apache Kafka: %w", err)
	}
	version, err := pinned()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(cache, "segue", "kafka-"+version)
	if _, err := os.Stat(home); err == nil {
		return &Kafka{version, home}, nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(filepath.Dir(home), "fetch-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(pom), 0o644); err != nil {
		return nil, err
	}
	jars := filepath.Join(work, "jars")
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+jars)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fetch Apache Kafka %s by Maven: %w\n%s", version, err, out)
	}
	if err := os.Rename(jars, home); err != nil && !errors.Is(err, os.ErrExist) { // another process may have been first
		return nil, err
	}
	return &Kafka{version, home}, nil
}

// At is the Kafka in a folder of a distribution, as it is downloaded and unpacked.
func At(home string) (*Kafka, error) {
	const prefix = "kafka-clients-"
	found, err := filepath.Glob(filepath.Join(home, "libs", prefix+"*.jar"))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("%s holds no Apache Kafka: there is no libs/%s*.jar in it", home, prefix)
	}
	version := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(found[0]), ".jar"), prefix)
	return &Kafka{version, filepath.Join(home, "libs")}, nil
}

// pinned is the version that pom.xml names.
func pinned() (string, error) {
	_, rest, _ := strings.Cut(pom, "<kafka.version>")
	version, _, found := strings.Cut(rest, "</kafka.version>")
	if !found {
		return "", errors.New("pom.xml names no kafka.version")
	}
	return version, nil
}

// Version is the release, such as 4.3.1.
func (k *Kafka) Version() string { return k.version }

// ClassPath is what Java finds Kafka's classes by.
func (k *Kafka) ClassPath() string { return filepath.Join(k.jars, "*") }

// Command is a command-line tool, named by its class; kafka-topics.sh is org.apache.kafka.tools.TopicCommand. The Java
// machine is set for a short run.
func (k *Kafka) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	return k.java(ctx, []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx512M"}, class, args...)
}

func (k *Kafka) java(ctx context.Context, machine []string, class string, args ...string) *exec.Cmd {
	argv := append([]string{
		"-cp", k.ClassPath(),
		"-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.logFile=System.err",
	}, machine...)
	return exec.CommandContext(ctx, "java", append(append(argv, class), args...)...)
}

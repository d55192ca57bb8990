package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandLine covers what ends before a broker is made. Starting and stopping is for internal/broker and
// integration.
func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("listners=PLAINTEXT://:0\nnum.partitions=none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty, garbage := t.TempDir(), filepath.Join(t.TempDir(), "partition.checkpoint")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		args    []string
		environ []string
		code    int
		stdout  []string
		stderr  []string
	}{
		{name: "help", args: []string{"--help"}, stdout: []string{"Usage:", "--override", "9092", "./data"}},
		{name: "version", args: []string{"--version"}, stdout: []string{"segue "}},
		{name: "unknown flag", args: []string{"--prot", "1"}, code: exitUsage, stderr: []string{"--prot", "--help"}},
		{name: "argument", args: []string{"start"}, code: exitUsage, stderr: []string{`"start"`}},
		{name: "no such file", args: []string{"--config", file + ".not"}, code: exitUsage, stderr: []string{"--config", "no such file"}},
		{name: "bad value in a file, near name", args: []string{"--config", file}, code: exitUsage, stderr: []string{"num.partitions", "none"}},
		{name: "bad override", args: []string{"--override", "num.partitions"}, code: exitUsage, stderr: []string{"num.partitions"}},
		{name: "bad value in the environment", environ: []string{"KAFKA_NUM_PARTITIONS=x"}, code: exitUsage, stderr: []string{"num.partitions", "x"}},
		{name: "level", args: []string{"--log-level", "loud"}, code: exitUsage, stderr: []string{"loud", "debug, info"}},
		{name: "log", args: []string{"log"}, stdout: []string{"broker log verify", "broker log dump"}},
		{name: "log help", args: []string{"log", "--help"}, stdout: []string{"broker log verify", "broker log dump"}},
		{name: "log with an argument", args: []string{"log", "repair"}, code: exitUsage, stderr: []string{`"repair"`, "broker log --help"}},
		{name: "verify help", args: []string{"log", "verify", "-h"}, stdout: []string{"Usage:", "--deep", "--override"}},
		{name: "verify of nothing", args: []string{"log", "verify", file + ".not"}, code: exitUsage, stderr: []string{file + ".not", "no such file"}},
		{name: "verify, bad setting", args: []string{"log", "verify", "--config", file}, code: exitUsage, stderr: []string{"num.partitions"}},
		{name: "verify, unknown flag", args: []string{"log", "verify", "--repair"}, code: exitUsage, stderr: []string{"--repair", "broker log verify --help"}},
		{name: "verify, log.dirs of the environment", args: []string{"log", "verify"}, environ: []string{"KAFKA_LOG_DIRS=" + empty},
			stdout: []string{"0 logs", "sound"}},
		{name: "verify, log.dirs of an override", args: []string{"log", "verify", "--override", "log.dirs=" + empty}, stdout: []string{"0 logs", "sound"}},
		{name: "dump help", args: []string{"log", "dump", "--help"}, stdout: []string{"Usage:", "--records", "--json", "--from"}},
		{name: "dump of what?", args: []string{"log", "dump"}, code: exitUsage, stderr: []string{"which", "broker log dump --help"}},
		{name: "dump of nothing", args: []string{"log", "dump", file}, code: exitUsage, stderr: []string{file, "*.log"}},
		{name: "dump, bad range", args: []string{"log", "dump", "--from", "-1", file}, code: exitUsage, stderr: []string{"--from -1"}},
		{name: "dump of damage", args: []string{"log", "dump", garbage}, code: exitDamaged, stdout: []string{garbage, "damaged"}},
		{name: "format", args: []string{"--log-format", "xml"}, code: exitUsage, stderr: []string{"xml", "text and json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, tt.environ, &stdout, &stderr); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("standard output lacks %q:\n%s", want, &stdout)
				}
			}
			for _, want := range tt.stderr {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("standard error lacks %q:\n%s", want, &stderr)
				}
			}
		})
	}
}

func TestUnknownSettingIsAWarning(t *testing.T) {
	var out bytes.Buffer
	log, err := logger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readSettings("", []string{"KAFKA_LOG_RETENTION_HOUR=3"}, nil, log); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "log.retention.hours") {
		t.Errorf("no warning names the setting that was meant: %s", &out)
	}
}

// Command broker is Segue: a Kafka-compatible broker in one process that needs nothing else.
//
// It turns flags, environment and a properties file into a broker.Config, runs the broker until it is told to stop,
// and has no logic beyond that.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"segue/internal/broker"
	"segue/internal/config"
)

// version is set by the linker for a release.
var version = ""

const usage = `Segue is a Kafka-compatible broker.

Usage:
  broker [flags]
  broker log verify|dump ...

Without flags it listens on port 9092, keeps its data in ./data, serves health and
metrics over HTTP on port 9644, and creates topics when they are first used.

Settings have Kafka's names. They come from the file that --config names, from
environment variables (KAFKA_LOG_DIRS is log.dirs, as in the apache/kafka image), and
from --override; where they differ, the later of these three wins.

"broker log --help" tells how to verify and print the data of a broker that is stopped.

Examples:
  broker
  broker --override log.dirs=/var/lib/segue --override listeners=PLAINTEXT://:19092
  broker --config server.properties
  KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka.example.org:9092 broker

Flags:
`

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the broker could not start, or did not end well
	exitUsage  = 2 // the command line or the configuration is wrong
)

func run(args, environ []string, stdout, stderr io.Writer) int {
	started := time.Now()
	root := &cobra.Command{
		Use: "broker", Args: noArguments, SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	flags := root.Flags()
	file, overrides := settingsFlags(flags)
	level := flags.String("log-level", "info", "how much to log: debug, info, warn or error")
	format := flags.String("log-format", "auto", "how to log: text, json, or auto for text on a terminal and json elsewhere")
	showVersion := flags.Bool("version", false, "print the version and exit")
	helpIs(root, usage)
	code := exitOK
	root.RunE = func(*cobra.Command, []string) error {
		if *showVersion {
			fmt.Fprintln(stdout, build())
			return nil
		}
		log, err := logger(stderr, *level, *format)
		if err != nil {
			return err
		}
		settings, err := readSettings(*file, environ, *overrides, log)
		if err != nil {
			return err
		}
		code = serve(broker.Config{Settings: settings, Log: log, Version: build(), Started: started})
		return nil
	}
	root.AddCommand(logCommand(environ))
	err := root.Execute()
	var usage *usageError
	switch {
	case err == nil:
		return code
	case errors.Is(err, errDamaged):
		return exitDamaged
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "broker: %v\n%s --help tells what there is.\n", err, usage.command)
		return exitUsage
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "broker: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exitUsage
}

// usageError is a command line that is wrong.
type usageError struct {
	error
	command string // whose help tells how it is right
}

// settingsFlags are the flags by which settings are given.
func settingsFlags(flags *pflag.FlagSet) (file *string, overrides *[]string) {
	flags.SortFlags = false
	file = flags.String("config", "", "a properties file with settings")
	overrides = flags.StringArray("override", nil, "a setting, as name=value; may be repeated")
	return file, overrides
}

// helpIs gives a command its text for --help, and has what is wrong with its command line point there.
func helpIs(c *cobra.Command, text string) {
	c.Flags().BoolP("help", "h", false, "print this text and exit")
	c.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprint(c.OutOrStdout(), text, c.LocalFlags().FlagUsages())
	})
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} })
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{fmt.Errorf("unexpected argument %q", args[0]), c.CommandPath()}
}

// serve runs the broker until it fails or a signal asks it to stop. A second signal ends the process at once.
func serve(c broker.Config) int {
	spareProcs()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on signals do what they do by default
	if err := broker.Run(ctx, c); err != nil {
		c.Log.Error().Err(err).Msg("broker ended")
		return exitFailed
	}
	return exitOK
}

// enoughProcs is how many threads at a time are enough to run Go code, whatever the disks do.
const enoughProcs = 8

// spareProcs has the runtime not run out of threads while some of them are at a disk: it takes a thread in a system call
// for busy until it has seen for a while that it is not, and on few processors all may be. What is to use no more than
// the processors goes by runtime.NumCPU. A limit of the container, or of whoever starts the broker (GOMAXPROCS), stays.
func spareProcs() {
	if _, set := os.LookupEnv("GOMAXPROCS"); !set && runtime.GOMAXPROCS(0) == runtime.NumCPU() {
		n := runtime.NumCPU()
		runtime.GOMAXPROCS(max(n, min(2*n, enoughProcs)))
	}
}

// readSettings reads the file, the environment and the overrides, and logs what a user should know of them.
func readSettings(file string, environ, overrides []string, log zerolog.Logger) (*config.Layers, error) {
	var fromFile []config.Setting
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		defer f.Close()
		if fromFile, err = config.ReadProperties(f, file); err != nil {
			return nil, err
		}
	}
	fromFlags, err := config.ReadOverrides(overrides)
	if err != nil {
		return nil, err
	}
	settings, warnings, err := config.New(fromFile, config.ReadEnvironment(environ), fromFlags)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn().Msg(w.Text)
	}
	return settings, nil
}

// logger returns the logger that the flags ask for.
func logger(out io.Writer, level, format string) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Logger{}, fmt.Errorf("--log-level %q: it is one of debug, info, warn and error", level)
	}
	switch format {
	case "auto":
		if f, ok := out.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				out = console(out)
			}
		}
	case "text":
		out = console(out)
	case "json":
	default:
		return zerolog.Logger{}, fmt.Errorf("--log-format %q: it is one of auto, text and json", format)
	}
	return zerolog.New(out).Level(l).With().Timestamp().Logger(), nil
}

func console(out io.Writer) io.Writer {
	return zerolog.ConsoleWriter{Out: out, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""}
}

// build tells which version this is, from the linker or from what the toolchain has written into the binary.
func build() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v == "(devel)" {
				v = "devel-" + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("segue %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

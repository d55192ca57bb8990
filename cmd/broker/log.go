package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"segue/internal/inspect"
	"segue/storage/record"
)

const logHelp = `Looks at the data of a broker that is stopped, or at a copy of it. Nothing is changed.

Usage:
  broker log verify [DIR...] [flags]
  broker log dump PATH... [flags]

Flags:
`

const verifyHelp = `Verifies directories of logs: every batch and its checksum, the order of the offsets,
indexes, checkpoints, topic ids, and the catalog. Each finding is a line that says what
is wrong where, and what the broker does about it. Nothing is changed.

Usage:
  broker log verify [DIR...] [flags]

DIR is a directory of logs (log.dirs), or one log's folder in it. Without DIR it is the
log.dirs of the settings, which are read as the broker reads them.

It ends with 0 if all is sound, 1 if something is damaged, and 2 if it could not look.

Flags:
`

const dumpHelp = `Prints what is in the files of logs. Nothing is changed.

Usage:
  broker log dump PATH... [flags]

PATH is a file (*.log in Kafka's format, *.idx, *.checkpoint, partition.metadata,
log-start-offset), the folder of a log, or a directory of logs. The catalog is the
folder @catalog-0. Indexes are printed if they are named.

It ends with 0, with 1 if something in the files is damaged, and with 2 if they could
not be read.

Examples:
  broker log dump data/orders-0 --records --from 100 --to 110
  broker log dump data/@catalog-0 --json

Flags:
`

// The exit code of the log commands for damage; what else goes wrong is exitUsage.
const exitDamaged = 1

// errDamaged says that damage was found, and told of already.
var errDamaged = errors.New("damaged")

// logCommand is `broker log`.
func logCommand(environ []string) *cobra.Command {
	log := &cobra.Command{Use: "log", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	helpIs(log, logHelp)
	log.AddCommand(verifyCommand(environ), dumpCommand())
	return log
}

func verifyCommand(environ []string) *cobra.Command {
	verify := &cobra.Command{Use: "verify"}
	helpIs(verify, verifyHelp)
	file, overrides := settingsFlags(verify.Flags())
	deep := verify.Flags().Bool("deep", false, "look inside the batches as well, which are decompressed for it")
	verify.RunE = func(c *cobra.Command, dirs []string) error {
		if len(dirs) == 0 {
			settings, err := readSettings(*file, environ, *overrides, zerolog.Nop())
			if err != nil {
				return err
			}
			dirs = settings.Broker().LogDirs
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
		defer stop()
		r, err := inspect.Verify(ctx, dirs, inspect.VerifyOptions{Deep: *deep, Out: c.OutOrStdout(), Progress: terminal(c.ErrOrStderr())})
		if err == nil && r.Damaged > 0 {
			return errDamaged
		}
		return err
	}
	return verify
}

func dumpCommand() *cobra.Command {
	dump := &cobra.Command{Use: "dump", Args: func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return &usageError{errors.New("which file or folder?"), c.CommandPath()}
		}
		return nil
	}}
	helpIs(dump, dumpHelp)
	from := dump.Flags().Int64("from", 0, "the first offset to print")
	to := dump.Flags().Int64("to", 0, "the offset to stop at; 0 for the end")
	records := dump.Flags().Bool("records", false, "print the records of each batch")
	asJSON := dump.Flags().Bool("json", false, "print one JSON object a line")
	dump.RunE = func(c *cobra.Command, paths []string) error {
		if *from < 0 || *to < 0 {
			return &usageError{fmt.Errorf("--from %d --to %d: offsets are not negative", *from, *to), c.CommandPath()}
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
		defer stop()
		progress := terminal(c.ErrOrStderr())
		if terminal(c.OutOrStdout()) != nil {
			progress = nil // the two would write over each other
		}
		damaged, err := inspect.Dump(ctx, paths, inspect.DumpOptions{
			From: record.Offset(*from), To: record.Offset(*to), Records: *records, JSON: *asJSON, Out: c.OutOrStdout(), Progress: progress,
		})
		if err == nil && damaged {
			return errDamaged
		}
		return err
	}
	return dump
}

// terminal returns w if it is a terminal, else nil.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return w
		}
	}
	return nil
}

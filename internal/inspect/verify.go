package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"segue/internal/catalog"
	"segue/internal/catalog/local"
	"segue/storage"
	"segue/storage/vfs"
)

// VerifyOptions say what Verify is to look for and where it prints.
type VerifyOptions struct {
	FS vfs.FS // the operating system's by default
	// Deep has the records inside each batch walked, decompressed if need be: the checksums say only that a batch is as it
	// was written.
	Deep bool
	Out  io.Writer // findings, one a line, and the summary
	// Progress is where a progress bar is drawn; nil for none.
	Progress io.Writer
}

// decompressLimit bounds what one batch may unpack to.
const decompressLimit = 256 << 20

// Result is what a verification has come to.
type Result struct {
	Damaged, Notes int
	Logs, Segments int
	Batches        int64
	Records        int64
	Bytes          int64
}

// Verify verifies directories of logs, or single folders of logs. The first one is to hold the catalog, if any does. The
// error is that of a directory or file that cannot be read; damage is none.
func Verify(ctx context.Context, dirs []string, o VerifyOptions) (Result, error) {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	v := &verification{options: o}
	defer v.close()
	for _, dir := range dirs {
		if err := v.open(dir); err != nil {
			return v.result, err
		}
	}
	if err := v.find(ctx); err != nil {
		return v.result, err
	}
	v.bar = newBar(o.Progress, v.bytes, "verifying")
	err := v.run(ctx)
	v.bar.finish()
	if err == nil {
		v.summary()
	}
	return v.result, err
}

// verification is one run of Verify.
type verification struct {
	options VerifyOptions
	opened  []*storage.Inspection
	only    []*storage.Identity // for each of them the one log that is asked for, or nil for all
	logs    []logFolder
	bytes   int64
	image   *catalog.Image // nil where there is none to go by
	bar     *bar
	result  Result
}

// logFolder is a log that is to be looked at.
type logFolder struct {
	in *storage.Inspection
	id storage.Identity
}

func (l logFolder) path() string { return filepath.Join(l.in.Path(), l.id.Folder()) }

// open begins the inspection of a directory, or of the one that holds the folder of a log.
func (v *verification) open(dir string) error {
	fsys := v.options.FS
	dir = filepath.Clean(dir)
	var only *storage.Identity
	if id, ok := storage.ParseFolder(filepath.Base(dir)); ok && holdsData(fsys, dir) {
		only, dir = &id, filepath.Dir(dir)
	}
	in, err := storage.Inspect(dir, storage.Options{FS: v.options.FS, DecompressLimit: decompressLimit})
	if err != nil {
		return err
	}
	v.opened, v.only = append(v.opened, in), append(v.only, only)
	return nil
}

// holdsData says whether a folder has a data file in it.
func holdsData(fsys vfs.FS, folder string) bool {
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !e.Dir && storage.KindOf(e.Name) == storage.DataFile {
			return true
		}
	}
	return false
}

func (v *verification) close() {
	for _, in := range v.opened {
		_ = in.Close() // nothing was written
	}
}

// find lists the logs that are to be looked at.
func (v *verification) find(ctx context.Context) error {
	for i, in := range v.opened {
		ids, err := in.List(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if only := v.only[i]; only != nil && id.Folder() != only.Folder() {
				continue
			}
			n, err := in.Bytes(id)
			if err != nil {
				return err
			}
			v.bytes += n
			v.logs = append(v.logs, logFolder{in, id})
		}
	}
	return nil
}

func (v *verification) run(ctx context.Context) error {
	whole := true
	for i, in := range v.opened {
		if v.only[i] != nil {
			whole = false
			continue
		}
		if err := in.VerifyDir(v.report); err != nil {
			return err
		}
	}
	cut, damaged, err := v.catalogLog(ctx)
	if err != nil {
		return err
	}
	if whole && !damaged {
		if err := v.catalog(ctx, cut); err != nil {
			return err
		}
	}
	for _, l := range v.logs {
		if l.id.Topic == local.Topic {
			continue
		}
		if _, err := v.log(ctx, l, v.report); err != nil {
			return err
		}
	}
	return nil
}

// log verifies one log.
func (v *verification) log(ctx context.Context, l logFolder, report func(storage.Finding)) (storage.Verified, error) {
	id, compacted := v.expected(l)
	sum, err := l.in.VerifyLog(ctx, id, storage.VerifyOptions{
		Compacted: compacted, Records: v.options.Deep, Report: report, Progress: v.bar.add,
	})
	if err != nil {
		return sum, fmt.Errorf("verify %s: %w", l.path(), err)
	}
	v.result.Logs++
	v.result.Segments += sum.Segments
	v.result.Batches += sum.Batches
	v.result.Records += sum.Records
	v.result.Bytes += sum.Bytes
	return sum, nil
}

// expected returns what the catalog says of a folder: its topic id, as far as it is known, and whether it is compacted.
func (v *verification) expected(l logFolder) (id storage.Identity, compacted bool) {
	id = l.id
	id.TopicID = [16]byte{} // the folder's own word is for the verification to read
	if v.image == nil {
		return id, false
	}
	t, ok := v.image.TopicByID(l.id.TopicID)
	if !ok {
		if t, ok = v.image.Topic(l.id.Topic); !ok {
			return id, false
		}
	}
	id.TopicID = t.ID
	return id, strings.Contains(t.Configs["cleanup.policy"], "compact")
}

// report prints a finding.
func (v *verification) report(f storage.Finding) {
	v.bar.clear()
	kind := "damaged"
	if f.Note {
		kind = "note"
		v.result.Notes++
	} else {
		v.result.Damaged++
	}
	var where strings.Builder
	where.WriteString(f.File)
	if f.Position >= 0 {
		fmt.Fprintf(&where, " byte %d", f.Position)
	}
	if f.From >= 0 && f.To != f.From {
		where.WriteString(" " + span(f.From, f.To))
	}
	fmt.Fprintf(v.options.Out, "%-8s %s: %s; %s\n", kind, &where, oneLine(f.Err), f.Outcome)
}

// oneLine is the text of an error on one line.
func oneLine(err error) string {
	if err == nil {
		err = errors.New("no reason is given")
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func (v *verification) summary() {
	r := v.result
	state := "sound"
	if r.Damaged > 0 {
		state = fmt.Sprintf("%d damaged", r.Damaged)
	}
	if r.Notes > 0 {
		state += fmt.Sprintf(", %s", plural(int64(r.Notes), "note"))
	}
	fmt.Fprintf(v.options.Out, "%s, %s, %s, %s, %s: %s\n", plural(int64(r.Logs), "log"), plural(int64(r.Segments), "segment"),
		plural(r.Batches, "batch"), plural(r.Records, "record"), size(r.Bytes), state)
}

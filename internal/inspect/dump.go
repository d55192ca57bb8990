package inspect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"segue/internal/catalog/local"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
)

// DumpOptions say what Dump is to print.
type DumpOptions struct {
	FS vfs.FS // the operating system's by default
	// From and To bound the offsets: From to To-1. A To of 0 is no bound.
	From, To record.Offset
	// Records has the records of each batch printed. Those of the catalog always are.
	Records bool
	// JSON has each thing printed as one object on a line of its own.
	JSON bool
	Out  io.Writer
	// Progress is where a progress bar is drawn; nil for none.
	Progress io.Writer
}

// errEnough ends a scan behind the last offset that is wanted.
var errEnough = errors.New("enough")

// Dump prints files, or what is in folders: of a log's folder its files, of a directory of logs all of them. It tells of
// damage in its place and goes on behind it. Damaged says whether there was any; the error is that of a file that cannot
// be read, or of a name that is nothing to dump.
func Dump(ctx context.Context, paths []string, o DumpOptions) (damaged bool, err error) {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	out := bufio.NewWriterSize(o.Out, 64<<10)
	d := &dumper{options: o, decompressor: record.NewDecompressor(decompressLimit)}
	if o.JSON {
		d.to = newJSONPrinter(out)
	} else {
		d.to = &textPrinter{out: out}
	}
	for _, path := range paths {
		if err := d.find(filepath.Clean(path)); err != nil {
			return false, err
		}
	}
	d.bar = newBar(o.Progress, d.bytes, "reading")
	for _, file := range d.files {
		if err = d.file(ctx, file); err != nil {
			break
		}
	}
	d.bar.finish()
	return d.damaged, errors.Join(err, out.Flush())
}

// printer is a form of output.
type printer interface {
	file(path string)
	batch(pos int64, b record.Batch)
	record(r record.Record)
	damage(s storage.Scanned)
	unsound(path string, err error)
	index(path string, x storage.IndexContents)
	checkpoint(path string, c storage.CheckpointContents)
	topicID(path string, id [16]byte)
	logStart(path string, at record.Offset)
}

type dumper struct {
	options      DumpOptions
	to           printer
	decompressor *record.Decompressor
	files        []string
	bytes        int64 // of the data files among them
	bar          *bar
	damaged      bool
}

// find lists the files that a path stands for: a file, the folder of a log, or a directory of logs.
func (d *dumper) find(path string) error {
	info, err := d.options.FS.Stat(path)
	if err != nil {
		return err
	}
	if !info.Dir {
		kind := storage.KindOf(path)
		if kind == storage.OtherFile {
			return fmt.Errorf("dump %s: it is no file of a log by its name; these are *.log, *.cut, *.idx, *.checkpoint, "+
				"partition.metadata and log-start-offset", path)
		}
		d.add(path, kind, info.Size)
		return nil
	}
	if _, ok := storage.ParseFolder(filepath.Base(path)); ok {
		return d.findIn(path)
	}
	entries, err := d.options.FS.ReadDir(path)
	if err != nil {
		return err
	}
	before := len(d.files)
	for _, e := range entries {
		if _, ok := storage.ParseFolder(e.Name); ok && e.Dir {
			if err := d.findIn(filepath.Join(path, e.Name)); err != nil {
				return err
			}
		}
	}
	if len(d.files) == before {
		return fmt.Errorf("dump %s: there is no folder of a log in it", path)
	}
	return nil
}

// findIn lists the files of a log's folder, the small ones first. Indexes are long and say little: they are dumped if they
// are asked for by name.
func (d *dumper) findIn(folder string) error {
	entries, err := d.options.FS.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, data := range []bool{false, true} {
		for _, e := range entries {
			kind := storage.KindOf(e.Name)
			if !e.Dir && kind != storage.OtherFile && kind != storage.IndexFile && (kind == storage.DataFile) == data {
				d.add(filepath.Join(folder, e.Name), kind, e.Size)
			}
		}
	}
	return nil
}

func (d *dumper) add(path string, kind storage.FileKind, size int64) {
	d.files = append(d.files, path)
	if kind == storage.DataFile {
		d.bytes += size
	}
}

func (d *dumper) file(ctx context.Context, path string) error {
	fsys := d.options.FS
	var err error
	switch storage.KindOf(path) {
	case storage.DataFile:
		err = d.data(ctx, path)
	case storage.IndexFile:
		var x storage.IndexContents
		if x, err = storage.ReadIndex(fsys, path); err == nil {
			d.to.index(path, x)
		}
	case storage.CheckpointFile:
		var c storage.CheckpointContents
		if c, err = storage.ReadCheckpoint(fsys, path); err == nil {
			d.to.checkpoint(path, c)
		}
	case storage.TopicIDFile:
		var id [16]byte
		if id, _, err = storage.ReadTopicID(fsys, filepath.Dir(path)); err == nil {
			d.to.topicID(path, id)
		}
	case storage.LogStartFile:
		var at record.Offset
		if at, err = storage.ReadLogStart(fsys, filepath.Dir(path)); err == nil {
			d.to.logStart(path, at)
		}
	}
	var corrupt *storage.CorruptError
	if errors.As(err, &corrupt) || errors.Is(err, storage.ErrUnsupported) {
		d.damaged = true
		d.to.unsound(path, err)
		return nil
	}
	return err
}

// data dumps a data file.
func (d *dumper) data(ctx context.Context, path string) error {
	from, to := d.options.From, d.options.To
	records := d.options.Records
	if id, ok := storage.ParseFolder(filepath.Base(filepath.Dir(path))); ok && id.Topic == local.Topic {
		records = true
	}
	named := false
	name := func() {
		if !named {
			d.to.file(path)
			named = true
		}
	}
	if from == 0 && to == 0 {
		name() // also if there is nothing in it
	}
	err := storage.ScanFile(ctx, d.options.FS, path, func(s storage.Scanned) error {
		d.bar.add(s.Bytes)
		switch {
		case to > 0 && s.Low >= to:
			return errEnough
		case s.High >= 0 && s.High <= from:
			return nil
		case s.Err != nil:
			name()
			d.damaged = true
			d.to.damage(s)
			return nil
		}
		name()
		d.to.batch(s.Position, s.Batch)
		if records {
			d.records(s)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// records dumps the records of a batch that are wanted.
func (d *dumper) records(s storage.Scanned) {
	for r, err := range s.Batch.Records(d.decompressor) {
		if err != nil {
			d.damaged = true
			s.Err = err
			d.to.damage(s)
			return
		}
		if r.Offset >= d.options.From && (d.options.To <= 0 || r.Offset < d.options.To) {
			d.to.record(r)
		}
	}
}

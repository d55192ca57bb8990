package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"segue/storage/vfs"
)

// run is what the run file says about the last time the directory was in use.
type run struct {
	Version int    `json:"version"`
	BootID  string `json:"boot_id"`
}

// begin reads the run file and writes that of this run.
func (d *Dir) begin() error {
	path := filepath.Join(d.path, runFile)
	last, err := readRun(d.fs, path)
	if err != nil && !errors.Is(err, errUnsound) { // one that says nothing of the last run is the careful assumption
		return err
	}
	d.noteBoot(last)
	d.unproven = d.unproven || err != nil
	if boot := d.fs.BootID(); boot == "" || last.BootID != boot { // else the file says so already
		b, err := json.Marshal(run{Version: runVersion, BootID: boot})
		if err != nil {
			return err
		}
		if err := d.reserve.with(forCatalog, func() error { return writeFile(d.fs, path, append(b, '\n')) }); err != nil {
			return err
		}
	}
	// For the last run too, which may not have come to make durable that folders have lost their names.
	return d.fs.SyncDir(d.path)
}

// readRun reads a run file; none is as good as an empty one. errUnsound says that it is not one.
func readRun(fsys vfs.FS, path string) (last run, err error) {
	b, err := readFile(fsys, path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return run{}, nil
	}
	if err != nil {
		return run{}, err
	}
	if err := json.Unmarshal(b, &last); err != nil {
		return run{}, fmt.Errorf("%s: %w: %w", path, errUnsound, err)
	}
	if last.Version > runVersion {
		return run{}, fmt.Errorf("%s: %w: version %d, this broker knows %d; use the newer broker", path, ErrUnsupported, last.Version, runVersion)
	}
	return last, nil
}

// noteBoot takes in what the last run has left about the machine.
func (d *Dir) noteBoot(last run) {
	boot := d.fs.BootID()
	d.unproven = last.BootID == boot || boot == ""
	if boot != "" {
		d.bootMark = max(1, crc32.Checksum([]byte(boot), castagnoli))
	}
}

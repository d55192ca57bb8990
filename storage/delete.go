package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Delete closes a log if it is open and takes its folder's name away, durably; what is in it is removed in the
// background. A folder of that name with another topic id stays. It is no error if there is none.
func (d *Dir) Delete(ctx context.Context, id Identity) error {
	d.mu.Lock()
	l := d.logs[id.Folder()]
	d.mu.Unlock()
	if l != nil && l.id == id {
		l.abandon()
	}
	if err := d.claim(id.Folder()); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	defer d.busy.Done()
	defer func() {
		d.mu.Lock()
		delete(d.logs, id.Folder())
		d.mu.Unlock()
	}()
	if err := d.delete(id); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	return nil
}

// delete is Delete for a folder in which no log is open.
func (d *Dir) delete(id Identity) error {
	known, ok, err := readMetadata(d.fs, filepath.Join(d.path, id.Folder()))
	var unreadable *CorruptError
	switch {
	case errors.As(err, &unreadable), errors.Is(err, errUnsound), errors.Is(err, ErrUnsupported):
		// Nobody knows whose it is. The topic is rid of it, and what is in it is for somebody to look at.
		d.log.Error().Err(err).Str("folder", id.Folder()).Msg("the topic id of a deleted log cannot be read")
		return d.setAside(id.Folder(), id.TopicID)
	case err != nil:
		return err
	case ok && known != id.TopicID:
		return nil
	}
	gone, err := d.rename(id.Folder(), id.TopicID, deletedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return d.syncNames() // there is no folder, but it may have lost its name just now, in vain
	}
	if err == nil {
		d.cleaner.remove(trash{paths: []string{gone}})
	}
	return err
}

// setAside gives a folder that is not the one of the topic that opens or deletes it a name that no log has.
func (d *Dir) setAside(folder string, id [16]byte) error {
	stray, err := d.rename(folder, id, straySuffix)
	if err == nil {
		d.log.Warn().Str("folder", folder).Str("now", stray).
			Msg("folder does not belong to the topic of that name; it is set aside and may be removed by hand")
	}
	return err
}

// rename gives a folder another name, durably, and returns its path.
func (d *Dir) rename(folder string, id [16]byte, suffix string) (string, error) {
	to := d.unusedName(folder, id, suffix)
	err := d.reserve.with(forRoom, func() error { return d.fs.Rename(filepath.Join(d.path, folder), to) })
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.names++
	d.mu.Unlock()
	return to, d.syncNames()
}

// syncNames makes the names of folders durable unless they are known to be.
func (d *Dir) syncNames() error {
	d.mu.Lock()
	names, durable := d.names, d.durable
	d.mu.Unlock()
	if names == durable {
		return nil
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = max(d.durable, names)
	return nil
}

// maxFileName is the longest name of a file or folder that common file systems take, in bytes.
const maxFileName = 255

// unusedName returns a path that nothing has, for a folder that loses its name. The longest topic names are cut for it,
// as Kafka cuts them.
func (d *Dir) unusedName(folder string, id [16]byte, suffix string) string {
	suffix = "." + hex.EncodeToString(id[:]) + suffix
	for n := 1; ; n++ {
		number := ""
		if n > 1 {
			number = fmt.Sprintf(".%d", n)
		}
		name := folder[:min(len(folder), maxFileName-len(number)-len(suffix))] + number + suffix
		if path := filepath.Join(d.path, name); d.unused(path) {
			return path
		}
	}
}

func (d *Dir) unused(path string) bool {
	_, err := d.fs.Stat(path)
	return err != nil
}

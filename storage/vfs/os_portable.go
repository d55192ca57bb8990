//go:build !linux

package vfs

import "os"

// Segue is run on Linux and developed elsewhere too. What follows is correct on any system and makes no
// attempt to be fast.

// sysDataSync is fsync; on Apple's systems Sync asks the drive to empty its cache too.
func sysDataSync(f *os.File) error { return f.Sync() }

func sysAllocate(f *os.File, off, n int64) error { return allocateByWriting(f, off, n) }

func sysWriteParts(f *os.File, parts [][]byte, off int64) error {
	for _, p := range parts {
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func sysMap(f *osFile, reserve int) (Mapping, error) { return mapByCopying(f, reserve) }

func sysBulkSync(string) (Syncer, bool) { return nil, false }

func sysBootID() string { return "" }

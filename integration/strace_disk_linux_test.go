//go:build integration

package integration

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// tracedDisk is what would be left of a directory after a power cut, as far as a transcript of system calls tells: what
// was written and named, and what of it was covered by a sync. It takes the calls in their order. A write counts as
// covered by a sync that succeeded if it returned before that sync began; nothing is durable for any other reason.
type tracedDisk struct {
	root  string
	files map[string]*tracedFile // by path; those that were deleted are not here
	names map[string]*tracedName // of files and folders, by path
	syncs map[*sysCall]coverage  // that have begun
	count struct{ writes, syncs, dirSyncs, bulkSyncs, creates, renames, unlinks int }

	violated func(kind, text string)
}

// tracedFile is what is known of a file's content.
type tracedFile struct {
	content []byte
	fresh   []*stretch // that no sync has covered yet
}

// stretch is a part of a file that a write has written.
type stretch struct {
	from, to int64
	durable  bool
}

// tracedName is a name in a folder.
type tracedName struct{ durable bool }

// coverage is what a sync makes durable if it succeeds.
type coverage struct {
	stretches []*stretch
	names     []*tracedName
}

func newTracedDisk(root string, violated func(kind, text string)) *tracedDisk {
	return &tracedDisk{
		root: root, files: map[string]*tracedFile{}, names: map[string]*tracedName{}, syncs: map[*sysCall]coverage{},
		violated: violated,
	}
}

// below says whether a path is of interest.
func (d *tracedDisk) below(path string) bool {
	return path == d.root || strings.HasPrefix(path, d.root+"/")
}

// at returns the path that a call names by a folder and a name in it.
func (c *sysCall) at(folder, name int) string {
	path := string(c.arg(name).data)
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.arg(folder).path, path)
	}
	return filepath.Clean(path)
}

// begin takes the beginning of a call.
func (d *tracedDisk) begin(c *sysCall) {
	switch c.name {
	case "fdatasync", "fsync", "syncfs":
		if path := c.arg(0).path; d.below(path) {
			d.syncs[c] = d.covered(path, c.name == "syncfs")
		}
	case "rename", "renameat", "renameat2":
		if from, to := c.renamed(); d.below(from) {
			d.checkRename(from, to)
		}
	case "unlink", "unlinkat":
		if path := c.unlinked(); d.below(path) {
			d.checkUnlink(path)
		}
	}
}

func (c *sysCall) renamed() (from, to string) {
	if c.name == "rename" {
		return c.at(0, 0), c.at(1, 1)
	}
	return c.at(0, 1), c.at(2, 3)
}

func (c *sysCall) unlinked() string {
	if c.name == "unlink" || c.name == "rmdir" {
		return c.at(0, 0)
	}
	return c.at(0, 1)
}

// covered is what a sync that begins now covers.
func (d *tracedDisk) covered(path string, all bool) (v coverage) {
	for name, f := range d.files {
		if all || name == path {
			v.stretches = append(v.stretches, f.fresh...)
		}
	}
	for name, n := range d.names {
		if all || filepath.Dir(name) == path {
			v.names = append(v.names, n)
		}
	}
	return v
}

// end takes the end of a call. One that never returned is taken as one that was done before the process ended, but for a
// sync.
func (d *tracedDisk) end(c *sysCall) {
	if v, ok := d.syncs[c]; ok {
		delete(d.syncs, c)
		d.synced(c, v)
		return
	}
	if c.done && c.ret < 0 {
		return
	}
	switch c.name {
	case "pwrite64", "pwritev", "write":
		if path := c.arg(0).path; d.below(path) {
			d.wrote(path, c)
		}
	case "openat":
		if path := c.at(0, 1); d.below(path) && strings.Contains(c.arg(2).text, "O_CREAT") && d.files[path] == nil {
			d.count.creates++
			d.files[path], d.names[path] = &tracedFile{}, &tracedName{}
		}
	case "mkdir", "mkdirat":
		path := c.at(0, 1)
		if c.name == "mkdir" {
			path = c.at(0, 0)
		}
		if d.below(path) {
			d.names[path] = &tracedName{}
		}
	case "rename", "renameat", "renameat2":
		if from, to := c.renamed(); d.below(from) {
			d.rename(from, to)
		}
	case "unlink", "unlinkat", "rmdir":
		if path := c.unlinked(); d.below(path) {
			d.count.unlinks++
			delete(d.files, path)
			delete(d.names, path)
		}
	case "ftruncate":
		if f := d.files[c.arg(0).path]; f != nil {
			f.truncate(c.arg(1).number)
		}
	}
}

func (d *tracedDisk) synced(c *sysCall, v coverage) {
	if !c.done || c.ret != 0 {
		return
	}
	switch {
	case c.name == "syncfs":
		d.count.bulkSyncs++
	case d.files[c.arg(0).path] == nil:
		d.count.dirSyncs++
	default:
		d.count.syncs++
	}
	for _, s := range v.stretches {
		s.durable = true
	}
	for _, n := range v.names {
		n.durable = true
	}
	for _, f := range d.files {
		f.fresh = slices.DeleteFunc(f.fresh, func(s *stretch) bool { return s.durable })
	}
}

func (d *tracedDisk) wrote(path string, c *sysCall) {
	f := d.files[path]
	if f == nil {
		return // deleted meanwhile
	}
	d.count.writes++
	at, data := int64(len(f.content)), c.arg(1)
	if c.name != "write" {
		at = c.arg(3).number
	}
	if data.cut {
		d.violated("transcript", fmt.Sprintf("a write of %s is too long for it", path))
		return
	}
	n := int64(len(data.data))
	if c.done {
		n = min(n, c.ret)
	}
	if missing := at + n - int64(len(f.content)); missing > 0 {
		f.content = append(f.content, make([]byte, missing)...)
	}
	copy(f.content[at:], data.data[:n])
	f.fresh = append(f.fresh, &stretch{from: at, to: at + n})
}

func (f *tracedFile) truncate(size int64) {
	if size >= int64(len(f.content)) {
		return
	}
	f.content = f.content[:size]
	f.fresh = slices.DeleteFunc(f.fresh, func(s *stretch) bool {
		s.to = min(s.to, size)
		return s.from >= size
	})
}

// rename moves a file, or a folder with all that is in it. The new name is durable when its folder is synced.
func (d *tracedDisk) rename(from, to string) {
	d.count.renames++
	if f := d.files[from]; f != nil {
		d.files[to] = f
		delete(d.files, from)
	}
	delete(d.names, from)
	d.names[to] = &tracedName{}
	for path, f := range d.files {
		if rest, ok := strings.CutPrefix(path, from+"/"); ok {
			d.files[to+"/"+rest] = f
			delete(d.files, path)
		}
	}
	for path, n := range d.names {
		if rest, ok := strings.CutPrefix(path, from+"/"); ok {
			d.names[to+"/"+rest] = n
			delete(d.names, path)
		}
	}
}

// finish takes the end of the process: what was under way may have come to its end or not.
func (d *tracedDisk) finish(open []*sysCall) {
	for _, c := range open {
		d.end(c)
	}
}

// unsynced says what of the first n bytes of a file is not durable; "" if all is.
func (d *tracedDisk) unsynced(path string, n int64) string {
	f := d.files[path]
	if f == nil || int64(len(f.content)) < n {
		return fmt.Sprintf("%s does not have %d bytes", d.short(path), n)
	}
	for _, s := range f.fresh {
		if s.from < n {
			return fmt.Sprintf("the bytes %d to %d of %s", s.from, s.to, d.short(path))
		}
	}
	return ""
}

// unnamed says which of a path's names, from the root on, is not durable; "" if all are.
func (d *tracedDisk) unnamed(path string) string {
	for ; path != d.root; path = filepath.Dir(path) {
		if n := d.names[path]; n == nil || !n.durable {
			return d.short(path)
		}
	}
	return ""
}

func (d *tracedDisk) short(path string) string { return strings.TrimPrefix(path, d.root+"/") }

// checkRename: what takes the place of another file, or is relied upon by its name, is whole on the disk before.
func (d *tracedDisk) checkRename(from, to string) {
	f := d.files[from]
	if f == nil || !strings.HasSuffix(from, ".tmp") {
		return
	}
	if left := d.unsynced(from, int64(len(f.content))); left != "" {
		d.violated("rename", fmt.Sprintf("%s gets its name before %s is synced", d.short(to), left))
	}
}

// checkUnlink: a segment goes only when the log start that leaves it out is on the disk.
func (d *tracedDisk) checkUnlink(path string) {
	folder := filepath.Dir(path)
	if !strings.HasSuffix(path, ".log") || strings.HasSuffix(folder, "-delete") || d.files[path] == nil || len(d.files[path].content) == 0 {
		return
	}
	base, ok := offsetBehind(d.files[path].content)
	start := filepath.Join(folder, "log-start-offset")
	f := d.files[start]
	switch {
	case !ok:
		d.violated("unlink", fmt.Sprintf("%s is removed, and is not a run of batches", d.short(path)))
	case f == nil || len(f.content) != 20 || int64(binary.LittleEndian.Uint64(f.content[8:])) < base:
		d.violated("unlink", fmt.Sprintf("%s, which ends at %d, is removed without a log start offset that leaves it out", d.short(path), base))
	case d.unsynced(start, 20) != "" || d.unnamed(start) != "":
		d.violated("unlink", fmt.Sprintf("%s is removed before the log start offset is durable", d.short(path)))
	}
}

// offsetBehind returns the offset behind the last batch of a data file.
func offsetBehind(content []byte) (end int64, ok bool) {
	for len(content) > 0 {
		size, next, ok := batchAt(content)
		if !ok {
			return 0, false
		}
		end, content = next, content[size:]
	}
	return end, true
}

// batchAt looks at the head of the batch that a content begins with: its size, and the offset behind it.
func batchAt(b []byte) (size, next int64, ok bool) {
	if len(b) < 61 {
		return 0, 0, false
	}
	size = 12 + int64(int32(binary.BigEndian.Uint32(b[8:])))
	next = int64(binary.BigEndian.Uint64(b)) + int64(int32(binary.BigEndian.Uint32(b[23:]))) + 1
	return size, next, size >= 61 && size <= int64(len(b))
}

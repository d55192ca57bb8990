package vfs

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"
)

const (
	// pageSize is the unit in which contents come to the disk, and blocks are allocated.
	pageSize = 4096
	// sectorSize is the unit that a disk writes as a whole; a page may be torn between any two.
	sectorSize = 512
	// maxCrashableFile keeps a test that is wrong about a length from taking the machine's memory.
	maxCrashableFile = 1 << 30
)

// node is a file or a directory of a Crashable, under whatever name.
//
// The content of a file is in mem, as far as that goes, and then in tail. mem is what is mapped, and empty if
// nothing is. The file as a crash would keep it for sure is disk. What was done to the content since by
// WriteAt, Truncate and Allocate is in unsynced: without a mapping, disk and those changes make the content;
// with one, stores to mem come on top that no one has told us of.
type node struct {
	dir     bool
	modTime time.Time
	links   int  // names that lead here, 0 or 1
	opens   int  // handles and mappings
	gone    bool // its removal is durable

	names   map[string]*node // of a directory
	durable map[string]*node // what of names a crash keeps for sure

	size      int64
	mem, tail []byte
	mappings  int
	blocks    []bool // which pages have room on the disk
	disk      []byte
	unsynced  []dataChange
	unfolded  int // bytes of data in unsynced, without what was folded into one
}

// dataChange is a change of a file's content: data is put at off, then the file is cut or extended to size.
type dataChange struct {
	off  int64
	data []byte // never changed after
	size int64
}

func newFile() *node { return &node{modTime: time.Now()} }

func newDir() *node {
	return &node{dir: true, modTime: time.Now(), names: map[string]*node{}, durable: map[string]*node{}}
}

// walk calls fn for n and all that is below it by the names of now, in the order of names.
func (n *node) walk(fn func(*node)) {
	fn(n)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		n.names[name].walk(fn)
	}
}

// pages is how many pages size bytes take.
func pages(size int64) int64 { return (size + pageSize - 1) / pageSize }

// read copies what there is of the content from off.
func (n *node) read(p []byte, off int64) int {
	if off >= n.size {
		return 0
	}
	p = p[:min(int64(len(p)), n.size-off)]
	var done int
	if mapped := int64(len(n.mem)); off < mapped {
		done = copyMapped(p, n.mem[off:])
		off += int64(done)
	}
	if done < len(p) {
		done += copy(p[done:], n.tail[off-int64(len(n.mem)):])
	}
	return done
}

// content returns a copy of all of it.
func (n *node) content() []byte {
	p := make([]byte, n.size)
	n.read(p, 0)
	return p
}

// put is the part of a change that shows: it is not remembered and takes no room.
func (n *node) put(d dataChange) {
	if end := d.off + int64(len(d.data)); end > n.size {
		n.resize(end)
	}
	var done int
	if off := d.off; off < int64(len(n.mem)) {
		done = copyMapped(n.mem[off:], d.data)
	}
	if done < len(d.data) {
		copy(n.tail[d.off+int64(done)-int64(len(n.mem)):], d.data[done:])
	}
	n.resize(d.size)
}

func (n *node) resize(size int64) {
	if mapped := int64(len(n.mem)); size < n.size && size < mapped {
		// A page that is cut off and comes back is empty. So is the rest of the last one.
		copyMapped(n.mem[size:], make([]byte, min(mapped, pages(n.size)*pageSize)-size))
	}
	tail := max(0, size-int64(len(n.mem)))
	n.tail = extend(n.tail, tail)
	n.size = size
}

// extend cuts b, or appends zeros to it.
func extend(b []byte, size int64) []byte {
	if grow := size - int64(len(b)); grow > 0 {
		return append(b, make([]byte, grow)...)
	}
	return b[:size]
}

// apply does the change to an image of the file.
func (d dataChange) apply(image []byte) []byte {
	image = extend(image, max(int64(len(image)), d.off+int64(len(d.data))))
	copy(image[d.off:], d.data)
	return extend(image, d.size)
}

// The history of a file that is not synced for long is cut short at these.
const (
	maxUnsyncedChanges = 1024
	maxUnsyncedBytes   = 8 << 20
)

// remember notes a change. When there are too many it folds all into one, which takes nothing from what a
// crash may keep or lose but the states in between.
func (n *node) remember(d dataChange) {
	n.unsynced = append(n.unsynced, d)
	n.unfolded += len(d.data)
	if len(n.unsynced) > maxUnsyncedChanges || n.unfolded > maxUnsyncedBytes {
		image := n.written()
		n.unsynced = []dataChange{{data: image, size: int64(len(image))}}
		n.unfolded = 0
	}
}

// written is what a sync would make of the file if nothing were mapped.
func (n *node) written() []byte {
	image := bytes.Clone(n.disk)
	for _, d := range n.unsynced {
		image = d.apply(image)
	}
	return image
}

// write is WriteAt: it writes as many pages as there is room for. If that is not all it counts none of them,
// as os.File does.
func (n *node) write(c *Crashable, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d: %w", off, syscall.EINVAL)
	}
	if len(p) == 0 {
		return 0, nil
	}
	end := off + int64(len(p))
	if end > maxCrashableFile || end < 0 {
		return 0, syscall.EFBIG
	}
	for page := off / pageSize; page < pages(end); page++ {
		if n.allocate(c, page) {
			continue
		}
		end = max(off, page*pageSize)
		break
	}
	wrote := int(end - off)
	if wrote > 0 {
		n.do(dataChange{off: off, data: bytes.Clone(p[:wrote]), size: max(n.size, end)})
	}
	if wrote < len(p) {
		return 0, syscall.ENOSPC
	}
	return wrote, nil
}

func (n *node) do(d dataChange) {
	n.put(d)
	n.remember(d)
	n.modTime = time.Now()
}

// truncate is Truncate with a size that was checked.
func (n *node) truncate(c *Crashable, size int64) {
	for page := pages(size); page < int64(len(n.blocks)); page++ {
		if n.blocks[page] {
			c.used -= pageSize
		}
	}
	n.blocks = n.blocks[:min(pages(size), int64(len(n.blocks)))]
	n.do(dataChange{size: size})
}

// reserve is Allocate with a range that was checked: all of it, or nothing.
func (n *node) reserve(c *Crashable, off, end int64) error {
	var missing int64
	for page := off / pageSize; page < pages(end); page++ {
		if !n.allocated(page) {
			missing += pageSize
		}
	}
	if missing > c.room() {
		return syscall.ENOSPC
	}
	for page := off / pageSize; page < pages(end); page++ {
		n.allocate(c, page)
	}
	if end > n.size {
		n.do(dataChange{size: end})
	}
	return nil
}

func (n *node) allocated(page int64) bool { return page < int64(len(n.blocks)) && n.blocks[page] }

// allocate takes room for a page that has none yet, and reports whether there was.
func (n *node) allocate(c *Crashable, page int64) bool {
	if n.allocated(page) {
		return true
	}
	if c.room() < pageSize {
		return false
	}
	if grow := page + 1 - int64(len(n.blocks)); grow > 0 {
		n.blocks = append(n.blocks, make([]bool, grow)...)
	}
	n.blocks[page] = true
	c.used += pageSize
	return true
}

// room is how many bytes the blocks of a file take.
func (n *node) room() int64 {
	var bytes int64
	for _, b := range n.blocks {
		if b {
			bytes += pageSize
		}
	}
	return bytes
}

// release gives back the room of a file that no name and no handle leads to any more.
func (c *Crashable) release(n *node) {
	if !n.dir && n.links == 0 && n.opens == 0 {
		c.used -= n.room()
	}
}

// sync is File.Sync: it makes durable what was done by calls, but not what was stored through a mapping.
func (n *node) sync() {
	for _, d := range n.unsynced {
		n.disk = d.apply(n.disk)
	}
	n.unsynced, n.unfolded = nil, 0
}

// syncMapped is Mapping.Sync: it makes durable all of the content.
func (n *node) syncMapped() {
	n.sync()
	copyMapped(n.disk, n.mem)
}

// mapMemory moves the beginning of the content to memory for a mapping. One that is there is shared; it
// cannot be moved any more, so it cannot be made longer.
func (n *node) mapMemory(reserve int64) ([]byte, error) {
	if n.mappings > 0 && reserve > int64(len(n.mem)) {
		return nil, fmt.Errorf("%d bytes, but it is mapped with %d already: %w", reserve, len(n.mem), syscall.ENOMEM)
	}
	if n.mappings == 0 {
		content := n.content()
		n.mem = make([]byte, reserve)
		n.tail = bytes.Clone(content[copy(n.mem, content):])
	}
	n.mappings++
	return n.mem[:reserve:reserve], nil
}

// unmap ends a mapping. With the last one the memory is no longer the file's: what was stored is noted as if
// it had been written, and the memory is spoiled, so that whoever still reads it finds out (or is found by
// the race detector).
func (n *node) unmap() {
	n.mappings--
	if n.mappings > 0 {
		return
	}
	n.checkStores()
	n.rememberStores()
	content, old := n.content(), n.mem
	n.mem, n.tail = nil, content
	for i := range old[:min(n.size, int64(len(old)))] {
		old[i] = 0xDB
	}
}

// rememberStores notes as changes the pages of the content that differ from what is known to have been written.
func (n *node) rememberStores() {
	written, content := n.written(), n.content()
	for off := int64(0); off < min(n.size, int64(len(n.mem))); off += pageSize {
		end := min(off+pageSize, n.size)
		if !bytes.Equal(written[off:end], content[off:end]) {
			n.remember(dataChange{off: off, data: content[off:end:end], size: n.size})
		}
	}
}

// checkStores panics if something was stored to where a real mapping has no memory.
func (n *node) checkStores() {
	for off := int64(0); off < int64(len(n.mem)); off += pageSize {
		if page := off / pageSize; (page >= pages(n.size) || !n.allocated(page)) && !zeroMapped(n.mem[off:]) {
			panic(fmt.Sprintf("vfs: a store through a mapping to bytes %d to %d of a file of %d bytes, "+
				"where it is not allocated: a real mapping may end the process", off, off+pageSize, n.size))
		}
	}
}

package vfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// Kill returns the disk as the next process finds it when this one has been killed: all that was written is
// there, what was stored through mappings too, but no lock is held. What was not durable still is not, and
// the machine has not been started again.
func (c *Crashable) Kill() *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &Crashable{locked: map[*node]bool{}, capacity: c.capacity, bulk: c.bulk, boot: c.boot}
	copies := copier{}
	k.root = copies.node(c.root)
	for _, change := range c.unsynced {
		slots := make([]slotChange, len(change.slots))
		for i, s := range change.slots {
			slots[i] = slotChange{slot{copies.node(s.dir), s.name}, copies.node(s.to), copies.node(s.was)}
		}
		k.unsynced = append(k.unsynced, &nameChange{slots})
	}
	k.root.walk(func(n *node) { k.used += n.room() })
	return k
}

// copier copies nodes, each once, to what they are without handles and mappings.
type copier map[*node]*node

func (m copier) node(n *node) *node {
	if n == nil {
		return nil
	}
	if c := m[n]; c != nil {
		return c
	}
	c := &node{dir: n.dir, modTime: n.modTime, links: n.links, gone: n.gone}
	m[n] = c
	if n.dir {
		c.names, c.durable = m.names(n.names), m.names(n.durable)
		return c
	}
	n.checkStores()
	c.size, c.mem, c.tail = n.size, n.mem, n.tail
	c.blocks, c.disk = slices.Clone(n.blocks), bytes.Clone(n.disk)
	c.unsynced, c.unfolded = slices.Clone(n.unsynced), n.unfolded
	if len(n.mem) > 0 {
		c.rememberStores()
	}
	c.mem, c.tail = nil, c.content()
	return c
}

func (m copier) names(names map[string]*node) map[string]*node {
	c := make(map[string]*node, len(names))
	for name, n := range names {
		c[name] = m.node(n)
	}
	return c
}

// Crash returns a disk as the next process may find it when the power was cut now. Everything that is not
// durable is kept or lost for itself: each change of a name, the length of each file, each page of its
// content, mapped or not. A page may also come back as it was at some time since the file was last synced, or
// torn, with each of its sectors from another time. What is there is durable.
//
// The same r on the same disk gives the same result. How much is kept differs much between one and another, and
// between names, lengths and contents, so that a few of them cover the extremes too: all names and no content, say.
func (c *Crashable) Crash(r *rand.Rand) *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &crash{
		Rand:  r,
		names: map[*node]map[string]*node{},
		disk:  &Crashable{locked: map[*node]bool{}, capacity: c.capacity, bulk: c.bulk, boot: c.boot + 1},
	}
	x.common = x.level()
	x.vary()
	x.chooseNames(c.unsynced)
	x.disk.root = x.node(c.root)
	return x.disk
}

// crash is a disk that is being made from another.
type crash struct {
	*rand.Rand
	common float64 // how likely it is that something is kept, unless it is decided anew for the names or for a file
	keep   float64 // how likely it is for what is being decided about
	names  map[*node]map[string]*node
	disk   *Crashable
}

// level draws how likely it is that something is kept.
func (x *crash) level() float64 { return [...]float64{0, 0.1, 0.5, 0.9, 1}[x.IntN(5)] }

// vary decides whether what comes next is kept as likely as all else.
func (x *crash) vary() {
	if x.keep = x.common; x.IntN(2) == 0 {
		x.keep = x.level()
	}
}

func (x *crash) kept() bool { return x.Float64() < x.keep }

// chooseNames decides about the changes of names.
func (x *crash) chooseNames(changes []*nameChange) {
	chosen := make([]bool, len(changes))
	for i := range chosen {
		chosen[i] = x.kept()
	}
	withEarlier(changes, chosen)
	for i, change := range changes {
		if !chosen[i] {
			continue
		}
		for _, s := range change.slots {
			names := x.names[s.dir]
			if names == nil {
				names = maps.Clone(s.dir.durable)
				x.names[s.dir] = names
			}
			s.put(names)
		}
	}
}

// node returns what is left of n and all below it.
func (x *crash) node(n *node) *node {
	left := &node{dir: n.dir, modTime: n.modTime, links: 1}
	if !n.dir {
		n.checkStores()
		left.disk = x.content(n)
		left.tail, left.size = bytes.Clone(left.disk), int64(len(left.disk))
		left.blocks = slices.Repeat([]bool{true}, int(pages(left.size))) // no matter which of them were holes
		x.disk.used += left.room()
		return left
	}
	names := x.names[n]
	if names == nil {
		names = n.durable
	}
	left.names = make(map[string]*node, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		left.names[name] = x.node(names[name])
	}
	left.durable = maps.Clone(left.names)
	return left
}

// content returns what is left of a file's. The states that it went through since it was durable are
// numbered: 0 is what is durable, i is what the first i changes made of it, and the last is what it is now,
// with what was stored to it through a mapping.
func (x *crash) content(n *node) []byte {
	if len(n.unsynced) == 0 && len(n.mem) == 0 {
		return bytes.Clone(n.disk)
	}
	changes := slices.Clone(n.unsynced)
	if len(n.mem) > 0 {
		changes = append(changes, dataChange{data: n.content(), size: n.size})
	}
	size := int64(len(n.disk))
	sizes := []int64{size}
	states := map[int64][]int{} // of each page that was changed: those in which it was
	for i, d := range changes {
		from, to := d.off, d.off+int64(len(d.data))
		if d.size < size { // cutting changes what is cut off, to zeros if it comes back
			from, to = min(from, d.size), size
		}
		for page := from / pageSize; page < pages(to); page++ {
			states[page] = append(states[page], i+1)
		}
		size = d.size
		sizes = append(sizes, size)
	}
	x.vary()
	if !x.kept() {
		size = sizes[x.IntN(len(sizes))]
		if x.keep == 0 {
			size = sizes[0]
		}
	}
	x.vary()
	return x.assemble(n.disk, changes, x.chooseStates(states), size)
}

// chooseStates decides for each sector of the pages that were changed from which state it is, and returns the
// sectors of each state.
func (x *crash) chooseStates(changed map[int64][]int) map[int][]int64 {
	sectors := map[int][]int64{}
	for _, page := range slices.Sorted(maps.Keys(changed)) {
		states := append([]int{0}, changed[page]...)
		state, torn := states[len(states)-1], false
		if !x.kept() {
			switch x.IntN(4) {
			case 0:
				torn = true
			case 1:
				state = states[x.IntN(len(states))]
			default:
				state = 0
			}
		}
		if x.keep == 0 {
			state, torn = 0, false
		}
		for i := range int64(pageSize / sectorSize) {
			if torn {
				state = states[x.IntN(len(states))]
			}
			sectors[state] = append(sectors[state], page*pageSize/sectorSize+i)
		}
	}
	return sectors
}

// assemble makes a file of that size out of sectors of the states that the changes lead to from disk.
func (x *crash) assemble(disk []byte, changes []dataChange, sectors map[int][]int64, size int64) []byte {
	image := bytes.Clone(disk)
	left := make([]byte, size)
	copy(left, disk)
	for i := range len(changes) + 1 {
		if i > 0 {
			image = changes[i-1].apply(image)
		}
		for _, sector := range sectors[i] {
			off := sector * sectorSize
			if off >= size {
				continue
			}
			to := left[off:min(off+sectorSize, size)]
			clear(to)
			if off < int64(len(image)) {
				copy(to, image[off:])
			}
		}
	}
	return left
}

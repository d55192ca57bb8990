package history

import (
	"iter"
	"slices"
)

// cell is what is known of one offset. Operations are named by their index and one; 0 stands for none.
type cell struct {
	value Value
	time  int64 // as polled
	first int32 // who told of it first; 0 if nobody did, and then nothing else holds
	ack   int32 // the send that was acknowledged there
	poll  int32 // the first poll to end that brought it
	drain int32 // the last drain that came by and saw it, counted from 1
	epoch int32 // as polled
}

// pageCells is how many offsets a page has.
const pageCells = 1 << 12

// page is a stretch of a log.
type page [pageCells]cell

// versions is the version order of a partition: what is at which offset.
type versions struct {
	pages  map[int64]*page
	order  []int64 // the numbers of the pages, ascending, once settled
	number int64   // of the page that was used last
	last   *page
	known  int // cells that are known
}

// at returns the cell of an offset, which may be a new one.
func (v *versions) at(offset int64) *cell {
	number := offset / pageCells
	if v.last == nil || v.number != number {
		v.last = v.pages[number]
		if v.last == nil {
			v.last = new(page)
			v.pages[number] = v.last
		}
		v.number = number
	}
	return &v.last[offset%pageCells]
}

// get returns what is known of an offset; nil if nothing is.
func (v *versions) get(offset int64) *cell {
	if offset < 0 {
		return nil
	}
	p := v.pages[offset/pageCells]
	if p == nil || p[offset%pageCells].first == 0 {
		return nil
	}
	return &p[offset%pageCells]
}

// settle ends the learning. No new page comes after it.
func (v *versions) settle() {
	for number := range v.pages {
		v.order = append(v.order, number)
	}
	slices.Sort(v.order)
}

// between returns the offsets of which something is known, from the first one on and below the other, ascending.
func (v *versions) between(from, to int64) iter.Seq2[int64, *cell] {
	return func(yield func(int64, *cell) bool) {
		begin, _ := slices.BinarySearch(v.order, from/pageCells)
		for _, number := range v.order[begin:] {
			base := number * pageCells
			if base >= to {
				return
			}
			p := v.pages[number]
			for i := max(0, from-base); i < min(pageCells, to-base); i++ {
				if p[i].first != 0 && !yield(base+i, &p[i]) {
					return
				}
			}
		}
	}
}

package coordinator_test

import (
	"fmt"
	"slices"
	"sync"
)

// history is what one shard was told to do and what it answered. It knows what must be true of the answers among
// themselves, and of what is found after a crash.
//
// Each number is of one command, says so, and is written once. All that an answer shows is a prefix of one run of
// numbers; so if every answer fits the run that is found in the end, and shows no fewer numbers than any answer that was
// there when its command was given, then there is an order of the commands that explains all of them.
//
// Numbers of a transaction that is committed are there for whoever asks after its end; those of any other never are.
type history struct {
	mu      sync.Mutex // guards what follows
	sizes   []int      // of the commands: how many numbers each writes down
	answers []answered
	newest  int // the most numbers that an answer has shown
	fault   error

	doomed    map[int64]bool // numbers of transactions that are not to be committed
	committed []int64        // the last number of each transaction that was
}

// answered is a command with its answer.
type answered struct {
	view view
	own  []int64 // its numbers, the last that it saw

	committed int  // transactions whose end was known when the command was given
	isEnd     bool // of a transaction: nothing was shown
}

// perCommand is more than the numbers of any one command.
const perCommand = 16

// floor is what an answer must show at least.
type floor struct{ numbers, transactions int }

// begin makes a command that writes down n numbers, and returns what an answer to it must show at least.
func (h *history) begin(n int) (numbers []int64, least floor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		numbers = append(numbers, int64(len(h.sizes)*perCommand+i))
	}
	h.sizes = append(h.sizes, n)
	return numbers, floor{h.newest, len(h.committed)}
}

// end notes an answer.
func (h *history) end(numbers []int64, least floor, v view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.count < least.numbers {
		h.fault = fmt.Errorf("an answer shows %d numbers, an earlier one had shown %d", v.count, least.numbers)
	}
	h.answers = append(h.answers, answered{view: v, own: numbers, committed: least.transactions})
	h.newest = max(h.newest, v.count)
}

// doom notes that a transaction with those numbers will not be committed.
func (h *history) doom(numbers []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doomed == nil {
		h.doomed = map[int64]bool{}
	}
	for _, n := range numbers {
		h.doomed[n] = true
	}
}

// commit notes that a transaction with those numbers was committed, which is an answer like others.
func (h *history) commit(numbers []int64) {
	if len(numbers) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.committed = append(h.committed, numbers[len(numbers)-1])
	h.answers = append(h.answers, answered{committed: len(h.committed), isEnd: true})
}

// count returns how many answers there were so far.
func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.answers)
}

// explains says what is wrong with the numbers that were found, given that the first so many answers were out before.
func (h *history) explains(found *journal, answers int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		return h.fault
	}
	places := make(map[int64]int, len(found.numbers))
	for i, n := range found.numbers {
		if h.doomed[n] {
			return fmt.Errorf("number %d is there, of a transaction that is not committed", n)
		}
		places[n] = i
	}
	for _, a := range h.answers[:answers] {
		n := a.view.count
		for _, last := range h.committed[:a.committed] {
			i, ok := places[last]
			if !ok {
				return fmt.Errorf("number %d is not there, of a transaction that was committed", last)
			}
			if i >= n && !a.isEnd {
				return fmt.Errorf("an answer has shown %d numbers, and not the %dth, of a transaction that was committed before", n, i+1)
			}
		}
		switch {
		case n > len(found.numbers):
			return fmt.Errorf("an answer has shown %d numbers, there are %d", n, len(found.numbers))
		case found.at(n) != a.view:
			return fmt.Errorf("the first %d numbers are not those that an answer has shown", n)
		case !slices.Equal(found.numbers[n-len(a.own):n], a.own):
			return fmt.Errorf("numbers %d were answered for as the last of %d, there are %d",
				a.own, n, found.numbers[n-len(a.own):n])
		}
	}
	seen := make([]bool, len(h.sizes))
	for i := 0; i < len(found.numbers); {
		n := found.numbers[i]
		of := int(n / perCommand)
		if n < 0 || of >= len(h.sizes) || seen[of] || n%perCommand != 0 {
			return fmt.Errorf("number %d, the %dth, is none that was to be written here", n, i+1)
		}
		seen[of] = true
		for k := range h.sizes[of] {
			if i == len(found.numbers) || found.numbers[i] != n+int64(k) {
				return fmt.Errorf("of the %d numbers of one command only %d are there", h.sizes[of], k)
			}
			i++
		}
	}
	return nil
}

package coordinator

import "segue/storage/record"

// held are replies, and messages to others, that wait until what they rest on is committed, in the order in which they were
// made. The offsets that they wait for ascend.
type held[In any] struct {
	replies []heldReply[In]
	first   int // those before it are given
}

type heldReply[In any] struct {
	next    record.Offset // behind the last record that was applied before
	request *request[In]  // nil for a message to others
	message any
}

func (h *held[In]) len() int { return len(h.replies) - h.first }

func (h *held[In]) push(r heldReply[In]) {
	if h.first > 0 && len(h.replies) == cap(h.replies) {
		// Those that are given make room, before memory does.
		n := copy(h.replies, h.replies[h.first:])
		clear(h.replies[n:])
		h.replies, h.first = h.replies[:n], 0
	}
	h.replies = append(h.replies, r)
}

// release gives the replies whose turn has come, and sends the messages.
func (h *held[In]) release(committed record.Offset, send func(message any)) {
	for h.len() > 0 && h.replies[h.first].next <= committed {
		r := &h.replies[h.first]
		if r.request == nil {
			send(r.message)
		} else {
			r.request.answer <- answer{message: r.message}
		}
		*r = heldReply[In]{}
		h.first++
	}
	if h.len() == 0 {
		h.replies, h.first = h.replies[:0], 0
	}
}

// fail answers all of them with an error.
func (h *held[In]) fail(err error) {
	for _, r := range h.replies[h.first:] {
		if r.request != nil {
			r.request.answer <- answer{err: err}
		}
	}
	h.replies, h.first = nil, 0
}

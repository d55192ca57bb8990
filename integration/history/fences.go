package history

import "fmt"

// fences checks that a client with a transactional id does no more once another one with that id has begun: what it sends
// is not acknowledged, and what it commits is not committed.
func (c *checker) fences() {
	inits := map[string][]*Op{} // that succeeded, by transactional id
	own := map[int32][]*Op{}    // by client, whatever came of them but failure
	for i := range c.h.Ops {
		op := &c.h.Ops[i]
		if op.Kind != Init || op.Outcome == Failed {
			continue
		}
		own[op.Client] = append(own[op.Client], op)
		if op.Outcome == OK {
			id := c.h.Clients[op.Client].TransactionalID
			inits[id] = append(inits[id], op)
		}
	}
	if len(inits) == 0 {
		return
	}
	for i := range c.h.Ops {
		op := &c.h.Ops[i]
		if op.Txn == 0 || op.Kind != Send && op.Kind != Commit || !c.counts(op) {
			continue
		}
		for _, init := range inits[c.h.Clients[op.Client].TransactionalID] {
			if init.Client != op.Client && init.Complete < op.Invoke && !renewed(own[op.Client], init, op) {
				c.report.add(Finding{
					Check: Fenced, Values: []Value{op.Value},
					Text: fmt.Sprintf("client %s went on after %s had taken its transactional id",
						c.h.Clients[op.Client].Name, c.h.Clients[init.Client].Name),
				}, init, op)
				break
			}
		}
	}
}

// counts says whether a send was acknowledged, or a commit came to pass: it says so, or its records are read.
func (c *checker) counts(op *Op) bool {
	if op.Outcome == OK {
		return true
	}
	x := c.txns[op.Txn]
	return op.Kind == Commit && op.Outcome == Unknown && len(x.ends) == 1 && x.committed()
}

// renewed says whether a client may have taken its transactional id back before it did something.
func renewed(own []*Op, init, op *Op) bool {
	for _, again := range own {
		if again.Complete > init.Invoke && again.Invoke < op.Complete {
			return true
		}
	}
	return false
}

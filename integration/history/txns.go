package history

import "time"

// transaction is what is known of one transaction.
type transaction struct {
	ends  []*Op // its commits and aborts
	begun *Op   // the commit that began first of those that have not failed; nil if it can be committed by none
	done  *Op   // a commit that succeeded
	read  *Op   // the first poll of what is committed that brought one of its records
	sends []int32
	polls []int32
}

// committed says whether all of its records count: it was committed, or it may have been, and one was read by who wants
// what is committed only.
func (x *transaction) committed() bool { return x.done != nil || x.begun != nil && x.read != nil }

// transactions finds out what became of each transaction, before anything is held against it.
func (c *checker) transactions() {
	for i := range c.h.Ops {
		op := &c.h.Ops[i]
		if op.Txn == 0 {
			continue
		}
		x := c.txns[op.Txn]
		if x == nil {
			x = &transaction{}
			c.txns[op.Txn] = x
		}
		switch op.Kind {
		case Send:
			x.sends = append(x.sends, int32(i))
		case Poll:
			x.polls = append(x.polls, int32(i))
		case Commit, Abort:
			x.ended(op)
		}
	}
	for _, x := range c.txns {
		c.outcomes(x)
	}
	for i := range c.h.Ops {
		if op := &c.h.Ops[i]; op.Kind == Poll && op.Committed {
			c.shows(op)
		}
	}
}

// ended notes a commit or an abort.
func (x *transaction) ended(op *Op) {
	x.ends = append(x.ends, op)
	if op.Kind != Commit || op.Outcome == Failed {
		return
	}
	if x.begun == nil || op.Invoke < x.begun.Invoke {
		x.begun = op
	}
	if op.Outcome == OK && x.done == nil {
		x.done = op
	}
}

// outcomes checks that a transaction has one outcome.
func (c *checker) outcomes(x *transaction) {
	if x.done == nil {
		return
	}
	for _, op := range x.ends {
		if op.Kind == Abort && op.Outcome == OK {
			c.report.add(Finding{Check: TwoOutcomes, Text: "a transaction was committed, and it was aborted"}, x.done, op)
			return
		}
	}
}

// shows notes which values a poll of what is committed has brought, and of which transactions.
func (c *checker) shows(op *Op) {
	for _, r := range op.Records {
		i, ok := c.sends[r.Value]
		if !ok {
			continue
		}
		send := &c.h.Ops[i]
		if x := c.txns[send.Txn]; x != nil && (x.read == nil || op.Complete < x.read.Complete) {
			x.read = op
		}
		if len(c.h.Transforms) == 0 {
			continue
		}
		if first := c.visible[r.Value]; first == nil || op.Complete < first.Complete {
			c.visible[r.Value] = op
		}
	}
}

// txnOf returns the transaction that has put a value into a cell; nil for none.
func (t *trail) txnOf(c *cell) *transaction {
	i, ok := t.sends[c.value]
	if !ok {
		return nil
	}
	return t.txns[t.h.Ops[i].Txn]
}

// isCommitted says whether who wants what is committed has to be given a record.
func (t *trail) isCommitted(c *cell) bool {
	x := t.txnOf(c)
	return x == nil || x.committed()
}

// readOf returns the poll that brought some record of the transaction which has put a value into a cell; nil for none.
func (t *trail) readOf(c *cell) *Op {
	if x := t.txnOf(c); x != nil {
		return x.read
	}
	return nil
}

// readInTime checks that a record which was given as committed was committed, and not yet when it was given, and not to the
// transaction that it is of.
func (t *trail) readInTime(op *Op, r Record) {
	i, ok := t.sends[r.Value]
	if !op.Committed || !ok {
		return
	}
	send := &t.h.Ops[i]
	x := t.txns[send.Txn]
	switch {
	case x == nil:
	case op.Txn == send.Txn:
		t.find(PrecommittedRead, r.Offset, r.Value, []*Op{send, op}, "transaction %d is given its own record at %d", op.Txn, r.Offset)
	case x.begun == nil:
		t.find(AbortedRead, r.Offset, r.Value, append([]*Op{send, op}, x.ends...), "the record at %d is of transaction %d, which nobody has committed", r.Offset, send.Txn)
	case op.Complete < x.begun.Invoke:
		t.find(UncommittedRead, r.Offset, r.Value, []*Op{send, op, x.begun}, "the record at %d was given before anybody wanted its transaction %d committed", r.Offset, send.Txn)
	}
}

// span is a time in which a transaction that was then committed was open, with records from an offset on.
type span struct {
	from, to time.Duration
	offset   int64
	send     *Op
}

// opened notes since when a transaction has had a record in the partition that is known. One that was not committed may have
// ended at any time, by itself.
func (t *trail) opened(send *Op) {
	x := t.txns[send.Txn]
	if x == nil || x.done == nil {
		return
	}
	spans := t.open[send.Client]
	if n := len(spans); n > 0 && spans[n-1].send.Txn == send.Txn {
		return
	}
	t.open[send.Client] = append(spans, span{send.Complete, x.begun.Invoke, send.Offset, send})
}

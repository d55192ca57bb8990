package partition

import (
	"slices"

	"segue/storage/record"
)

// EpochEnd is the answer to "where does this leader epoch end" (KIP-101, KIP-320).
type EpochEnd struct {
	// Epoch is the largest leader epoch at or below the one asked for that the partition knows; -1 if the question
	// cannot be answered.
	Epoch int32
	// End is the offset behind the last record of Epoch; -1 if the question cannot be answered.
	End record.Offset
}

var noEpochEnd = EpochEnd{Epoch: -1, End: -1}

// epochStart says at which offset a leader epoch began.
type epochStart struct {
	epoch int32
	start record.Offset
}

// epochs is the history of leader epochs: ascending in epoch and in offset, one entry for each epoch that wrote
// something and one for the current leader's. It is not changed once the partition is open.
type epochs []epochStart

// assign notes that an epoch begins at an offset, if it is not under way already. Entries that contradict it are
// dropped: those of empty epochs, which began where this one does (Kafka's LeaderEpochFileCache.assign).
func (e epochs) assign(epoch int32, start record.Offset) epochs {
	if epoch < 0 || len(e) > 0 && e[len(e)-1].epoch == epoch && e[len(e)-1].start <= start {
		return e
	}
	for len(e) > 0 && (e[len(e)-1].epoch >= epoch || e[len(e)-1].start >= start) {
		e = e[:len(e)-1]
	}
	return append(e, epochStart{epoch, start})
}

// from returns the index of the epoch that is under way at the log start. What came before it is forgotten.
func (e epochs) from(logStart record.Offset) (first int) {
	// A handful of entries: an epoch is one start of the broker.
	for first+1 < len(e) && e[first+1].start <= logStart {
		first++
	}
	return first
}

// end answers where an epoch ends, as Kafka's LeaderEpochFileCache.endOffsetFor does: for the latest epoch at the log
// end, for an older one where the next one began, for one that is gone from the log at the start of what is left, and
// not at all for one that has not been.
func (e epochs) end(epoch int32, logStart, logEnd record.Offset) EpochEnd {
	if epoch == -1 || len(e) == 0 {
		return noEpochEnd
	}
	if e[len(e)-1].epoch == epoch {
		return EpochEnd{epoch, logEnd}
	}
	e = e[e.from(logStart):]
	higher := slices.IndexFunc(e, func(s epochStart) bool { return s.epoch > epoch })
	switch higher {
	case -1:
		return noEpochEnd
	case 0:
		return EpochEnd{epoch, max(e[0].start, logStart)}
	}
	return EpochEnd{e[higher-1].epoch, e[higher].start}
}

// at returns the epoch that a record at an offset was written in; -1 if that is not known.
func (e epochs) at(offset record.Offset) int32 {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].start <= offset {
			return e[i].epoch
		}
	}
	return -1
}

// last returns the latest epoch, -1 if there is none.
func (e epochs) last() int32 {
	if len(e) == 0 {
		return -1
	}
	return e[len(e)-1].epoch
}

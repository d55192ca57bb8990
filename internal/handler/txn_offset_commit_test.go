package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/partition"
)

// guardsInTurn gives one guard after the other, the last one again and again; 0 stands for none that is needed.
type guardsInTurn struct {
	guards []partition.Guard
	err    error
}

func (g *guardsInTurn) GuardProducer(int64, int16) (partition.Guard, bool, error) {
	guard := g.guards[0]
	if len(g.guards) > 1 {
		g.guards = g.guards[1:]
	}
	return guard, guard != 0, g.err
}

// TestConfirmedGuard: a guard that was ended while the coordinator was asked is not brought to the group, where it would be
// refused.
func TestConfirmedGuard(t *testing.T) {
	for _, tt := range []struct {
		name   string
		guards []partition.Guard
		err    error
		refuse *kerr.Error
		asked  int
		guard  partition.Guard
		code   *kerr.Error
	}{
		{"the transaction is open", []partition.Guard{0}, nil, nil, 0, 0, nil},
		{"it is confirmed", []partition.Guard{1}, nil, nil, 1, 1, nil},
		{"the marker of the one before comes meanwhile", []partition.Guard{1, 2}, nil, nil, 2, 2, nil},
		{"another request opens it meanwhile", []partition.Guard{1, 0}, nil, nil, 1, 0, nil},
		{"again and again", []partition.Guard{1, 2, 3, 4, 5}, nil, nil, verifyRounds, verifyRounds, nil},
		{"it is refused", []partition.Guard{1}, nil, kerr.InvalidProducerEpoch, 1, 0, kerr.InvalidProducerEpoch},
		{"another producer has followed", []partition.Guard{1}, kerr.InvalidProducerEpoch, nil, 0, 0, kerr.InvalidProducerEpoch},
	} {
		asked := 0
		guard, code := confirmedGuard(&guardsInTurn{tt.guards, tt.err}, kmsg.NewPtrTxnOffsetCommitRequest(), func() *kerr.Error {
			asked++
			return tt.refuse
		})
		if guard != tt.guard || code != tt.code || asked != tt.asked {
			t.Errorf("%s: guard %d, %v, asked %d times; want guard %d, %v, %d times", tt.name, guard, code, asked, tt.guard, tt.code, tt.asked)
		}
	}
}

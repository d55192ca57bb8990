package partition_test

import (
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"segue/partition"
	"segue/partition/logtest"
)

// producerIDAt is where a batch has its producer id.
const producerIDAt = 43

// TestManyGuards: who asks for guards without end, confirmed by nobody, is told to wait, and what was given is good. After five
// minutes there is room again.
func TestManyGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := partition.Open(context.Background(), logtest.NewMemory(), theID, 0, testConfig(), codecs())
		if err != nil {
			t.Fatal(err)
		}
		b := logtest.Spec{Producer: 1, Transactional: true}.Batch(t)
		ask := func(id int64) (partition.Guard, error) {
			binary.BigEndian.PutUint64(b.Header[producerIDAt:], uint64(id))
			g, _, err := p.Guard(b.Header, false)
			return g, err
		}
		first, err := ask(0)
		if err != nil {
			t.Fatal(err)
		}
		given := int64(1)
		for ; err == nil && given < 1<<20; given++ {
			_, err = ask(given)
		}
		if code(err) != "NOT_ENOUGH_REPLICAS" || given < 10_000 {
			t.Fatalf("after %d guards: %v", given, err)
		}
		if again, err := ask(0); err != nil || again != first {
			t.Fatalf("the guard is %v and was %v (%v)", again, first, err)
		}
		time.Sleep(5 * time.Minute)
		if _, err := ask(given); err != nil {
			t.Fatal(err)
		}
	})
}

package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"

	"segue/internal/coordinator"
	"segue/partition"
)

// slowLog is a log whose reads wait.
type slowLog struct {
	*partition.Partition
	release chan struct{}
}

func newSlowLog(p *partition.Partition) *slowLog { return &slowLog{p, make(chan struct{})} }

func (l *slowLog) Read(ctx context.Context, r partition.ReadRequest) (partition.ReadResult, error) {
	<-l.release
	return l.Partition.Read(ctx, r)
}

func TestSlowLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.do(add(1))
		s.r.Unload(0)
		slow := newSlowLog(s.p)
		s.r.Load(0, slow)
		s.r.Load(1, openPartition(t, s.store, 1, 0))
		synctest.Wait()
		mustDo(t, s.r, 1, add(5)) // nobody else waits for it
		s.start(look()).failed(coordinator.ErrLoading)
		if got := s.r.Stats(); got.Loading != 1 || got.Serving != 1 {
			t.Errorf("%+v", got)
		}
		close(slow.release)
		synctest.Wait()
		s.start(look()).saw(1)
		s.close()
	})
}

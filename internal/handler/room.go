package handler

import (
	"slices"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"

	"segue/internal/catalog"
)

// internalRoom is how many partitions beyond the limit internal topics may have: a broker that is full of topics still
// has to keep offsets and transactions.
const internalRoom = 200

// partitionLimit keeps the partitions of all topics below a limit (max.partitions).
type partitionLimit struct {
	log     zerolog.Logger
	most    int           // 0 is no limit
	refused *atomic.Int64 // topics that were not made, or not made larger; may be nil
}

// check says why there cannot be so many partitions more in the image. The commit of what it has allowed must rest on
// that image, so that of two who are at it at the same time only one passes.
func (l *partitionLimit) check(image *catalog.Image, topic string, more int32) *apiError {
	if l.most <= 0 {
		return nil
	}
	most := l.most
	if catalog.IsInternal(topic) {
		most += internalRoom
	}
	if image.Partitions()+int(more) <= most {
		return nil
	}
	return failure(kerr.PolicyViolation, "Topic '%s' would take the broker from %d partitions to %d, and it has a limit of %d: "+
		"delete topics, or raise max.partitions or the broker's memory, which the limit follows where it is not set.",
		topic, image.Partitions(), image.Partitions()+int(more), most)
}

// note counts and logs the refusals among what spoke against topics, in one line.
func (l *partitionLimit) note(errs []*apiError) {
	refusals := slices.DeleteFunc(errs, func(err *apiError) bool { return !isRefusal(err) })
	if len(refusals) == 0 {
		return
	}
	if l.refused != nil {
		l.refused.Add(int64(len(refusals)))
	}
	l.log.Warn().Err(refusals[0]).Int("topics", len(refusals)).Msg("topics, or partitions of topics, not created")
}

// isRefusal tells whether a policy has spoken against a topic.
func isRefusal(err *apiError) bool { return err != nil && err.code == kerr.PolicyViolation }

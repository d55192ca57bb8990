package handler

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
	"segue/storage"
)

// describeLogDirs answers DescribeLogDirs. There are no replicas that lag behind, and none that move from one directory to
// another.
type describeLogDirs struct {
	log   zerolog.Logger
	image func() *catalog.Image
	dirs  []*storage.Dir
}

func (h *describeLogDirs) handle(_ context.Context, _ *server.Client, req *kmsg.DescribeLogDirsRequest) *kmsg.DescribeLogDirsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	wanted := partitionsIn(req)
	for _, dir := range h.dirs {
		resp.Dirs = append(resp.Dirs, h.describe(dir, wanted))
	}
	return resp
}

// partitionsIn is the set of partitions that a request names; nil is all.
func partitionsIn(req *kmsg.DescribeLogDirsRequest) map[string]map[int32]bool {
	if req.Topics == nil {
		return nil
	}
	wanted := make(map[string]map[int32]bool)
	for _, t := range req.Topics {
		if wanted[t.Topic] == nil {
			wanted[t.Topic] = make(map[int32]bool)
		}
		for _, p := range t.Partitions {
			wanted[t.Topic][p] = true
		}
	}
	return wanted
}

// describe is what the answer says of one directory. Its disk being asked, one that is gone is found out.
func (h *describeLogDirs) describe(dir *storage.Dir, wanted map[string]map[int32]bool) kmsg.DescribeLogDirsResponseDir {
	d := kmsg.NewDescribeLogDirsResponseDir()
	d.Dir = dir.Path()
	if absolute, err := filepath.Abs(d.Dir); err == nil {
		d.Dir = absolute
	}
	var err error
	if d.TotalBytes, d.UsableBytes, err = dir.Space(); err != nil {
		h.log.Error().Err(err).Msg("a log directory cannot be described")
		d.ErrorCode, d.TotalBytes, d.UsableBytes = kerr.KafkaStorageError.Code, -1, -1
		return d
	}
	logs := dir.Logs()
	image := h.image()
	topics := map[string]int{}
	for _, l := range logs {
		id := l.Identity()
		topic, ok := image.TopicByID(id.TopicID)
		if !ok || wanted != nil && !wanted[topic.Name][id.Partition] {
			continue // one of a topic that is being deleted, or the catalog
		}
		at, seen := topics[topic.Name]
		if !seen {
			at = len(d.Topics)
			topics[topic.Name] = at
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = topic.Name
			d.Topics = append(d.Topics, t)
		}
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition, p.Size = id.Partition, l.Size()
		d.Topics[at].Partitions = append(d.Topics[at].Partitions, p)
	}
	slices.SortFunc(d.Topics, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	for _, t := range d.Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int {
			return cmp.Compare(a.Partition, b.Partition)
		})
	}
	return d
}

// cost implements server.API's Cost: a request of some bytes asks for all partitions.
func (h *describeLogDirs) cost(r *server.Request, decoded int) int {
	image := h.image()
	const small = 4 << 10 // the directories themselves
	return 4*decoded + small*len(h.dirs) + len(image.Topics())*topicCost + image.Partitions()*logCost
}

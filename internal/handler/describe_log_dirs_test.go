package handler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// logDirs has the one directory of the stage described.
func (s *stage) logDirs(req *kmsg.DescribeLogDirsRequest, version int16) kmsg.DescribeLogDirsResponseDir {
	s.Helper()
	resp := s.ask(req, version).(*kmsg.DescribeLogDirsResponse)
	if len(resp.Dirs) != 1 || resp.Dirs[0].Dir != "/data" || resp.ErrorCode != 0 {
		s.Fatalf("v%d: %+v", version, resp)
	}
	return resp.Dirs[0]
}

// inDir lists the partitions of a directory and whether there is anything in them.
func inDir(d kmsg.DescribeLogDirsResponseDir) string {
	var found []string
	for _, t := range d.Topics {
		for _, p := range t.Partitions {
			found = append(found, fmt.Sprintf("%s-%d:%v", t.Topic, p.Partition, p.Size > 0))
		}
	}
	return strings.Join(found, " ")
}

func TestDescribeLogDirsEveryVersion(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		s := newStage(t)
		b := s.create("b", 2)
		s.create("a", 1)
		s.produceAt(b, 1, time.Now().UnixMilli())
		req := kmsg.NewPtrDescribeLogDirsRequest()
		all := s.logDirs(req, version)
		if got, want := inDir(all), "a-0:false b-0:false b-1:true"; got != want {
			t.Errorf("v%d: all are %s, want %s", version, got, want)
		}
		if p := all.Topics[1].Partitions[1]; p.Size != s.partition(b, 1).Size() || p.OffsetLag != 0 || p.IsFuture {
			t.Errorf("v%d: %+v, its size is %d", version, p, s.partition(b, 1).Size())
		}
		if known := all.TotalBytes > 0 && all.UsableBytes > 0 && all.UsableBytes <= all.TotalBytes; known != (version >= 4) {
			t.Errorf("v%d: %d bytes of %d are usable", version, all.UsableBytes, all.TotalBytes)
		}
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{
			{Topic: "b", Partitions: []int32{1, 9}}, {Topic: "none", Partitions: []int32{0}}, {Topic: "a"}, {Topic: "b", Partitions: []int32{1}},
		}
		if got, want := inDir(s.logDirs(req, version)), "b-1:true"; got != want {
			t.Errorf("v%d: those asked for are %s, want %s", version, got, want)
		}
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		if got := inDir(s.logDirs(req, version)); got != "" {
			t.Errorf("v%d: asked for none, got %s", version, got)
		}
	}
}

func TestDescribeLogDirsOfADiskThatIsGone(t *testing.T) {
	s := newStage(t)
	s.create("a", 1)
	s.looks.Store(&errDisk)
	d := s.logDirs(kmsg.NewPtrDescribeLogDirsRequest(), 5)
	expectCode(t, "the directory", d.ErrorCode, kerr.KafkaStorageError)
	if len(d.Topics) > 0 || d.TotalBytes != -1 || d.UsableBytes != -1 {
		t.Errorf("%+v", d)
	}
}

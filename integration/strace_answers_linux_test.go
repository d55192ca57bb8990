//go:build integration

package integration

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
)

// tracedAnswer is an answer of the broker in a transcript.
type tracedAnswer struct {
	key, version int16
	resp         kmsg.Response
}

// tracedStream is one direction of a connection, cut into frames.
type tracedStream struct {
	rest  []byte
	begun int // the event in which the first byte of rest came or went
}

// take takes more bytes, and returns the frames that are whole now, each with the event in which it began.
func (s *tracedStream) take(event int, b []byte, each func(event int, frame []byte) error) error {
	if len(s.rest) == 0 {
		s.begun = event
	}
	s.rest = append(s.rest, b...)
	for len(s.rest) >= 4 {
		n := int(binary.BigEndian.Uint32(s.rest)) + 4
		if n > len(s.rest) {
			return nil
		}
		if err := each(s.begun, s.rest[4:n]); err != nil {
			return err
		}
		s.rest, s.begun = s.rest[n:], event
	}
	return nil
}

// tracedConn is a connection in a transcript.
type tracedConn struct {
	in, out tracedStream
	asked   map[int32][2]int16 // key and version, by correlation id
}

// answersIn finds the answers that a transcript holds of one listener, by the event in which the broker began to send
// them. What went out by sendfile, which is records only, is zeros.
func answersIn(events []sysEvent, listener string) (map[int][]tracedAnswer, error) {
	answers := map[int][]tracedAnswer{}
	conns := map[string]*tracedConn{}
	writing := map[*sysCall]int{} // the events in which they began
	for i, e := range events {
		c := e.call
		end := c.arg(0).path
		if !strings.HasPrefix(end, "TCP:["+listener+"->") {
			continue
		}
		conn := conns[end]
		if conn == nil {
			conn = &tracedConn{asked: map[int32][2]int16{}}
			conns[end] = conn
		}
		var err error
		switch {
		case c.name == "close":
			delete(conns, end)
		case !e.end:
			writing[c] = i
		case c.ret <= 0:
		case c.arg(1).cut:
			err = fmt.Errorf("%s: a transfer of %d bytes is too long for the transcript", end, c.ret)
		case c.name == "read":
			err = conn.in.take(i, c.arg(1).data, conn.request)
		case c.name == "write":
			err = conn.out.take(writing[c], c.arg(1).data[:c.ret], func(event int, frame []byte) error {
				return conn.answer(frame, func(a tracedAnswer) { answers[event] = append(answers[event], a) })
			})
		case c.name == "sendfile":
			err = conn.out.take(writing[c], make([]byte, c.ret), func(event int, frame []byte) error {
				return conn.answer(frame, func(a tracedAnswer) { answers[event] = append(answers[event], a) })
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (c *tracedConn) request(_ int, frame []byte) error {
	if len(frame) < 8 {
		return fmt.Errorf("a request of %d bytes", len(frame))
	}
	c.asked[int32(binary.BigEndian.Uint32(frame[4:]))] = [2]int16{int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))}
	return nil
}

func (c *tracedConn) answer(frame []byte, each func(tracedAnswer)) error {
	if len(frame) < 4 {
		return fmt.Errorf("an answer of %d bytes", len(frame))
	}
	id := int32(binary.BigEndian.Uint32(frame))
	asked, ok := c.asked[id]
	if !ok {
		return fmt.Errorf("an answer to %d, which nobody asked", id)
	}
	delete(c.asked, id)
	a := tracedAnswer{asked[0], asked[1], kmsg.ResponseForKey(asked[0])}
	a.resp.SetVersion(a.version)
	header := 4
	if a.resp.IsFlexible() && a.key != int16(kmsg.ApiVersions) {
		header++ // no tags
	}
	if err := a.resp.ReadFrom(frame[header:]); err != nil {
		return fmt.Errorf("an answer to API %d, version %d: %w", a.key, a.version, err)
	}
	each(a)
	return nil
}

// promises holds what a broker tells its clients against what a power cut would have left at that moment.
type promises struct {
	*tracedDisk
	data       string              // log.dirs
	topics     map[[16]byte]string // names, by id
	proven     map[proof]int64     // offsets below which all is known to be durable
	violations map[string][]string // by kind
	checked    map[string]int      // answers that promise something, by kind
	started    int                 // where the catalog ended when the process began
	behind     string              // a topic that promises nothing
	idBlock    bool                // it has been seen that a block of producer ids is durable
}

// proof is about one partition of one topic: a name comes back as another topic.
type proof struct {
	name      *tracedName
	partition string
}

func newPromises(data string) *promises {
	p := &promises{
		data: data, topics: map[[16]byte]string{}, proven: map[proof]int64{},
		violations: map[string][]string{}, checked: map[string]int{},
	}
	p.tracedDisk = newTracedDisk(filepath.Dir(data), func(kind, text string) { p.violations[kind] = append(p.violations[kind], text) })
	return p
}

// replay goes over the transcript of one run of the broker.
func (p *promises) replay(events []sysEvent, listener string) error {
	answers, err := answersIn(events, listener)
	if err != nil {
		return err
	}
	for _, of := range answers {
		for _, a := range of {
			p.learn(a.resp)
		}
	}
	p.started, p.idBlock = len(p.catalog()), false
	open := map[*sysCall]bool{}
	for i, e := range events {
		for _, a := range answers[i] {
			p.check(a)
		}
		if e.end {
			delete(open, e.call)
			p.end(e.call)
		} else {
			open[e.call] = true
			p.begin(e.call)
		}
	}
	left := make([]*sysCall, 0, len(open))
	for _, e := range events {
		if !e.end && open[e.call] {
			left = append(left, e.call)
		}
	}
	p.finish(left)
	return nil
}

// learn notes the names of topics.
func (p *promises) learn(r kmsg.Response) {
	switch r := r.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, t := range r.Topics {
			if t.ErrorCode == 0 {
				p.topics[t.TopicID] = t.Topic
			}
		}
	case *kmsg.MetadataResponse:
		for _, t := range r.Topics {
			if t.ErrorCode == 0 && t.Topic != nil {
				p.topics[t.TopicID] = *t.Topic
			}
		}
	}
}

func (p *promises) name(topic string, id [16]byte) string {
	if topic == "" {
		return p.topics[id]
	}
	return topic
}

// check holds one answer against the disk.
func (p *promises) check(a tracedAnswer) {
	if !p.inCatalog(p.started, `"type":"Start"`) {
		p.violated("start", fmt.Sprintf("an answer to API %d, and the start is not counted durably", a.key))
	}
	switch r := a.resp.(type) {
	case *kmsg.ProduceResponse:
		for _, t := range r.Topics {
			for _, q := range t.Partitions {
				if q.ErrorCode == 0 {
					p.holds("produce", p.name(t.Topic, t.TopicID), q.Partition, q.BaseOffset+1)
				}
			}
		}
	case *kmsg.FetchResponse:
		for _, t := range r.Topics {
			for _, q := range t.Partitions {
				if q.ErrorCode == 0 {
					p.holds("fetch", p.name(t.Topic, t.TopicID), q.Partition, q.HighWatermark)
				}
			}
		}
	case *kmsg.ListOffsetsResponse:
		for _, t := range r.Topics {
			for _, q := range t.Partitions {
				if q.ErrorCode == 0 {
					p.holds("list offsets", t.Topic, q.Partition, q.Offset)
				}
			}
		}
	case *kmsg.CreateTopicsResponse:
		for _, t := range r.Topics {
			if t.ErrorCode == 0 {
				p.isInCatalog("create", t.Topic, `"id":"`+catalog.FormatID(t.TopicID)+`"`)
			}
		}
	case *kmsg.DeleteTopicsResponse:
		for _, t := range r.Topics {
			if t.ErrorCode == 0 {
				p.isInCatalog("delete", p.topics[t.TopicID], `"type":"DeleteTopic","version":1,"id":"`+catalog.FormatID(t.TopicID)+`"`)
			}
		}
	case *kmsg.InitProducerIDResponse:
		if r.ErrorCode == 0 {
			p.checked["producer id"]++
			if p.idBlock = p.idBlock || p.inCatalog(p.started, `"type":"ReserveProducerIDs"`); !p.idBlock {
				p.violated("producer id", fmt.Sprintf("producer id %d is given, and is not set aside durably", r.ProducerID))
			}
		}
	}
}

// holds checks a promise that a partition holds all below an offset: data, and the names that lead to it.
func (p *promises) holds(kind, topic string, partition int32, end int64) {
	if end <= 0 || topic == p.behind {
		return // nothing is promised
	}
	p.checked[kind]++
	folder := filepath.Join(p.data, fmt.Sprintf("%s-%d", topic, partition))
	key := proof{p.names[folder], folder}
	if key.name == nil {
		p.violated("name", fmt.Sprintf("%s to %s below %d, which has no folder", kind, p.short(folder), end))
		return
	}
	if end <= p.proven[key] {
		return
	}
	fail := func(what, left string) {
		p.violated(what, fmt.Sprintf("%s to %s below %d: not durable: %s", kind, p.short(folder), end, left))
	}
	if left := p.unnamed(filepath.Join(folder, "partition.metadata")); left != "" {
		fail("name", left)
		return
	}
	at := int64(0)
	for _, file := range p.segments(folder) {
		if at >= end {
			break
		}
		content := p.files[file].content
		pos := int64(0)
		for at < end && pos < int64(len(content)) {
			size, next, ok := batchAt(content[pos:])
			if !ok {
				fail("data", fmt.Sprintf("%s holds no whole batch at byte %d", p.short(file), pos))
				return
			}
			pos, at = pos+size, next
		}
		if left := p.unsynced(file, pos); left != "" {
			fail("data", left)
			return
		}
		if left := p.unnamed(file); left != "" {
			fail("name", left)
			return
		}
	}
	if at < end && len(p.segments(folder)) > 0 { // an empty log's end may stand in the name of its file alone
		last := p.segments(folder)
		base, _, _ := strings.Cut(filepath.Base(last[len(last)-1]), ".")
		if base != fmt.Sprintf("%020d", end) {
			fail("data", fmt.Sprintf("the log ends at %d", at))
			return
		}
	}
	p.proven[key] = end
}

// segments returns the data files of a folder in the order of their offsets.
func (p *promises) segments(folder string) (files []string) {
	for path := range p.files {
		if filepath.Dir(path) == folder && strings.HasSuffix(path, ".log") {
			files = append(files, path)
		}
	}
	slices.Sort(files)
	return files
}

// catalogFile is the one segment of the catalog's log; no test writes so much that there are two.
func (p *promises) catalogFile() string {
	return filepath.Join(p.data, "@catalog-0", fmt.Sprintf("%020d.log", 0))
}

func (p *promises) catalog() string {
	if f := p.files[p.catalogFile()]; f != nil {
		return string(f.content)
	}
	return ""
}

// inCatalog says whether a text stands in the catalog, durably, behind a position.
func (p *promises) inCatalog(from int, text string) bool {
	at := strings.Index(p.catalog()[from:], text)
	return at >= 0 && p.unsynced(p.catalogFile(), int64(from+at+len(text))) == "" && p.unnamed(p.catalogFile()) == ""
}

func (p *promises) isInCatalog(kind, topic, text string) {
	p.checked[kind]++
	if !p.inCatalog(0, text) {
		p.violated("catalog", fmt.Sprintf("%s %s is answered, and is not durable", kind, topic))
	}
}

package inspect

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"segue/internal/catalog"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
)

// textPrinter prints for people.
type textPrinter struct{ out io.Writer }

func (p *textPrinter) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

func (p *textPrinter) file(path string) { p.printf("%s\n", path) }

func (p *textPrinter) batch(pos int64, b record.Batch) {
	p.printf("  %s, %s, at byte %d, %s, epoch %d, %s", span(b.BaseOffset(), b.NextOffset()), plural(int64(b.Count()), "record"), pos, plural(int64(b.Size()), "byte"), b.LeaderEpoch(), moment(b.MaxTimestamp()))
	if b.TimestampType() == record.LogAppendTime {
		p.printf(" (append time)")
	}
	if b.Codec() != record.None {
		p.printf(", %s", b.Codec())
	}
	if b.ProducerID() != record.NoProducerID {
		p.printf(", producer %d/%d from sequence %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
	}
	if b.IsTransactional() {
		p.printf(", transactional")
	}
	if m, ok := partition.MarkerIn(b); ok {
		p.printf(", %s marker of coordinator epoch %d", m.Verb(), m.CoordinatorEpoch)
	} else if b.IsControl() {
		p.printf(", control")
	}
	p.printf("\n")
}

func (p *textPrinter) record(r record.Record) {
	p.printf("    %d %s key %s value %s", r.Offset, moment(r.Timestamp), quoted(r.Key), quoted(r.Value))
	for h := range r.Headers.All() {
		p.printf(" %s=%s", strconv.Quote(h.Key), quoted(h.Value))
	}
	p.printf("\n")
}

func (p *textPrinter) damage(s storage.Scanned) {
	p.printf("  damaged: %s, at byte %d, %s: %s\n", span(s.Low, s.High), s.Position, plural(s.Bytes, "byte"), oneLine(s.Err))
}

func (p *textPrinter) unsound(path string, err error) {
	p.printf("%s\n  damaged: %s\n", path, oneLine(err))
}

func (p *textPrinter) index(path string, x storage.IndexContents) {
	state := "open"
	if x.Closed {
		state = fmt.Sprintf("closed, of %s, newest record %s", plural(x.DataSize, "byte"), moment(x.MaxTimestamp))
	}
	p.printf("%s\n  base offset %d, %s, %s\n", path, x.Base, plural(int64(len(x.Entries)), "entry"), state)
	if x.Synced > 0 {
		p.printf("  synced up to byte %d, offset %d\n", x.Synced, x.SyncedTo)
	}
	for _, e := range x.Entries {
		p.printf("    offset %d at byte %d, before it up to %s\n", e.Offset, e.Position, moment(e.MaxBefore))
	}
}

func (p *textPrinter) checkpoint(path string, c storage.CheckpointContents) {
	p.printf("%s\n  at offset %d, byte %d of segment %d, topic id %s, epoch %d, %s up to %s, state of %s\n", path, c.At, c.Position,
		c.Segment, catalog.FormatID(c.TopicID), c.LeaderEpoch, plural(c.IndexEntries, "index entry"), moment(c.MaxTimestamp),
		plural(int64(len(c.State)), "byte"))
}

func (p *textPrinter) topicID(path string, id [16]byte) {
	p.printf("%s\n  topic id %s\n", path, catalog.FormatID(id))
}

func (p *textPrinter) logStart(path string, at record.Offset) {
	p.printf("%s\n  log start offset %d\n", path, at)
}

// moment writes a timestamp.
func moment(unixMilli int64) string {
	if unixMilli == record.NoTimestamp {
		return "no timestamp"
	}
	return time.UnixMilli(unixMilli).UTC().Format("2006-01-02T15:04:05.000Z")
}

// span writes the offsets from one up to another, which is negative where it is not known.
func span(from, to record.Offset) string {
	switch {
	case to < 0:
		return fmt.Sprintf("offsets %d and up", from)
	case to == from+1:
		return fmt.Sprintf("offset %d", from)
	}
	return fmt.Sprintf("offsets %d to %d", from, to-1)
}

// quoted writes bytes that may be anything, in backquotes where that makes them easier to read.
func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	text := string(b)
	if strings.Contains(text, `"`) && strconv.CanBackquote(text) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	if strings.HasSuffix(what, "ch") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size writes a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return plural(n, "byte")
	}
	v, unit := float64(n), -1
	for v >= 1<<10 && unit+1 < len(units) {
		v /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[unit])
}

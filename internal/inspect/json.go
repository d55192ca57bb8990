package inspect

import (
	"encoding/json"
	"io"
	"unicode/utf8"

	"segue/internal/catalog"
	"segue/storage"
	"segue/storage/record"
)

// jsonPrinter prints one object a line for programs. Each has a type and the file that it is of.
type jsonPrinter struct {
	enc  *json.Encoder
	path string
}

func newJSONPrinter(out io.Writer) *jsonPrinter {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &jsonPrinter{enc: enc}
}

// print writes an object. That the output takes no more is told when it is flushed.
func (p *jsonPrinter) print(object any) { _ = p.enc.Encode(object) }

type jsonHead struct {
	Type string `json:"type"`
	File string `json:"file"`
}

func (p *jsonPrinter) file(path string) { p.path = path }

func (p *jsonPrinter) batch(pos int64, b record.Batch) {
	p.print(struct {
		jsonHead
		Position      int64         `json:"position"`
		Size          int           `json:"size"`
		BaseOffset    record.Offset `json:"baseOffset"`
		LastOffset    record.Offset `json:"lastOffset"`
		Count         int32         `json:"count"`
		LeaderEpoch   int32         `json:"leaderEpoch"`
		CRC           uint32        `json:"crc"`
		Codec         string        `json:"codec"`
		TimestampType string        `json:"timestampType"`
		BaseTimestamp int64         `json:"baseTimestamp"`
		MaxTimestamp  int64         `json:"maxTimestamp"`
		ProducerID    int64         `json:"producerId"`
		ProducerEpoch int16         `json:"producerEpoch"`
		BaseSequence  int32         `json:"baseSequence"`
		Transactional bool          `json:"transactional"`
		Control       bool          `json:"control"`
	}{
		jsonHead{"batch", p.path}, pos, b.Size(), b.BaseOffset(), b.LastOffset(), b.Count(), b.LeaderEpoch(), b.CRC(),
		b.Codec().String(), b.TimestampType().String(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(),
		b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional(), b.IsControl(),
	})
}

type jsonHeader struct {
	Key string `json:"key"`
	jsonBytes
}

// jsonBytes is a value that may be anything: text where it is UTF-8, else base64, and neither where it is null.
type jsonBytes struct {
	Text   *string `json:"value,omitempty"`
	Base64 []byte  `json:"valueBase64,omitempty"`
}

func asJSON(b []byte) (v jsonBytes) {
	switch {
	case b == nil:
	case utf8.Valid(b):
		text := string(b)
		v.Text = &text
	default:
		v.Base64 = b
	}
	return v
}

func (p *jsonPrinter) record(r record.Record) {
	key := asJSON(r.Key)
	object := struct {
		jsonHead
		Offset    record.Offset `json:"offset"`
		Timestamp int64         `json:"timestamp"`
		Key       *string       `json:"key,omitempty"`
		KeyBase64 []byte        `json:"keyBase64,omitempty"`
		jsonBytes
		Headers []jsonHeader `json:"headers,omitempty"`
	}{jsonHead: jsonHead{"record", p.path}, Offset: r.Offset, Timestamp: r.Timestamp, Key: key.Text, KeyBase64: key.Base64, jsonBytes: asJSON(r.Value)}
	for h := range r.Headers.All() {
		object.Headers = append(object.Headers, jsonHeader{h.Key, asJSON(h.Value)})
	}
	p.print(object)
}

func (p *jsonPrinter) damage(s storage.Scanned) {
	p.print(struct {
		jsonHead
		Position   int64         `json:"position"`
		Size       int64         `json:"size"`
		FromOffset record.Offset `json:"fromOffset"`
		ToOffset   record.Offset `json:"toOffset"` // behind the last one; -1 if that is not known
		Error      string        `json:"error"`
	}{jsonHead{"damage", p.path}, s.Position, s.Bytes, s.Low, s.High, oneLine(s.Err)})
}

func (p *jsonPrinter) unsound(path string, err error) {
	p.print(struct {
		jsonHead
		Error string `json:"error"`
	}{jsonHead{"damage", path}, oneLine(err)})
}

func (p *jsonPrinter) index(path string, x storage.IndexContents) {
	type entry struct {
		Offset    record.Offset `json:"offset"`
		Position  int64         `json:"position"`
		MaxBefore int64         `json:"maxTimestampBefore"`
	}
	entries := make([]entry, 0, len(x.Entries))
	for _, e := range x.Entries {
		entries = append(entries, entry(e))
	}
	p.print(struct {
		jsonHead
		BaseOffset   record.Offset `json:"baseOffset"`
		Closed       bool          `json:"closed"`
		DataSize     int64         `json:"dataSize"`
		MaxTimestamp int64         `json:"maxTimestamp"`
		Synced       int64         `json:"syncedPosition"`
		SyncedTo     record.Offset `json:"syncedOffset"`
		Entries      []entry       `json:"entries"`
	}{jsonHead{"index", path}, x.Base, x.Closed, x.DataSize, x.MaxTimestamp, x.Synced, x.SyncedTo, entries})
}

func (p *jsonPrinter) checkpoint(path string, c storage.CheckpointContents) {
	p.print(struct {
		jsonHead
		TopicID      string        `json:"topicId"`
		Offset       record.Offset `json:"offset"`
		Segment      record.Offset `json:"segment"`
		Position     int64         `json:"position"`
		IndexEntries int64         `json:"indexEntries"`
		MaxTimestamp int64         `json:"maxTimestamp"`
		LeaderEpoch  int32         `json:"leaderEpoch"`
		State        []byte        `json:"stateBase64"`
	}{jsonHead{"checkpoint", path}, catalog.FormatID(c.TopicID), c.At, c.Segment, c.Position, c.IndexEntries, c.MaxTimestamp, c.LeaderEpoch, c.State})
}

func (p *jsonPrinter) topicID(path string, id [16]byte) {
	p.print(struct {
		jsonHead
		TopicID string `json:"topicId"`
	}{jsonHead{"topicId", path}, catalog.FormatID(id)})
}

func (p *jsonPrinter) logStart(path string, at record.Offset) {
	p.print(struct {
		jsonHead
		Offset record.Offset `json:"offset"`
	}{jsonHead{"logStart", path}, at})
}

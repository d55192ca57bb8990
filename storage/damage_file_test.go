package storage

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"segue/storage/record"
)

// indexDamages are done to the index of a segment. An index is a hint: nothing is lost with it.
func indexDamages() (rows []damage) {
	flips := []struct {
		name string
		at   int
		bit  byte
	}{
		{"magic", 3, 1}, {"version", 8, 2}, {"state", 12, 1}, {"base offset", 16, 4}, {"count", 24, 1}, {"data size", 32, 1},
		{"largest timestamp", 40, 1}, {"checksum of the entries", 48, 1}, {"checksum of the header", 52, 1},
		{"synced position", noteAt, 4}, {"synced offset", noteAt + 8, 4}, {"checksum of the note", noteAt + 16, 1},
		{"boot mark", bootMarkAt, 1}, {"an offset", indexHeaderSize, 1}, {"a position", indexHeaderSize + 4, 1},
		{"a timestamp", indexHeaderSize + 8, 1},
	}
	for _, f := range flips {
		rows = append(rows, damage{name: "index, flipped bit in " + f.name, change: func(s *scene) {
			s.index(func(b []byte) []byte {
				b[f.at] ^= f.bit
				return b
			})
		}, sound: f.at == bootMarkAt || f.name == "state", unless: func(v variation) bool {
			// The fields of an index that is not closed mean nothing, and what the entries say is checked at each use.
			return !v.stopped && v.target == hot && (f.name == "state" || f.at > 16 && f.at < noteAt || f.at >= indexHeaderSize)
		}})
	}
	return append(rows, []damage{
		{name: "index missing", sound: true, change: func(s *scene) { s.remove(s.path + indexSuffix) }},
		{name: "all indexes missing", at: []int{nowhere}, sound: true, change: func(s *scene) { removeAll(s.t, s.folder, "*.idx") }},
		{name: "index cut to nothing", change: func(s *scene) { s.index(func([]byte) []byte { return nil }) }},
		{name: "index cut in the entries", at: []int{below, above}, change: func(s *scene) {
			s.index(func(b []byte) []byte { return b[:indexHeaderSize+indexEntrySize+3] })
		}},
		{name: "index of garbage", change: func(s *scene) {
			s.index(func(b []byte) []byte { return bytes.Repeat([]byte{0x5a}, len(b)) })
		}},
		{name: "index of zeros", change: func(s *scene) { s.index(func(b []byte) []byte { return make([]byte, len(b)) }) }},
		{name: "index of another segment", change: func(s *scene) {
			other, err := os.ReadFile(s.segments[2].path + indexSuffix)
			if err != nil {
				s.t.Fatal(err)
			}
			s.index(func([]byte) []byte { return other })
		}},
		{name: "data gone, index left", lost: wholeSegment, change: func(s *scene) { s.remove(s.path + dataSuffix) }},
	}...)
}

// sideDamages are done to the small files beside the segments.
func sideDamages() []damage {
	reseal := func(b []byte) []byte {
		n := len(b) - 4
		order.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		return b
	}
	fold := "fold" + checkpointSuffix
	start := func(at record.Offset) []byte {
		return reseal(append(order.AppendUint64(bytes.Clone(startMagic), uint64(at)), 0, 0, 0, 0))
	}
	metadata := func(text string) func(*scene) {
		return func(s *scene) { s.write(metadataFile, []byte(text)) }
	}
	is := []int{nowhere}
	corrupt := &CorruptError{}
	other := formatID([16]byte{7})
	rows := []damage{
		{name: "checkpoint, flipped bit", at: is, change: func(s *scene) {
			s.file(fold, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		{name: "checkpoint cut", at: is, change: func(s *scene) { s.file(fold, func(b []byte) []byte { return b[:40] }) }},
		{name: "checkpoint of garbage", at: is, change: func(s *scene) { s.write(fold, []byte("garbage")) }},
		{name: "checkpoint missing", at: is, sound: true, change: func(s *scene) { s.remove(filepath.Join(s.folder, fold)) }},
		{name: "checkpoint of a future version", at: is, change: func(s *scene) {
			s.file(fold, func(b []byte) []byte { b[8] = 2; return reseal(b) })
		}},
		{name: "checkpoint of another topic id", at: is, change: func(s *scene) {
			s.file(fold, func(b []byte) []byte { b[20] ^= 1; return reseal(b) })
		}},
		{name: "checkpoint past the end", at: []int{hot}, change: func(s *scene) {
			s.file(fold, func(b []byte) []byte {
				order.PutUint64(b[32:], 150)
				order.PutUint64(b[40:], uint64(s.base))
				order.PutUint64(b[48:], 1<<20)
				return reseal(b)
			})
		}, lost: func(*scene) []offsets { return []offsets{{120, 150}} }, end: func(*scene) record.Offset { return 150 }},
		{name: "log start of garbage", at: is, refused: corrupt, change: func(s *scene) { s.write(startFile, []byte("garbage")) }},
		{name: "log start, flipped bit", at: is, refused: corrupt, change: func(s *scene) {
			b := start(0)
			b[9] ^= 1
			s.write(startFile, b)
		}},
		{name: "log start below 0", at: is, refused: corrupt, change: func(s *scene) { s.write(startFile, start(-5)) }},
		{name: "log start of a future version", at: is, refused: ErrUnsupported, change: func(s *scene) {
			s.write(startFile, reseal(append(start(0), 1, 2, 3, 4)))
		}},
		{name: "topic id of garbage", at: is, refused: corrupt, change: metadata("version: 0\ntopic_id: none\n")},
		{name: "topic id missing in its file", at: is, refused: corrupt, change: metadata("version: 0\n")},
		{name: "topic id cut to nothing", at: is, refused: corrupt, change: metadata("")},
		{name: "topic id of a future version", at: is, refused: ErrUnsupported, change: metadata("version: 1\ntopic_id: " + other + "\n")},
		{name: "topic id wrong, a checkpoint has the right one", at: is, refused: corrupt, change: metadata("version: 0\ntopic_id: " + other + "\n")},
		{name: "topic id file missing", at: is, change: func(s *scene) { s.remove(filepath.Join(s.folder, metadataFile)) }},
	}
	return rows
}

// folderDamages are files that are missing, and files that do not belong there.
func folderDamages() []damage {
	is := []int{nowhere}
	corrupt := &CorruptError{}
	gone := func(s *scene) { s.remove(s.path+dataSuffix, s.path+indexSuffix) }
	rename := func(by record.Offset) func(*scene) {
		return func(s *scene) {
			to := filepath.Join(s.folder, segmentName(s.base+by)+dataSuffix)
			if err := os.Rename(s.path+dataSuffix, to); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return []damage{
		{name: "first segment missing", at: []int{0}, lost: wholeSegment, change: gone},
		{name: "segment missing", at: []int{below, above}, lost: wholeSegment, change: gone},
		{name: "last segment missing", at: []int{hot}, lost: wholeSegment, change: gone, unless: func(v variation) bool { return !v.stopped }},
		// Nothing is left that tells of it: what lies before it was synced up to there, and so it ends there.
		{name: "last segment missing, no checkpoint behind it", at: []int{hot}, change: gone, sound: true,
			end: func(s *scene) record.Offset { return s.base }, unless: func(v variation) bool { return v.stopped }},
		{name: "all segments missing", at: is, lost: func(*scene) []offsets { return []offsets{{0, 120}} },
			unless: func(v variation) bool { return !v.stopped }, change: func(s *scene) {
				removeAll(s.t, s.folder, "*.log")
				removeAll(s.t, s.folder, "*.idx")
			}},
		{name: "segment of a wrong name, higher", refused: corrupt, change: rename(2)},
		{name: "segment of a wrong name, lower", refused: corrupt, change: rename(-2)},
		{name: "copy of a segment under another name", refused: corrupt, change: func(s *scene) {
			data, err := os.ReadFile(s.path + dataSuffix)
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(segmentName(s.base+1)+dataSuffix, data)
		}},
		{name: "overlapping segment", at: []int{above, hot}, refused: corrupt, unless: func(v variation) bool { return v.stopped }, change: func(s *scene) {
			data, err := os.ReadFile(s.path + dataSuffix)
			if err != nil {
				s.t.Fatal(err)
			}
			from := s.batches[2]
			s.write(segmentName(from.base)+dataSuffix, data[from.pos:])
		}},
		{name: "empty data file between others", at: []int{below, above}, change: func(s *scene) {
			s.write(segmentName(s.base+5)+dataSuffix, nil)
		}},
		{name: "stray files", at: is, change: func(s *scene) {
			for _, name := range []string{"notes.txt", "123.log", "00000000000000000abc.log", strings.Repeat("9", 20) + ".log", "x.checkpoint.old"} {
				s.write(name, []byte("stray"))
			}
		}, sound: true},
		{name: "files of Kafka's", at: is, sound: true, change: func(s *scene) {
			for _, name := range []string{"leader-epoch-checkpoint", segmentName(120) + ".snapshot"} {
				s.write(name, []byte("0\n0\n"))
			}
		}},
		{name: "stray directory", at: is, sound: true, change: func(s *scene) {
			if err := os.MkdirAll(filepath.Join(s.folder, "lost+found", "x"), 0o755); err != nil {
				s.t.Fatal(err)
			}
		}},
		{name: "leftover of a replaced file", at: is, sound: true, change: func(s *scene) { s.write("fold.checkpoint.tmp", []byte("half")) }},
	}
}

package coordinator_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"segue/internal/coordinator"
	"segue/partition"
	"segue/storage"
	"segue/storage/record"
	"segue/storage/vfs"
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
		unloaded := make(chan struct{})
		go func() {
			s.r.Unload(0)
			close(unloaded)
		}()
		synctest.Wait()
		select {
		case <-unloaded:
			t.Error("unloaded while its log is being read")
		default:
		}
		close(slow.release)
		<-unloaded
		s.r.Load(0, slow)
		synctest.Wait()
		s.start(look()).saw(1)
		s.close()
	})
}

// written is a folder of a partition as another broker has written it, batch by batch.
type written struct {
	*testing.T
	segment []byte
}

// batch adds a batch at an offset, with whatever is to be different about it.
func (w *written) batch(base record.Offset, change func(*record.Builder), records ...coordinator.Record) {
	w.Helper()
	b := record.NewBuilder(base)
	b.LeaderEpoch = 3
	if change != nil {
		change(b)
	}
	for _, r := range records {
		b.Add(1_700_000_000_000+int64(base), r.Key, r.Value)
	}
	batch, err := b.Build()
	if err != nil {
		w.Fatal(err)
	}
	w.segment = append(w.segment, batch.Bytes()...)
}

func numbers(of ...int64) (records []coordinator.Record) {
	for _, n := range of {
		records = append(records, encode(n, 0))
	}
	return records
}

const writtenData = "/data/__consumer_offsets-0/00000000000000000000.log"

// open puts the folder on a disk and opens it. The test closes what it gets.
func (w *written) open(change ...func(*partition.Config)) (vfs.FS, *partition.Partition) {
	w.Helper()
	disk := vfs.NewCrashable()
	if err := disk.MkdirAll(filepath.Dir(writtenData)); err != nil {
		w.Fatal(err)
	}
	f, err := disk.Create(writtenData)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := f.WriteAt(w.segment, 0); err != nil {
		w.Fatal(err)
	}
	if err := f.Close(); err != nil {
		w.Fatal(err)
	}
	dir, err := storage.OpenDir("/data", storage.Options{FS: disk, Reserve: 64 << 10})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := dir.Close(); err != nil {
			w.Error(err)
		}
	})
	config := testConfig()
	config.Log.SegmentBytes = 1 << 20
	for _, c := range change {
		c(&config)
	}
	p, err := partition.Open(context.Background(), partition.Local(dir), identity(0), 5, config, partition.NewCodecs(1<<20))
	if err != nil {
		w.Fatal(err)
	}
	return disk, p
}

// load loads a shard from a partition and returns the runtime, what it has logged, and the machine.
func load(t *testing.T, p *partition.Partition, changes ...func(*coordinator.Options[command])) (*coordinator.Runtime[command], *bytes.Buffer, *journal) {
	var told bytes.Buffer
	j := &journal{}
	o := coordinator.Options[command]{Log: zerolog.New(&told), ReadBytes: 200, Send: func(int32, any) {}, Machine: func(int32) coordinator.Machine[command] {
		*j = journal{}
		return j
	}}
	for _, c := range changes {
		c(&o)
	}
	r := coordinator.New(o)
	r.Load(0, p)
	synctest.Wait()
	return r, &told, j
}

// TestLoad loads what an Apache Kafka may have left: every codec, gaps and empty batches that compaction makes,
// tombstones, markers, and records of types that are not known here.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &written{T: t}
		w.batch(0, nil, numbers(1, 2, 3)...)
		offset := record.Offset(10) // a gap
		for i, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
			w.batch(offset, func(b *record.Builder) {
				b.Compression, b.Compressor = record.Compression{Codec: codec}, new(record.Compressor)
			}, numbers(int64(10*i+10), int64(10*i+11))...)
			offset += 5
		}
		w.batch(offset, func(b *record.Builder) { b.LastOffset = offset + 9 }) // nothing left in it
		offset += 10
		gone := numbers(2, 11, 77)
		for i := range gone {
			gone[i].Value = nil
		}
		w.batch(offset, func(b *record.Builder) { b.DeleteHorizon = 5 }, gone...)
		offset += 3
		w.batch(offset, nil, encode(50, 300), coordinator.Record{Key: []byte{newerRecord, 1}, Value: []byte("?")}, encode(51, 0))
		offset += 3
		w.batch(offset, func(b *record.Builder) {
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 9, 0, 0, true
		}, numbers(60, 61)...)
		offset += 2
		w.batch(offset, func(b *record.Builder) {
			b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = 9, 0, true, true
		}, coordinator.Record{Key: []byte{0, 0, 0, 1}, Value: make([]byte, 6)})
		offset++
		w.batch(offset, func(b *record.Builder) {
			b.TimestampType, b.MaxTimestamp, b.LastOffset = record.LogAppendTime, 5, offset+20
		}, numbers(70)...)
		_, p := w.open()
		r, told, j := load(t, p)
		if got := mustDo(t, r, 0, add(80)).(view).count; got != 15 {
			t.Errorf("%d numbers", got)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if want := []int64{1, 3, 10, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 80}; !slices.Equal(j.numbers, want) {
			t.Errorf("loaded %d, want %d", j.numbers, want)
		}
		var kept []int64
		for _, key := range j.kept {
			kept = append(kept, int64(binary.BigEndian.Uint64(key[1:])))
		}
		if want := []int64{1, 2, 3, 10, 11, 20, 21, 30, 31, 40, 41, 2, 11, 77, 50, 51, 60, 61, 70}; !slices.Equal(kept, want) {
			t.Errorf("the records that the machine has kept are %d now, want %d", kept, want)
		}
		if o := p.Offsets(); o.LogEnd != offset+22 {
			t.Errorf("%+v, where the log ended at %d", o, offset+21)
		}
		if got := r.Stats(); got.UnknownRecords != 1 || got.TransactionalRecords != 0 || got.LoadedRecords != 19 || got.Loads != 1 {
			t.Errorf("%+v", got)
		}
		if n := strings.Count(told.String(), "warn"); n != 1 {
			t.Errorf("%d warnings: %s", n, told)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestLoadFromLogStart leaves out what is deleted, though it stands in a batch of which a part is not.
func TestLoadFromLogStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &written{T: t}
		w.batch(0, nil, numbers(1, 2, 3, 4)...)
		w.batch(4, nil, numbers(5)...)
		_, p := w.open(func(c *partition.Config) { c.Log.Delete = true })
		if _, err := p.DeleteBefore(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		r, _, j := load(t, p)
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !slices.Equal(j.numbers, []int64{3, 4, 5}) {
			t.Errorf("loaded %d", j.numbers)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestFailedLoad has loads fail for what is in the log. The shard says that it is loading, the log says what is wrong
// and where, and it is tried again; nothing of the log is left out to get on.
func TestFailedLoad(t *testing.T) {
	good := func(w *written) {
		w.batch(0, nil, numbers(1, 2)...)
		w.batch(2, nil, encode(3, 100))
	}
	for _, tt := range []struct {
		name   string
		write  func(*written)
		damage func(*testing.T, vfs.FS)
		change func(*coordinator.Options[command])
		want   string
	}{
		{
			name:  "a record that cannot be decoded",
			write: func(w *written) { good(w); w.batch(7, nil, coordinator.Record{Key: []byte{numberRecord}}) },
			want:  "record at offset 7",
		}, {
			name:   "damage",
			write:  good,
			damage: func(t *testing.T, disk vfs.FS) { flip(t, disk, -20) },
			want:   "checksum mismatch in record batch (base offset 2)",
		}, {
			name: "a batch that unpacks to too much",
			write: func(w *written) {
				good(w)
				w.batch(3, func(b *record.Builder) {
					b.Compression, b.Compressor = record.Compression{Codec: record.Gzip}, new(record.Compressor)
				}, encode(4, 1000))
			},
			change: func(o *coordinator.Options[command]) { o.DecompressLimit = 500 },
			want:   "decompresses to more bytes than allowed (base offset 3",
		}, {
			name:  "a machine that panics",
			write: good,
			change: func(o *coordinator.Options[command]) {
				o.Machine = func(int32) coordinator.Machine[command] {
					return &journal{onLoad: func() error { panic("the machine was told to") }}
				}
			},
			want: "panicked in a replay: the machine was told to",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &written{T: t}
				tt.write(w)
				disk, p := w.open()
				if tt.damage != nil {
					tt.damage(t, disk)
				}
				change := tt.change
				if change == nil {
					change = func(*coordinator.Options[command]) {}
				}
				r, told, _ := load(t, p, change)
				for range 3 {
					if _, err := r.Do(context.Background(), 0, look()); !errors.Is(err, coordinator.ErrLoading) {
						t.Errorf("answered with %v", err)
					}
					time.Sleep(10 * time.Second)
				}
				if got := r.Stats(); got.LoadFailures < 5 || got.Loads != 0 || got.Pausing != 1 {
					t.Errorf("%+v", got)
				}
				var line struct{ Level, Error string }
				if err := json.NewDecoder(told).Decode(&line); err != nil || line.Level != "error" || !strings.Contains(line.Error, tt.want) {
					t.Errorf("logged %+v, %v, should speak of %q", line, err, tt.want)
				}
				if tt.damage != nil { // and mend it
					tt.damage(t, disk)
					time.Sleep(10 * time.Second)
					if got := mustDo(t, r, 0, look()).(view).count; got != 3 {
						t.Errorf("%d numbers after all", got)
					}
				}
				if err := r.Close(context.Background()); err != nil {
					t.Error(err)
				}
				if err := p.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// flip changes a byte of the data, counted from its end, or changes it back.
func flip(t *testing.T, disk vfs.FS, at int64) {
	f, err := disk.OpenFile(writtenData)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], size+at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x20
	if _, err := f.WriteAt(b[:], size+at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLoadedEffects has a machine write something down as soon as it is loaded.
func TestLoadedEffects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(o *coordinator.Options[command]) {
			o.Machine = func(int32) coordinator.Machine[command] { return &eagerJournal{} }
		})
		s.start(look()).saw(1)
		time.Sleep(time.Second)
		s.start(look()).saw(2)
		s.r.Unload(0)
		s.r.Load(0, s.p)
		synctest.Wait()
		s.start(look()).saw(3)
		s.close()
	})
}

// eagerJournal writes down a number when it is loaded, and another a second later.
type eagerJournal struct{ journal }

func (j *eagerJournal) Loaded(now time.Time) coordinator.Effects {
	j.loaded = true
	n := int64(len(j.numbers))
	j.write(n)
	j.due, j.deadline = n+1, now.Add(time.Second)
	return coordinator.Effects{Records: []coordinator.Record{encode(n, 0)}, Deadline: j.deadline}
}

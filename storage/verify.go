package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// Finding is something in a directory of logs that is not as a broker leaves it.
type Finding struct {
	File     string
	Position int64         // of the first byte that it is about; -1 for the file as a whole
	From, To record.Offset // the offsets that it is about, From to To-1; -1 both if it is about none
	Err      error         // what is wrong
	Outcome  string        // what a broker does about it
	// Note says that nothing is damaged: something was left behind, or can be made again.
	Note bool
}

// What a broker does about what is found.
const (
	outcomeKept    = "kept; reads of these offsets fail with CORRUPT_MESSAGE, those of others do not"
	outcomePassed  = "kept; it lies below a checkpoint, so it is sent as it is and clients find it by its checksum"
	outcomeSound   = "kept; the records can be read"
	outcomeCut     = "the next start cuts it off and keeps it in a .cut file: it was never synced, so never acknowledged"
	outcomeAside   = "the next start sets the segments behind it aside as .cut files: they were never synced either"
	outcomeOffline = "the partition stays offline, and nothing in the folder is changed"
	outcomeRebuilt = "it is made again from the data"
	outcomeIgnored = "it is ignored, and replaced by the next one; the start reads more of the log"
	outcomeLeft    = "left alone"
)

// VerifyOptions say what a verification is to look for and whom it tells.
type VerifyOptions struct {
	// Compacted says that compaction may have left gaps between the offsets.
	Compacted bool
	// Records has the records inside each batch walked, decompressed if need be.
	Records bool
	// Report is called with each finding. It must not be nil.
	Report func(Finding)
	// Progress is called with the number of bytes of batches that were read since the last call; it may be nil.
	Progress func(bytes int64)
}

// Verified counts what was looked at.
type Verified struct {
	Segments int
	Batches  int64
	Records  int64 // as the headers of the batches count them
	Bytes    int64 // of data files
	// CutFile and CutAt are where the next start cuts a torn end off; CutFile is empty if it does not.
	CutFile string
	CutAt   int64
}

// VerifyDir looks at what lies in the directory beside the logs' folders.
func (in *Inspection) VerifyDir(report func(Finding)) error {
	entries, err := in.d.fs.ReadDir(in.d.path)
	if err != nil {
		return err
	}
	if in.unsoundRun != nil {
		report(Finding{File: filepath.Join(in.d.path, runFile), Position: -1, From: -1, To: -1, Err: in.unsoundRun,
			Outcome: "it is written again; the next start takes it that the machine was restarted"})
	}
	for _, e := range entries {
		note := Finding{File: filepath.Join(in.d.path, e.Name), Position: -1, From: -1, To: -1, Outcome: outcomeLeft, Note: true}
		switch {
		case e.Dir && folderName.MatchString(e.Name), e.Name == lockFile, e.Name == runFile, e.Name == reserveFolder:
			continue
		case e.Dir && strings.HasSuffix(e.Name, deletedSuffix):
			note.Err, note.Outcome = errors.New("folder of a deleted topic"), "the next start removes it"
		case e.Dir && strings.HasSuffix(e.Name, straySuffix):
			note.Err = errors.New("folder that was set aside, as it belongs to another topic of that name")
		case strings.HasSuffix(e.Name, tempSuffix):
			note.Err = errors.New("left of a file that was being replaced")
		default:
			note.Err = errors.New("not a file of the broker's")
		}
		report(note)
	}
	return nil
}

// VerifyLog looks at all there is in the folder of a log: the topic id, every batch and its checksum, the order of the
// offsets, the indexes, the checkpoints, the log start. Damage is told to options.Report; the error is that of a file
// that cannot be read, or the context's.
func (in *Inspection) VerifyLog(ctx context.Context, id Identity, options VerifyOptions) (Verified, error) {
	v := &verifier{in: in, options: options, folder: filepath.Join(in.d.path, id.Folder()), want: id.TopicID}
	entries, err := in.d.fs.ReadDir(v.folder)
	if err != nil {
		return Verified{}, err
	}
	id.TopicID, err = v.topicID(entries)
	if err != nil {
		return Verified{}, err
	}
	l := newLog(in.d, id, Config{Compact: options.Compacted}, nil, nil)
	v.r = &recovery{l: l, d: in.d}
	if err := v.sideFiles(entries); err != nil {
		return Verified{}, err
	}
	err = v.segments(ctx)
	return v.sum, err
}

// verifier is one verification of one folder.
type verifier struct {
	in      *Inspection
	options VerifyOptions
	folder  string
	want    [16]byte // the topic id that the caller knows; zero if it knows none
	r       *recovery
	sum     Verified
}

func (v *verifier) report(file string, position int64, from, to record.Offset, err error, outcome string, note bool) {
	v.options.Report(Finding{File: file, Position: position, From: from, To: to, Err: err, Outcome: outcome, Note: note})
}

// whole reports on a file as a whole.
func (v *verifier) whole(name string, err error, outcome string) {
	v.report(filepath.Join(v.folder, name), -1, -1, -1, err, outcome, false)
}

func (v *verifier) note(name, what, outcome string) {
	v.report(filepath.Join(v.folder, name), -1, -1, -1, errors.New(what), outcome, true)
}

// tell reports an error that a start would refuse the folder with, or returns it if it is that of a failing disk.
func (v *verifier) tell(name string, err error) error {
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		position := corrupt.Position
		if KindOf(corrupt.File) != DataFile {
			position = -1
		}
		v.report(corrupt.File, position, -1, -1, corrupt.Err, outcomeOffline, false)
	case errors.Is(err, ErrUnsupported):
		v.whole(name, err, outcomeOffline)
	default:
		return err
	}
	return nil
}

// topicID finds out whose folder it is.
func (v *verifier) topicID(entries []vfs.Entry) ([16]byte, error) {
	id, known, err := readMetadata(v.in.d.fs, v.folder)
	unread := err != nil
	if err := v.tell(metadataFile, err); err != nil {
		return id, err
	}
	vouched, err := checkpointTopics(v.in.d.fs, v.folder, entries)
	if err != nil {
		return id, err
	}
	none := [16]byte{}
	files, _ := listSegments(entries, 0)
	switch {
	case unread:
	case !known && len(files) > 0:
		v.whole(metadataFile, errors.New("the topic id is missing"), "it is written again for the topic that has the folder's name")
	case known && len(vouched) > 0 && !slices.Contains(vouched, id):
		v.whole(metadataFile, fmt.Errorf("it names topic id %s, the checkpoint %s", formatID(id), formatID(vouched[0])), outcomeOffline)
	case known && v.want != none && id != v.want:
		v.whole(metadataFile, fmt.Errorf("it names topic id %s, and the topic of that name has %s", formatID(id), formatID(v.want)),
			"the folder is set aside")
	}
	switch {
	case v.want != none:
		return v.want, nil
	case !known && len(vouched) > 0:
		return vouched[0], nil
	}
	return id, nil
}

// sideFiles reads everything in the folder that is not a batch.
func (v *verifier) sideFiles(entries []vfs.Entry) (err error) {
	r, fsys := v.r, v.in.d.fs
	if r.start, err = readStart(fsys, v.folder); err != nil {
		if err := v.tell(startFile, err); err != nil {
			return err
		}
	}
	r.files, r.empty = listSegments(entries, r.start)
	for _, f := range r.empty {
		v.whole(segmentName(f.base)+dataSuffix, errors.New("data file is empty and not the last"), "it is passed over")
	}
	for _, file := range r.files { // each for itself, to tell of them all
		if err := v.tell("", checkNames(v.in.d, v.folder, []segmentFile{file}, entries, v.options.Compacted)); err != nil {
			return err
		}
	}
	for _, base := range orphans(entries, r.files) {
		if base < r.start || holdBase(r.empty, base) {
			v.note(segmentName(base)+indexSuffix, "index without its data, which was deleted", outcomeLeft)
		} else {
			v.whole(segmentName(base)+indexSuffix, errors.New("its data file is not there"), outcomeLeft)
		}
	}
	for _, e := range entries {
		if err := v.sideFile(e); err != nil {
			return err
		}
	}
	if err := r.readCheckpoints(entries); err != nil {
		return err
	}
	return r.readOrphans(entries)
}

func (v *verifier) sideFile(e vfs.Entry) error {
	_, isSegment := parseSegmentName(strings.TrimSuffix(strings.TrimSuffix(e.Name, indexSuffix), dataSuffix) + dataSuffix)
	_, _, isSwap := parseSwap(e.Name)
	switch {
	case e.Dir:
		v.note(e.Name, "a directory", outcomeLeft)
	case isSegment, e.Name == metadataFile, e.Name == startFile, isKafkas(e.Name):
	case strings.HasSuffix(e.Name, checkpointSuffix):
		_, _, err := readCheckpoint(v.in.d.fs, filepath.Join(v.folder, e.Name), v.r.l.id.TopicID)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		v.whole(e.Name, err, outcomeIgnored)
	case isSwap:
		v.note(e.Name, "compaction has written it to take the place of others", "the next start puts it in their place")
	case strings.HasSuffix(e.Name, tempSuffix):
		v.note(e.Name, "left of a file that was being replaced", "the next start removes it")
	case strings.Contains(e.Name, cutSuffix):
		v.note(e.Name, "what a start has cut off or set aside", outcomeLeft)
	default:
		v.note(e.Name, "not a file of the broker's", outcomeLeft)
	}
	return nil
}

// isKafkas says whether a file is one of those that Kafka keeps in the folder of a partition.
func isKafkas(name string) bool {
	switch filepath.Ext(name) {
	case kafkaIndexSuffix, ".timeindex", ".txnindex", ".snapshot":
		return true
	}
	return name == "leader-epoch-checkpoint"
}

package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"segue/storage/record"
	"segue/storage/vfs"
)

// This file holds what recovery reads of a folder before it looks at any batch.

// look reads the folder, whose entries it returns, and everything in it that is not a segment; nil says that there is no
// log. It changes nothing before it has found that the folder can be opened.
func (r *recovery) look(ctx context.Context) (entries []vfs.Entry, err error) {
	folder, fsys := r.l.folder, r.d.fs
	entries, err = fsys.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := refuseUnfinished(folder, entries); err != nil {
		return nil, err
	}
	if hasEntry(entries, startFile) {
		if r.start, err = readStart(fsys, folder); err != nil {
			return nil, err
		}
	}
	if found, err := r.identify(entries); !found || err != nil {
		return nil, err
	}
	if r.start > 0 && r.unproven {
		// The last run may not have come to make it durable, and it must not go back once it was shown.
		if err := fsys.SyncDir(folder); err != nil {
			return nil, err
		}
	}
	if entries, err = r.finishSwaps(ctx, entries); err != nil {
		return nil, err
	}
	r.files, r.empty = listSegments(entries, r.start)
	for _, f := range r.empty {
		r.d.log.Warn().Str("segment", filepath.Join(folder, segmentName(f.base)+dataSuffix)).
			Msg("data file between others is empty; it is passed over")
	}
	if err := checkNames(r.d, folder, r.files, entries, r.l.cfg.Load().Compact); err != nil {
		return nil, err
	}
	if err := r.removeTemps(entries); err != nil {
		return nil, err
	}
	r.dropBelowStart()
	if err := r.readCheckpoints(entries); err != nil {
		return nil, err
	}
	return entries, r.readOrphans(entries)
}

// identify finds out whose folder it is. One of another topic loses its name, and one that says nothing becomes this
// log's.
func (r *recovery) identify(entries []vfs.Entry) (ours bool, err error) {
	folder, fsys, want := r.l.folder, r.d.fs, r.l.id.TopicID
	id, known, err := readMetadata(fsys, folder)
	if err != nil || known && id == want {
		return err == nil, err
	}
	vouched, err := checkpointTopics(fsys, folder, entries)
	if err != nil {
		return false, err
	}
	switch {
	case known && (want == [16]byte{} || slices.Contains(vouched, want)):
		// No topic takes the catalog's name, and the metadata has no checksum where a checkpoint has one.
		path := filepath.Join(folder, metadataFile)
		return false, &CorruptError{File: path, Err: fmt.Errorf(
			"it names topic id %s, and all else is of %s; remove the file, and it is written again", formatID(id), formatID(want))}
	case known:
		return false, r.d.setAside(r.l.id.Folder(), id)
	case len(vouched) > 0 && !slices.Contains(vouched, want):
		return false, r.d.setAside(r.l.id.Folder(), vouched[0])
	}
	if files, _ := listSegments(entries, r.start); len(files) == 0 && r.start == 0 {
		// What is left of a first append that did not come through, for want of room say. The next one makes it whole.
		return false, nil
	}
	// Nothing was acknowledged in here before the id was durable, or Kafka before 2.8 wrote it.
	if err := r.d.reserve.with(forRoom, func() error { return writeMetadata(fsys, folder, r.l.id) }); err != nil {
		return false, err
	}
	return true, fsys.SyncDir(folder)
}

// refuseUnfinished refuses a folder in which a Kafka was killed amid an exchange of segments: some of the data lies in a file
// that has not got its name yet, and how Kafka goes on from there is Kafka's to know.
func refuseUnfinished(folder string, entries []vfs.Entry) error {
	for _, e := range entries {
		if data, ok := strings.CutSuffix(e.Name, swapSuffix); ok && !e.Dir {
			if _, ok := parseSegmentName(data); ok {
				return fmt.Errorf("%s was left by a Kafka that was killed: %w: start that Kafka once more, stop it, and take the folder then",
					filepath.Join(folder, e.Name), ErrUnsupported)
			}
		}
	}
	return nil
}

// removeTemps removes what a crash left of files that were being replaced.
func (r *recovery) removeTemps(entries []vfs.Entry) error {
	for _, e := range entries {
		if !e.Dir && strings.HasSuffix(e.Name, tempSuffix) {
			if err := removeIfThere(r.d.fs, filepath.Join(r.l.folder, e.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropBelowStart finishes what the last run did not come to: segments that lie wholly below the log start, which is
// durable, are removed. Where the log start lies above the last segment's beginning too, segments may be missing, and
// nothing is removed before it is known where the log ends.
func (r *recovery) dropBelowStart() {
	if len(r.files) == 0 || r.files[len(r.files)-1].base < r.start {
		return
	}
	for len(r.files) > 1 && r.files[1].base <= r.start {
		r.remove(r.files[0].base)
		r.files = r.files[1:]
	}
}

// remove removes a segment's files. What cannot be removed stays for the next open.
func (r *recovery) remove(base record.Offset) {
	path := filepath.Join(r.l.folder, segmentName(base))
	if err := errors.Join(removeIfThere(r.d.fs, path+dataSuffix), removeIfThere(r.d.fs, path+indexSuffix)); err != nil {
		r.d.log.Warn().Err(err).Msg("not removed")
	}
}

// readCheckpoints reads all checkpoints, and picks the newest one whose place is there.
func (r *recovery) readCheckpoints(entries []vfs.Entry) error {
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, checkpointSuffix) {
			continue
		}
		p, state, err := readCheckpoint(r.d.fs, filepath.Join(r.l.folder, e.Name), r.l.id.TopicID)
		if errors.Is(err, ErrNotFound) {
			r.d.log.Warn().Err(err).Msg("checkpoint ignored")
			continue
		}
		if err != nil {
			return err
		}
		r.proofs = append(r.proofs, proof{p.base, p.at})
		if len(state) <= maxFoundState {
			r.result.found = foundState{strings.TrimSuffix(e.Name, checkpointSuffix), p.at, state}
		}
		if e.Name == cleanedCheckpoint+checkpointSuffix {
			r.result.cleaned.decode(p.at, state)
		}
		for i := range r.files {
			f := &r.files[i]
			if f.base != p.base {
				continue
			}
			if f.noteProof(p.position, p.at); f.size >= p.position && (r.point == nil || p.at > r.point.at) {
				r.point = &p
			}
		}
	}
	return nil
}

// readOrphans reads what indexes note whose data files are not there.
func (r *recovery) readOrphans(entries []vfs.Entry) error {
	for _, base := range orphans(entries, r.files) {
		x := newIndex(r.d.fs, r.d.handles, filepath.Join(r.l.folder, segmentName(base)+indexSuffix), base, 0)
		st, err := x.load(0)
		if err := errors.Join(readable(err), x.mapped.drop()); err != nil {
			return err
		}
		if st.synced > 0 {
			r.proofs = append(r.proofs, proof{base, st.syncedTo})
		}
	}
	return nil
}

// told returns the offset up to which the log was synced once, as far as there is proof; 0 if there is none.
func (r *recovery) told() (at record.Offset) {
	for _, p := range r.proofs {
		at = max(at, p.at)
	}
	return at
}

// findBeginning settles where the log starts. Records are deleted by the log start offset, and only where Kafka wrote the
// first segment, which keeps that elsewhere, by the segments that there are.
func (r *recovery) findBeginning(told record.Offset) {
	first := told
	if len(r.files) > 0 {
		first = r.files[0].base
	}
	switch {
	case first <= r.start:
	case len(r.files) > 0 && isForeign(r.d.fs, r.result.segments[0].path):
		r.result.start = first
	default:
		r.result.lost = first
		r.d.counters.damage.Add(1)
		r.d.log.Error().Str("folder", r.l.folder).Int64("from_offset", int64(r.start)).Int64("to_offset", int64(first)).
			Msg("the first segments are missing: these offsets cannot be read")
	}
}

// settleStart removes what lies below the log start, now that the end is known too. If the log start lies above all that
// was found, either it is not this log's, or the segments that it speaks of are missing: then everything is set aside,
// and the log goes on at its start.
func (r *recovery) settleStart() error {
	res := &r.result
	if len(res.segments) == 0 {
		return nil
	}
	if res.reached >= r.start {
		for len(res.segments) > 1 && res.segments[1].base <= r.start {
			res.segments[0].release()
			r.remove(res.segments[0].base)
			res.segments = res.segments[1:]
		}
		return nil
	}
	for _, s := range res.segments {
		s.release()
	}
	n := len(res.segments)
	res.segments, res.hot, res.lost, res.checkpointed = nil, nil, 0, 0
	return r.setAside(r.files[:n], fmt.Sprintf("the log start offset is %d, above the end of the log; the segment is set aside", r.start))
}

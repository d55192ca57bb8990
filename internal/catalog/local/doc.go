// Package local keeps the catalog in a log on this broker's own disk.
//
// Each commit is one record batch, whose records are its changes (record.go draws them), so that a crash leaves it
// whole or not at all. After enough changes the whole image is appended as one batch, a snapshot, and what lies
// before is dropped: the facts live in the log and nowhere else. Open replays what is there.
//
// A Store has one goroutine, its owner, through which all commits go: it applies the changes to the newest image
// that was appended (the tip), appends them, and goes on with the next commit; when the log says that it has
// committed them, the owner publishes the image, calls the watchers, and answers. So commits that come together
// share the log's sync, and whatever is answered, errors and conflicts included, rests on what is committed.
//
// Invariants: images are published in order, each after its batch was committed. The tip is what a replay of the
// log would give. A batch that could not be appended leaves tip and image as they were; once the log has failed, or
// has moved without the Store, nothing is appended any more.
package local

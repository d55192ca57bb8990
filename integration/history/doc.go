// Package history records what clients of a log did and were told, and finds in it what no sound log can have done.
//
// It knows nothing of the broker. A test gives each of its clients a Client of one Recorder; the clients note every
// operation with the time at which it began and ended and with what came of it: it happened (OK), it certainly did not
// (Failed), or nobody knows (Unknown), as with a send whose answer a kill has swallowed. What was done to the broker is
// noted too. In the end Check goes over the whole History.
//
// The rules are those by which Jepsen judges logs of Kafka's kind (jepsen.tests.kafka), and some more that a single broker
// must keep. Values are unique over the whole history, so that each record that is read leads
// to the one send that it came from. From all acknowledgements and all polls comes the order of versions: which value is
// at which offset of a partition. Against it, and against the clock, each operation is held; Findings are typed, and
// each names the operations that contradict one another.
//
// What is legal is not reported: records below a log start that somebody was told of may be gone; a client that is not
// idempotent may leave a record twice, but only if something happened to the broker while it was sending it; one that
// wants no acknowledgement may lose all; a consumer may jump where it seeks. Offsets are dense: nothing compacts. Only where
// transactions write, control records take offsets of their own.
//
// Operations name the transaction that they are in. It is committed if a commit succeeded, or if one may have and a record
// of it was read by who wants what is committed: then all its records have to be there. It is not if no commit began, or
// all failed. Records of other writers between those of a transaction are legal, and so are transactions whose writes are in
// a circle (G0), for Kafka keeps transactions apart only for who reads what is committed: a circle of reads alone is not.
// After an abort a consumer is where it puts itself (Seek).
package history

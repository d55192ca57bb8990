// Package history records what clients of a log did and were told, and finds in it what no sound log can have done.
//
// It knows nothing of the broker. A test gives each of its clients a Client of one Recorder; the clients note every
// operation with the time at which it began and ended and with what came of it: it happened (OK), it certainly did not
// (Failed), or nobody knows (Unknown), as with a send whose answer a kill has swallowed. What was done to the broker is
// noted too. In the end Check goes over the whole History.
//
// The rules are those by which Jepsen judges logs of Kafka's kind (jepsen.tests.kafka), without transactions, and some
// more that a single broker must keep. Values are unique over the whole history, so that each record that is read leads
// to the one send that it came from. From all acknowledgements and all polls comes the order of versions: which value is
// at which offset of a partition. Against it, and against the clock, each operation is held; Findings are typed, and
// each names the operations that contradict one another.
//
// What is legal is not reported: records below a log start that somebody was told of may be gone; a client that is not
// idempotent may leave a record twice, but only if something happened to the broker while it was sending it; one that
// wants no acknowledgement may lose all; a consumer may jump where it seeks. Offsets are dense: nothing compacts, and
// nobody writes transactions.
package history

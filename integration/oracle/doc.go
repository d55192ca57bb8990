// Package oracle holds Segue's answers against those of an Apache Kafka.
//
// A scenario is a conversation with a fresh broker about one subject; its cases are held once in each version of an API
// that Kafka serves. `make oracle` fetches the newest Kafka, holds all conversations with it, and writes its answers to
// testdata, a file for each scenario. The ordinary tests hold them with Segue and compare the answers field by field: they
// need no Java.
//
// What cannot be the same is given a name of its own before answers are written or compared: ids that are drawn, addresses,
// the present time, topics that cases make. Of texts that are written for people it counts that they are there. The order
// of arrays of structures does not count, since Kafka's is often that of a hash table.
//
// Where a case needs an answer only to see what has come of something, it shows it in short: a line for a batch, a transaction,
// an offset. What else such an answer holds is another case's subject. Kafka ends transactions in the background and answers
// CONCURRENT_TRANSACTIONS meanwhile; such answers are not shown, and the case asks again.
//
// A difference is a bug, or has a line in testdata/known.txt that says why Segue is right to differ; a line there that
// nothing needs any more is an error too.
//
// The files: scenario_test.go says what a scenario is; client_test.go is what the cases talk with, batch_test.go makes
// and reads record batches; tree_test.go and names_test.go turn answers into what is compared, transcript_test.go is its
// form on the disk, and compare_test.go finds differences; subject_test.go starts and restarts the two brokers, and oracle_test.go is
// the test. groups_test.go is what the scenarios of groups share, and transactions_test.go those of transactions. The other
// files are the scenarios, by subject.
package oracle

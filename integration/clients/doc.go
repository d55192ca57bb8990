// Package clients runs the clients of many makes, unmodified, against the built binary, and prints a table of what goes:
// client by scenario. docs/compatibility.md is written from it.
//
//	go test -count=1 -tags integration -v ./integration/clients
//
// Each client has a folder here, a project of its own in its own language with its lock file, and in it a driver: a
// program that does what a user of the library would write, with the library's default settings wherever that goes. It
// is run as
//
//	<command> <bootstrap> <verb> [name=value …]
//
// writes lines of JSON to its standard output and nothing else, and ends with 0; with 1 and a reason on its standard error
// if something goes wrong; with 3 if the library has no such thing. The verbs:
//
//	version                              {"client":"sarama","version":"v1.61.1"}, as the library tells it
//	produce topic= codec= count= size=   records 0 to count-1 in batches, with acks=all: key k<i>, value v<i> padded with
//	                                     dots to size bytes, header n=<i>; with max= they are larger than the default allows
//	consume topic= count=                that many records of all partitions from their beginning, without a group, a
//	                                     line each: {"partition":0,"offset":0,"timestamp":0,"key":"","value":"","headers":{}}
//	group topic= group=                  a member, from the earliest record, which writes such lines and commits until its
//	                                     standard input ends; then it commits, leaves and ends. A restart does not end it.
//	seek topic= timestamp=               the first record at or after the time (ms) of each partition, a line each
//	create topic= partitions= [config=value …]
//	describe topic=                      {"partitions":2,"configs":{"retention.ms":"3600000"}}
//	alter topic= config=value            leaves other configs as they are where the library can
//	grow topic= partitions=
//	delete topic=
//	steady topic=                        values s<i>, each after the last was acknowledged, at most 200 a second, and a line
//	                                     {"partition":0,"offset":5,"value":"s5"} for each that was, until its standard
//	                                     input ends. A restart does not end it: what fails is tried again.
//
// Some drivers, of libraries that stand for others, have verbs of transactions besides:
//
//	transact topic= id=                  transactions under that transactional id, one after the other: the records t<i>.0 to
//	                                     t<i>.2 in transaction i, of which every third is aborted once they are acknowledged; and
//	                                     a line for each that has ended, {"value":"c<i>"} if it was committed, "a<i>" if it was
//	                                     aborted; until its standard input ends. A restart does not end it: a transaction that
//	                                     fails is aborted without a line.
//	committed topic= count=              consume, of what is committed only (isolation.level=read_committed)
//	transform topic= to= group= id=      a member of the group makes each record's value v into =v in another topic, from the
//	                                     earliest record, in transactions with its offsets in them, until its standard input
//	                                     ends. A restart does not end it, and each record is made into one.
//
// The judge is this package: it makes topics and data with franz-go, runs verbs, and looks at what came of them with
// franz-go and at batches off the wire. Beside what is told above, in clients_test.go each client has what it needs on the
// machine, what installs it, what it promises, and what it is known not to have, which the table shows as a dash. TestLies
// proves the judge, by drivers that lie.
//
// Kafka Streams has no driver either: TestStreams runs a word count of its own, exactly once, and kills it and the broker.
//
// The command-line tools of Apache Kafka (kafka-topics and so on) have no drivers: TestTools runs them, and reads what they
// print. SEGUE_CLIENTS names them kafka-tools; they need Java and Maven.
//
// Without settings, those clients run that every change is tested with. Environment variables change that:
//
//	SEGUE_CLIENTS=all       all clients run; or those that are named, separated by commas
//	SEGUE_CLIENTS_STRICT=1  a client fails whose programs are missing, or whose libraries cannot be brought here; otherwise
//	                        it is skipped, with the reason under the table. A driver that does not compile always fails.
//	SEGUE_CLIENTS_BROKER=kafka  they run against an Apache Kafka: what fails there too is no fault of Segue's
//	SEGUE_CLIENTS_TABLE=f   the table replaces the one in this file, docs/compatibility.md; or it makes the file
package clients

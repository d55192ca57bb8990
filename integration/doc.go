// Package integration holds the tests that see the broker as its users do: they build the binary, run it as a process
// of its own with its data in a temporary directory, and talk to it with franz-go, with kcat and with requests made by
// hand. They look into its segment files, and kill it.
//
// They stand behind the build tag integration, because they take minutes and start processes:
//
//	go test -tags integration ./integration/...
//
// What needs kcat is skipped where there is none, and what needs modules of other clients where they cannot be had; so is
// what needs strace, and what needs root, to mount small disks of its own (tmpfs, ext4, and XFS and btrfs where their mkfs is
// installed). Environment variables change what is done:
//
//	SEGUE_RACE=1            the broker is built with the race detector; a race that it reports fails the test
//	SEGUE_MAIN_JOB_MIB=n    how many MiB of real files TestMainJob takes through the broker, 64 by default
//	SEGUE_TOPICS=n          how many topics TestManyTopics makes, 1000 by default
//	SEGUE_LONG=1            what can go on for long does: 200 kills, half an hour of transactions in each version, minutes of
//	                        overload, 50 power cuts on each file system; give -timeout 120m
//	SEGUE_SEED=n            what is chosen at random is chosen as in the run that logged this number
//
// The files: suite_test.go builds the binary; broker_test.go, process_*_test.go and journal_test.go run it and read its
// log; wire_test.go, franz_test.go and kcat_test.go are the clients; disk_test.go looks at what is on the disk;
// realfiles_test.go knows what must be there in the end. chaos_clients_test.go and chaos_readers_test.go are clients that
// go on whatever happens, and keep a history, which package history checks; chaos_faults_test.go is what happens to the
// broker. txn_mill_test.go is such clients with transactions, txn_hand_test.go a transactional producer that is played by hand. strace_*_test.go hold a transcript of the broker's system calls against its answers; planted_test.go builds
// brokers with a bug planted; realdisk_linux_test.go has disks that can be filled, broken, and cut from power. The other
// files are tests, by subject.
//
// Every broker that a test starts is stopped by SIGTERM at the test's end, if the test has not ended it, and must exit
// with 0 and have logged no error, no panic and no data race. No test sleeps; each waits for a condition, within a bound.
package integration

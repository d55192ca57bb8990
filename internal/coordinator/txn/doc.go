// Package txn is the coordinator of transactions: a pure machine by the rules of Apache Kafka 4's TransactionCoordinator and
// TransactionMetadata, in both protocols (KIP-98, and KIP-890's version 2), and the Coordinator that runs it over
// __transaction_state and has markers written.
//
// # A transactional id's life
//
//	Empty ──partitions added──▶ Ongoing ──EndTxn──────────────▶ PrepareCommit ──markers are in──▶ CompleteCommit
//	  ▲                           ▲ └──EndTxn, timeout, fence──▶ PrepareAbort ───markers are in──▶ CompleteAbort
//	  │                           └──────────────────────partitions added──────────────────────────────┤
//	  └───────────────────────────────────────InitProducerId───────────────────────────────────────────┘
//
// A decision is made when the record of a Prepare state is committed, and nothing takes it back: the client is told, and the
// machine sends an Ending, for which the Coordinator has a marker written into every partition of the transaction and then
// commands Complete. A machine that has replayed the log sends the Endings of all transactions that are prepared again;
// markers may be repeated.
//
// Each end of a transaction of version 2 raises the producer's epoch, so no request of an earlier transaction, however late,
// is taken for one of a later. Under version 0 and 1 the epoch is the producer's for as long as it lives, and a delayed
// EndTxn can end the next transaction (KAFKA-17754).
//
// # Waiting
//
// What cannot be answered while a transaction ends waits in the machine for that, a moment and in bounded number, before it is
// told CONCURRENT_TRANSACTIONS: clients would try again after a pause that is longer than what is left to do.
package txn

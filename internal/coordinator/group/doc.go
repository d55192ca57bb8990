// Package group is the coordinator of consumer groups as a pure machine: the classic group protocol (JoinGroup,
// SyncGroup, Heartbeat, LeaveGroup) and committed offsets, by the rules of Apache Kafka 4's GroupMetadataManager,
// ClassicGroup and OffsetMetadataManager. It knows no goroutine, clock, lock or I/O: it is told what time it is and what
// is asked, and says what to write, whom to answer and when to wake it.
//
// # A group's life
//
//	Empty ──a member joins──▶ PreparingRebalance ──all have joined, or time is up──▶ CompletingRebalance
//	  ▲                         │   ▲       ▲                                            │        │
//	  └──────none is left───────┘   │       └──a join, a leave, a member lost────────────┘        │
//	                                └────────────a join, a leave, a member lost──── Stable ◀──────┘
//	                                                                                 the leader's assignment
//
// JoinGroup requests wait while a rebalance is prepared, SyncGroup requests of followers while it is completed.
//
// # What is durable
//
// Committed offsets; and of each group what it was when it last became Stable or Empty: generation, protocol, leader,
// and the members with their timeouts, subscriptions under the chosen protocol, and assignments. All else dies with the
// machine: sessions, rebalances under way, member ids that were handed out but not used yet, waiting requests, and the
// protocols that members offered but that were not chosen. A machine that has replayed the log goes on from the last
// Stable or Empty; clients notice by the generation and join again. A group that commits have made (it has no members
// and never had any) is durable by its offsets alone.
//
// # Transactions
//
// Offsets that a producer commits in a transaction (TxnOffsetCommit) are pending until its marker is in the log (Decide).
// Meanwhile who asks for stable offsets is told to wait. Of all that is committed for a partition, in transactions or not, that
// counts which was written last, in whatever order it was decided: compaction keeps no other. Whatever deletes an offset
// deletes what is pending for its partition; expiry does neither.
//
// # Bytes
//
// Byte slices and strings inside the machine are never written to after they are stored, so replies share them.
// What comes in with a request is copied, because it is a piece of the request's frame.
package group

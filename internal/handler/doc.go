// Package handler answers the Kafka APIs: one file for each, named for it, and apis.go with the list.
//
// # Types
//
// Deps is what the handlers need, all of it together; APIs spreads it and returns the rows that package server
// serves. No handler sees Deps: each one is a small struct that holds the interfaces it declares. topicCreator is
// shared by CreateTopics and Metadata, which creates topics on first use, and FindCoordinator, which creates the topic of
// groups. groupCommands is shared by the APIs of groups: what concerns partitions is judged here, by the catalog, and what
// concerns members and offsets by the group's machine, which one command asks about one group. Fetch has a package of
// its own below this one.
//
// # Invariants
//
//   - What a request is answered with is what Apache Kafka 4.4 answers (KafkaApis, ControllerApis, ReplicaManager,
//     ReplicationControlManager): codes, fields, order of checks. Where it differs, a comment says so and why.
//   - Node ids, addresses, leaders and epochs come from placement, topics from the catalog's image, defaults from
//     package config. A request reads the image once and sees one version of it throughout.
//   - A connection's context ends waits and nothing else. Appends, commits, and commands of groups that change something
//     run under the broker's context, but for those that wait for other members.
//   - A failure of one topic or partition is a code in its part of the answer. A handler returns an error only to
//     have the connection closed.
//   - All handlers are safe for concurrent use. The goroutines that a request has (forEach) end before it is answered.
package handler

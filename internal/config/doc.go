// Package config knows every configuration name that the broker knows: Kafka's topic and broker configs and a few of
// its own, each with type, default, allowed values and a line of documentation.
//
// It has four parts. Definition and Table say what there is (Topic, Broker). Value and Rule say how text becomes a
// value, by the rules of Kafka's ConfigDef, with errors that say what is allowed. ReadProperties, ReadEnvironment,
// ReadOverrides and New turn a properties file, KAFKA_* variables and --override flags into *Layers: what was set at
// the start, below what was altered while running, above the defaults. *Layers answer what holds: typed settings for
// the broker (Broker, Listeners) and for a topic (Topic), and the entries with their chain of synonyms that
// DescribeConfigs shows (KIP-226).
//
// Kafka 4.4 is the authority on names, types and defaults; what differs on purpose stands in differences.go and
// nowhere else, and values that Kafka takes and this broker refuses stand in unsupported.go.
//
// Invariants: *Layers are immutable, and every static value in it has passed its rule. Values that were altered
// while running come from the catalog; one that no longer passes its rule (a later version may be stricter) is
// passed over as if it were not set, so that resolving never fails. The tables are built once and never change.
package config

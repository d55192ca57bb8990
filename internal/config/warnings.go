package config

import "fmt"

// WarningKind says what a Warning is about.
type WarningKind int8

// The kinds of warnings.
const (
	UnknownName WarningKind = iota // the name means nothing here; a near known one is named
	NoEffect                       // the name is known, and changes nothing on this broker
	Removed                        // the name was Kafka's once
)

// Warning is something that a user should be told about a setting which is not an error.
type Warning struct {
	Kind WarningKind
	Name string
	Text string // a whole sentence, with the place of the setting
}

func warnings(static, places map[string]string) (found []Warning) {
	for _, name := range sortedKeys(static) {
		d, known := lookupBroker(name)
		add := func(kind WarningKind, format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			found = append(found, Warning{Kind: kind, Name: name, Text: places[name] + ": " + text})
		}
		switch {
		case known && d.Inert:
			add(NoEffect, "%s is accepted and has no effect on this broker", name)
		case known:
		case removedNames()[name] != "":
			add(Removed, "%s was removed from Apache Kafka and is ignored: %s", name, removedNames()[name])
		default:
			unknown := &UnknownNameError{Name: name, Nearest: nearestBroker(name)}
			add(UnknownName, "%v", unknown)
		}
	}
	return found
}

// removedNames are configs of earlier versions of Kafka that are still found in files, and what became of them.
func removedNames() map[string]string {
	const zookeeper = "there is no ZooKeeper any more"
	const format = "the format is always the newest"
	return map[string]string{
		"zookeeper.connect":                       zookeeper,
		"zookeeper.connection.timeout.ms":         zookeeper,
		"zookeeper.session.timeout.ms":            zookeeper,
		"zookeeper.set.acl":                       zookeeper,
		"zookeeper.max.in.flight.requests":        zookeeper,
		"broker.id.generation.enable":             zookeeper,
		"reserved.broker.max.id":                  zookeeper,
		"control.plane.listener.name":             "controllers have listeners of their own, see controller.listener.names",
		"inter.broker.protocol.version":           format,
		"log.message.format.version":              format,
		"log.message.downconversion.enable":       "old message formats are not served",
		"log.message.timestamp.difference.max.ms": "use log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
		"offsets.commit.required.acks":            "commits always wait for all replicas",
		"delegation.token.master.key":             "use delegation.token.secret.key",
		"auto.include.jmx.reporter":               "use metric.reporters",
		"advertised.host.name":                    "use advertised.listeners",
		"advertised.port":                         "use advertised.listeners",
		"host.name":                               "use listeners",
		"port":                                    "use listeners",
	}
}

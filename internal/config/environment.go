package config

import (
	"slices"
	"strings"
)

// ReadEnvironment takes the settings out of environment variables ("KEY=value", as os.Environ has them), by the rules
// of the apache/kafka image: KAFKA_ goes, the rest is put in small letters, and in it ___ becomes -, __ becomes _ and
// _ becomes a dot. Variables that the image keeps for the JVM and its scripts are passed over, and so are those that
// Kubernetes sets for services. The image also listens where KAFKA_ADVERTISED_LISTENERS points when nothing else says
// where to listen; that setting is weak here, so that one in a file wins.
func ReadEnvironment(environ []string) []Setting {
	var settings []Setting
	for _, variable := range environ {
		key, value, ok := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(key, "KAFKA_")
		if !ok || !ours || rest == "" || notForBroker(rest) || rest == "LISTENERS" && javaTrim(value) == "" {
			continue // the image takes an empty KAFKA_LISTENERS for one that is not set
		}
		name := strings.ToLower(rest)
		for _, pair := range [...][2]string{{"_", "."}, {"...", "-"}, {"..", "_"}} {
			name = strings.ReplaceAll(name, pair[0], pair[1])
		}
		settings = append(settings, Setting{Name: name, Value: value, Place: key})
		if name == "advertised.listeners" && javaTrim(value) != "" {
			settings = append(settings, Setting{Name: "listeners", Value: everyInterface(value), Place: key, Weak: true})
		}
	}
	slices.SortStableFunc(settings, func(a, b Setting) int { return strings.Compare(a.Place, b.Place) })
	return settings
}

// everyInterface takes the hosts out of a list of listeners.
func everyInterface(listeners string) string {
	entries := splitList(javaTrim(listeners))
	for i, entry := range entries {
		name, address, ok := strings.Cut(entry, "://")
		if colon := strings.LastIndexByte(address, ':'); ok && colon >= 0 {
			entries[i] = name + "://" + address[colon:]
		}
	}
	return strings.Join(entries, ",")
}

// notForBroker reports whether a variable is not a setting; name lacks KAFKA_.
func notForBroker(name string) bool {
	switch name {
	case "VERSION", "HOME", "DEBUG", "HEAP_OPTS", "OPTS", "JMX_OPTS", "JMX_PORT", "JMX_HOSTNAME", "JVM_PERFORMANCE_OPTS",
		"GC_LOG_OPTS", "GC_LOG_ENABLED", "CLASSPATH", "TOOLS_LOG4J_LOGLEVEL",
		"PORT", "SERVICE_HOST", "SERVICE_PORT":
		return true
	}
	// PORT_9092_TCP_ADDR and the like come from Kubernetes and Docker for a service that is called kafka, or kafka-
	// something; no config of Kafka's is spelled like them.
	return strings.HasPrefix(name, "LOG4J_") || strings.HasSuffix(name, "_SERVICE_HOST") ||
		strings.Contains(name, "SERVICE_PORT") || strings.HasPrefix(name, "PORT_") ||
		strings.Contains(name, "_PORT_") && (strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP"))
}

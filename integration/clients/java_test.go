//go:build integration && unix

package clients

// javaClients are Apache Kafka's own, of three releases: one of 2021, the last one of 3.x, and
// the newest.
func javaClients() []*client {
	var list []*client
	for _, release := range []string{"2.8", "3.9", "4"} {
		made := "target/" + release
		list = append(list, &client{
			name:    "java-" + release,
			folder:  "java",
			needs:   []string{"java", "mvn"},
			install: [][]string{{"mvn", "-q", "-B", "-P", release, "process-classes"}},
			command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
				"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", made + "/classes:" + made + "/lib/*", "Driver"},
			always: release == "4",
		})
	}
	return list
}

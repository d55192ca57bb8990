//go:build integration && unix

package clients

// javaClients are Apache Kafka's own, of three releases: one of 2021, the last one of 3.x, and
// the newest.
func javaClients() []*client {
	var list []*client
	for _, of := range []struct{ release, own string }{{"2.8", "upto-3.0"}, {"3.9", "since-3.1"}, {"4", "since-3.1"}} {
		classes, libraries := "target/"+of.release+"/classes", "target/"+of.release+"/lib/*"
		list = append(list, &client{
			name:    "java-" + of.release,
			folder:  "java",
			needs:   []string{"java", "javac", "mvn"},
			install: [][]string{{"mvn", "-q", "-B", "-P", of.release, "dependency:copy-dependencies"}},
			compile: [][]string{{"javac", "-Xlint:all", "-Werror", "--release", "17", "-encoding", "UTF-8", "-d", classes, "-cp", libraries,
				"src/shared/Driver.java", "src/" + of.own + "/Described.java"}},
			command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
				"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes + ":" + libraries, "Driver"},
			always: of.release == "4", transacts: true, idempotent: of.release != "2.8", // which is one since 3.0
		})
	}
	return list
}

//go:build integration && unix

package clients

// pythonClients are those in Python.
func pythonClients() []*client {
	var list []*client
	for _, name := range []string{"confluent-kafka", "kafka-python", "aiokafka"} {
		list = append(list, &client{
			name: name, folder: name, needs: []string{"python3"},
			install: [][]string{
				{"python3", "-m", "venv", ".venv"},
				{".venv/bin/pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"},
			},
			command: []string{".venv/bin/python", "driver.py"},
			always:  name == "confluent-kafka", transacts: name == "confluent-kafka", replaces: name == "aiokafka", idempotent: name == "kafka-python",
		})
	}
	return list
}

//go:build integration && unix

package clients

// nodeClients are those in JavaScript. kafkajs-lz4 builds a native package; @platformatic/kafka leaves zstd to Node, which has it
// from 22.15 on.
func nodeClients() []*client {
	ci := [][]string{{"npm", "ci", "--no-audit", "--no-fund"}}
	return []*client{
		{name: "kafkajs", folder: "kafkajs", needs: []string{"node", "npm", "make", "c++"}, install: ci, command: []string{"node", "driver.js"}},
		{name: "platformatic", folder: "platformatic", needs: []string{"node", "npm"}, install: ci, command: []string{"node", "driver.js"},
			lacks: []string{"produce-zstd"}},
	}
}

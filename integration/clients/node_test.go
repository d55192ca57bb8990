//go:build integration && unix

package clients

// nodeClients are those in JavaScript. kafkajs-lz4 builds a native package; @platformatic/kafka leaves zstd to Node, which has it
// from 22.15 on.
func nodeClients() []*client {
	ci := [][]string{{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}}
	rebuild := [][]string{{"npm", "rebuild"}} // what packages in other languages compile
	return []*client{
		{name: "kafkajs", folder: "kafkajs", replaces: true, needs: []string{"node", "npm", "make", "c++"}, install: ci, compile: rebuild, command: []string{"node", "driver.js"}},
		{name: "platformatic", folder: "platformatic", needs: []string{"node", "npm"}, install: ci, command: []string{"node", "driver.js"},
			again: 40, lacks: []string{"produce-zstd"}}, // at a rebalance, what came since the last commit, which is up to 200 ms old
	}
}

//go:build integration && unix

package clients

// rustClients are those in Rust: one project, a binary each.
func rustClients() []*client {
	build := [][]string{{"cargo", "build", "--locked", "--release"}}
	return []*client{
		{name: "krafka", folder: "rust", needs: []string{"cargo", "cc"}, install: build, command: []string{"target/release/krafka"}},
		{name: "rskafka", folder: "rust", needs: []string{"cargo", "cc"}, install: build, command: []string{"target/release/rskafka"},
			lacks: []string{"group", "create", "describe", "alter", "grow", "reconnect"}},
	}
}

//go:build integration && unix

package clients

// rustClients are those in Rust: one project, a binary each.
func rustClients() []*client {
	fetch := [][]string{{"cargo", "fetch", "--locked"}}
	build := [][]string{{"cargo", "build", "--offline", "--locked", "--release"}}
	return []*client{
		{name: "krafka", folder: "rust", needs: []string{"cargo", "cc"}, install: fetch, compile: build, command: []string{"target/release/krafka"}, idempotent: true},
		{name: "rskafka", folder: "rust", needs: []string{"cargo", "cc"}, install: fetch, compile: build, command: []string{"target/release/rskafka"},
			lacks: []string{"group", "create", "describe", "alter", "grow", "reconnect"}},
	}
}

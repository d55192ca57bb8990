package broker

// openFiles returns how many files and mappings the logs may keep open: half of what the process may have, the other
// half being for connections, and well below the 65,530 mappings that Linux allows a process by default.
func openFiles() int { return min(max(descriptors()/2, minOpenFiles), maxOpenFiles) }

const (
	defaultOpenFiles = 4096
	minOpenFiles     = 128
	maxOpenFiles     = 30_000
)

// maxConnections returns how many connections may be open: what is configured, but no more than the descriptors that
// the logs leave.
func maxConnections(configured int) int {
	const spare = 64 // listeners, HTTP, and files that are opened for a moment
	room := max(descriptors()-openFiles()-spare, minConnections)
	if configured <= 0 {
		return room
	}
	return min(configured, room)
}

const minConnections = 16

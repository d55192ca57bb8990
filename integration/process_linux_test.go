//go:build integration

package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// peakMemory returns the most memory that a running process has had resident, in bytes; 0 if it is not known. The
// resource usage that is known after its end does not do: it counts the test's own memory, which the process shared
// until it became another program.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

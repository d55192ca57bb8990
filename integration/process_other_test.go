//go:build integration && unix && !linux

package integration

// peakMemory is not known here.
func peakMemory(int) int64 { return 0 }

package storage

import "os"

// long says whether tests that can go on for any time are to do so (SEGUE_LONG=1): for a night on a machine that has
// nothing else to do.
func long() bool { return os.Getenv("SEGUE_LONG") == "1" }

// orLong is how often a test does something, or how often it does if it can go on for any time.
func orLong(short, night int) int {
	if long() {
		return night
	}
	return short
}

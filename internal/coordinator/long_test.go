package coordinator_test

import "os"

// orLong is how often a test does something, or how often it does if it can go on for any time (SEGUE_LONG=1).
func orLong(short, night int) int {
	if os.Getenv("SEGUE_LONG") == "1" {
		return night
	}
	return short
}

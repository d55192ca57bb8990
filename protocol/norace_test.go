//go:build !race

package protocol

const madeTimes = 1

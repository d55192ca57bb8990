//go:build race

package protocol

// madeTimes is how often memory is allocated where kmsg makes room for an array: with the race detector the compiler
// allocates what is appended, too.
const madeTimes = 2

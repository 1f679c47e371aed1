//go:build race

package xfs

// The race detector takes many times the memory and the time.
const (
	raced   = true
	mutants = 40
)

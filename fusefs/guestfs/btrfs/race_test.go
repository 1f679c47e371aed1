//go:build race

package btrfs

// The race detector takes many times the memory and the time.
const (
	raced   = true
	mutants = 40
)

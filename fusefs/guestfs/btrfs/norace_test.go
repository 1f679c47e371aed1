//go:build !race

package btrfs

const (
	raced   = false
	mutants = 400
)

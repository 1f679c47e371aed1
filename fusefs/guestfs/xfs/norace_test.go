//go:build !race

package xfs

const (
	raced   = false
	mutants = 400
)

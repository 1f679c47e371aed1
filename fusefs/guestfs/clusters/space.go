// Package clusters reads what lies on clusters that a file allocation table chains together: the files of FAT
// and exFAT ([Chain]), and the entries of 32 bytes of which their folders are made ([Entries]).
//
// A chain is walked once, and its runs are kept as far as memory allows. Chains that go in circles, that come
// to a cluster twice, that end too soon or never are found by it, whatever the table says.
package clusters

import "io"

// Space is where clusters lie, and how a chain goes on.
type Space struct {
	R       io.ReaderAt
	Data    int64  // where cluster 2, the first, begins
	Cluster int64  // bytes of one
	Count   uint32 // how many there are
	MaxRuns int    // of one file in memory

	// Cursor returns one that reads the table for one goroutine.
	Cursor func() Cursor
}

// Cursor reads the table.
type Cursor interface {
	// Next returns the cluster that follows another one in its chain, or that this was the last.
	Next(cluster uint32) (next uint32, end bool, err error)
}

func (s *Space) valid(c uint32) bool  { return c >= 2 && c-2 < s.Count }
func (s *Space) place(c uint32) int64 { return s.Data + int64(c-2)*s.Cluster }
func (s *Space) bytes() int64         { return int64(s.Count) * s.Cluster }

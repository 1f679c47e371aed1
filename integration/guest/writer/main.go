// Writer keeps a journal of checksummed records on each of several file systems, as
// the witness of a snapshot of a running guest: record n is written and synced to the first file, then to
// the second, and so on, and only then comes record n+1. So at any one instant the
// files end within one record of each other, and every record but a torn last one is whole.
//
// usage: writer FILE...
//
// Each record is one line of 128 bytes: number, padding that depends on the number,
// CRC-32 of both.
package main

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest/journal"
)

func main() {
	fmt.Fprintln(os.Stderr, "writer:", write(os.Args[1:]))
	os.Exit(1)
}

// write writes until something fails.
func write(paths []string) error {
	var files []*os.File
	next := uint64(math.MaxUint64) // after the shortest journal
	for _, p := range paths {
		f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		files = append(files, f)
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		n, _ := journal.Parse(b)
		next = min(next, n+1)
	}
	for n := next; ; n++ {
		for _, f := range files {
			if _, err := f.WriteAt(journal.Record(n), int64(n-1)*journal.Size); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

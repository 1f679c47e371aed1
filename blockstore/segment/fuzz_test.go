package segment

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// FuzzOpen opens anything, its MACs made right where its lengths allow that:
// what the keys protect from is not all that can go wrong.
func FuzzOpen(f *testing.F) {
	good := goldenSegment(f)
	f.Add(good, false)
	f.Add(good, true)
	f.Add(encode(f, nil, nil, nil), true)
	unsorted := append([]byte(nil), good...)
	copy(unsorted[headerSize:], good[headerSize+3*EntrySize:headerSize+4*EntrySize])
	f.Add(unsorted, true)
	file := filepath.Join(f.TempDir(), "segment")
	f.Fuzz(func(t *testing.T, b []byte, right bool) {
		if len(b) > 1<<20 {
			return
		}
		if right && len(b) >= headerSize+trailerSize {
			if n := le.Uint64(b[len(b)-trailerSize+24:]); n <= uint64(len(b)-headerSize-trailerSize)/EntrySize {
				b = remac(append([]byte(nil), b...))
			}
		}
		os.Remove(file) // a table of before may still be mapped
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(file, testName, testKeys())
		if read, e := OpenFile(bytes.NewReader(b), int64(len(b)), testName, testKeys()); (e == nil) != (err == nil) {
			t.Fatalf("mapped: %v, read: %v", err, e)
		} else if e == nil {
			sameTables(t, table, read)
		}
		if err != nil {
			return
		}
		sorted := table.Verify(testKeys()) == nil
		for i := range min(table.Count, 100) {
			id := content.ID(table.id(i))
			first, after, err := table.Find(id)
			if err != nil || first < 0 || after < first || after > table.Count {
				t.Fatalf("%s: from %d to %d of %d, %v", id, first, after, table.Count, err)
			}
			if sorted && !(first <= i && i < after) {
				t.Fatalf("%s: from %d to %d, and it is at %d", id, first, after, i)
			}
			table.Entry(i) // may be an error
		}
		table.Find(content.ID{})
		if err := table.EachPoint(func(Point) error { return nil }); err != nil {
			t.Fatalf("points that were whole when it was opened: %v", err)
		}
	})
}

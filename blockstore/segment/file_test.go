package segment

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// sameTables compares a segment that is mapped with the same one that is read.
func sameTables(t *testing.T, mapped, read *Table) {
	t.Helper()
	if !reflect.DeepEqual(mapped.Head, read.Head) || mapped.Count != read.Count || mapped.Bytes() != read.Bytes() {
		t.Fatalf("%+v, and read %+v", mapped.Head, read.Head)
	}
	if a, b := mapped.Verify(testKeys()), read.Verify(testKeys()); (a == nil) != (b == nil) {
		t.Fatalf("mapped: %v, read: %v", a, b)
	}
	for i := range min(mapped.Count, 300) {
		a, errA := mapped.Entry(i)
		b, errB := read.Entry(i)
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("entry %d is %+v, %v, and read %+v, %v", i, a, errA, b, errB)
		}
		id := content.ID(mapped.id(i))
		from, to, _ := mapped.Find(id)
		if f, e, err := read.Find(id); f != from || e != to || err != nil {
			t.Fatalf("%s: from %d to %d, and read %d to %d, %v", id, from, to, f, e, err)
		}
	}
	var points [2][]Point
	for i, table := range []*Table{mapped, read} {
		if err := table.EachPoint(func(p Point) error { points[i] = append(points[i], p); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(points[0], points[1]) {
		t.Fatalf("%+v, and read %+v", points[0], points[1])
	}
}

func TestASegmentThatIsReadSaysWhatOneThatIsMappedDoes(t *testing.T) {
	for _, n := range []int{0, 1, chunkEntries - 1, chunkEntries, chunkEntries + 1, 1000} {
		b := encode(t, someEntries(n), somePacks(3), nil)
		read, err := OpenFile(bytes.NewReader(b), int64(len(b)), testName, testKeys())
		if err != nil {
			t.Fatal(err)
		}
		sameTables(t, mustOpen(t, b), read)
		if n > 0 {
			b[headerSize+EntrySize*(n-1)] ^= 1
			if err := read.Verify(testKeys()); !errors.Is(err, ErrDamaged) && n > chunkEntries {
				t.Errorf("of %d entries the last is damaged: %v", n, err)
			}
		}
	}
}

// failing fails each read while it is told to.
type failing struct {
	io.ReaderAt
	err error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestAReadOfASegmentThatFailsIsAnErrorAndNoDamage(t *testing.T) {
	b := encode(t, someEntries(1000), somePacks(3), nil)
	f := &failing{ReaderAt: bytes.NewReader(b)}
	table, err := OpenFile(f, int64(len(b)), testName, testKeys())
	if err != nil {
		t.Fatal(err)
	}
	f.err = errors.New("the server is gone")
	_, entryErr := table.Entry(700)
	_, _, findErr := table.Find(content.ID{200})
	for what, err := range map[string]error{"entry": entryErr, "find": findErr, "verify": table.Verify(testKeys())} {
		if !errors.Is(err, f.err) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.err = nil
	if err := table.Verify(testKeys()); err != nil {
		t.Errorf("when it answers again: %v", err)
	}
}

// someEntries are n entries in order, a few of them of one ID.
func someEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		id := content.ID{byte((i - i%3) * 256 / (n + 1)), byte(i - i%3), 7}
		entries[i] = Entry{id, uint32(i % 3), uint32(i%3) * 100, 90}
	}
	Sort(entries)
	return entries
}

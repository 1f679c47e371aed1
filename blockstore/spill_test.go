package blockstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// TestASpillGivesBackEveryRecordOnceWhateverRoomItHas adds records while a
// scratch file can be had, cannot, or is out of room at some moment.
func TestASpillGivesBackEveryRecordOnceWhateverRoomItHas(t *testing.T) {
	t.Parallel()
	dir := backend.NewDir(t.TempDir())
	none := func() (*os.File, error) { return nil, errors.New("read-only") }
	for name, c := range map[string]struct {
		open   func() (*os.File, error)
		writes int64 // that there is room for
	}{
		"room": {dir.Scratch, 1 << 40}, "none": {none, 0}, "full at once": {dir.Scratch, 0}, "full while moving": {dir.Scratch, 100}, "full later": {dir.Scratch, 700},
	} {
		for _, size := range []int{32, 48} {
			r := rand.New(rand.NewPCG(uint64(size), 1))
			left := c.writes
			s := &spill{size: size, memory: 64 << 10, part: func(rec []byte) byte { return rec[0] }, open: c.open, room: func(int64) error {
				if left--; left < 0 {
					return ErrFull
				}
				return nil
			}}
			var want, got []string
			giveBack := func() {
				t.Helper()
				err := s.each(8<<10, func(recs []byte) error {
					if len(recs)%size != 0 || len(recs) > 64<<10 {
						t.Errorf("%s: a chunk of %d bytes", name, len(recs))
					}
					for rec := range slices.Chunk(recs, size) {
						got = append(got, string(rec))
					}
					return nil
				})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for range 3 {
				for range 10_000 {
					rec := make([]byte, size)
					for i := range rec {
						rec[i] = byte(r.Uint32())
					}
					want = append(want, string(rec))
					err := s.add(rec)
					if err == errNoSpill {
						giveBack()
						err = s.add(rec)
					}
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
				giveBack()
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d records given back, %d added", name, len(got), len(want))
			}
			if (s.spilled > 0) != (c.writes > 0) {
				t.Errorf("%s: %d bytes were written", name, s.spilled)
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}
	}
	if names, err := os.ReadDir(dir.Root()); err != nil || len(names) > 0 {
		t.Errorf("%v is left, %v", names, err)
	}
}

func TestChunksOfASpillThatWasWrittenHoldRecordsOfOnePart(t *testing.T) {
	t.Parallel()
	dir := backend.NewDir(t.TempDir())
	s := &spill{size: 32, memory: 64 << 10, part: func(rec []byte) byte { return rec[0] }, open: dir.Scratch, room: func(int64) error { return nil }}
	defer s.close()
	r := rand.New(rand.NewPCG(1, 1))
	for range 50_000 {
		rec := bytes.Repeat([]byte{byte(r.Uint32())}, 32)
		if err := s.add(rec); err != nil {
			t.Fatal(err)
		}
	}
	last := -1
	err := s.each(4<<10, func(recs []byte) error {
		if int(recs[0]) < last || len(bytes.Trim(recs, string(recs[:1]))) > 0 {
			t.Errorf("a chunk begins with %d after one of %d, and holds others", recs[0], last)
		}
		last = int(recs[0])
		return nil
	})
	if err != nil || last != 255 {
		t.Errorf("it ended with part %d, %v", last, err)
	}
}

package ext

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// badPlaces fails to read a part of a volume.
type badPlaces struct {
	io.ReaderAt
	from, to int64
}

var errBadPlace = errors.New("a bad place")

func (b badPlaces) ReadAt(p []byte, off int64) (int, error) {
	if off < b.to && off+int64(len(p)) > b.from {
		return 0, errBadPlace
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestABadPlaceHarmsOnlyWhatLiesThere although more than that is read at once.
func TestABadPlaceHarmsOnlyWhatLiesThere(t *testing.T) {
	t.Parallel()
	p := sample(t, 1)
	at := int64(p.node(t, placeFolder, p.find(t, "/large")).block) * p.super.blockSize
	fsys, err := Format.Open(badPlaces{bytes.NewReader(p.b), at + 100, at + 101}, int64(len(p.b)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	count := 0
	for _, err := range fsys.ReadDir(uint64(p.find(t, "/large"))) {
		if last = err; err == nil {
			count++
		}
	}
	if !errors.Is(last, errBadPlace) || count < 100 {
		t.Errorf("%d of the folder's entries, then %v", count, last)
	}
	if _, err := fsys.Lookup(2, "file"); err != nil {
		t.Error(err)
	}
}

// TestAVolumeCutShortIsReadAsFarAsItGoes gives a volume at every length near its
// structures.
func TestAVolumeCutShortIsReadAsFarAsItGoes(t *testing.T) {
	t.Parallel()
	p := sample(t, 0)
	for n := 0; n < len(p.b); n += 17_000 {
		examine(p.b[:n], true)
	}
}

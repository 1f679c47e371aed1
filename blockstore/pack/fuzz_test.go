package pack

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func FuzzReadHeader(f *testing.F) {
	h := testHeader()
	f.Add(h.encode(), true)
	f.Add((&Header{Class: Pages}).encode(), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= headerSize { // whoever damages a header may fix its checksum
			if n := int(le.Uint32(b[12:])); n >= headerSize && n <= len(b) {
				b = bytes.Clone(b)
				fixHeader(b, n)
			}
		}
		h, err := ReadHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		back, err := ReadHeader(bytes.NewReader(h.encode()))
		if err != nil || fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", h) {
			t.Errorf("%+v reads back as %+v, %v", h, back, err)
		}
	})
}

func FuzzReadFooter(f *testing.F) {
	good, entries := write(f, testHeader(), goldenItems)
	footer := int(entries[len(entries)-1].End())
	f.Add(good[footer:], uint32(footer))
	f.Add(encodeFooter(testHeader().ID, 1000, nil), uint32(1000))
	f.Fuzz(func(t *testing.T, tail []byte, start uint32) {
		if len(tail) < trailerSize || start > 1<<16 {
			return
		}
		b := append(make([]byte, start), tail...)
		fixFooter(b, int(start))
		entries, err := ReadFooter(bytes.NewReader(b), int64(len(b)), testHeader().ID)
		if err != nil {
			return
		}
		back := append(make([]byte, start), encodeFooter(testHeader().ID, int64(start), entries)...)
		again, err := ReadFooter(bytes.NewReader(back), int64(len(back)), testHeader().ID)
		if err != nil || !slices.Equal(again, entries) {
			t.Errorf("entries %v read back as %v, %v", entries, again, err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	good, entries := write(f, testHeader(), goldenItems)
	for _, e := range entries {
		f.Add(good[e.Offset:e.End()])
	}
	keys := testKeys()
	f.Fuzz(func(t *testing.T, rec []byte) {
		kind, n, err := Describe(rec)
		if err != nil {
			return
		}
		if n > MaxContent || !kind.Valid() {
			t.Fatalf("described as %v of %d bytes", kind, n)
		}
		dst := make([]byte, n)
		id := content.ID(rec[20:52])
		if NewOpener(keys, ID{}, Unsealed).Decode(kind, id, rec, dst) == nil && keys.ID(kind, dst) != id {
			t.Errorf("content that is not of its ID")
		}
		CheckSum(rec)
	})
}

func FuzzEncodeRecord(f *testing.F) {
	f.Add([]byte("a"), byte(1))
	f.Add(bytes.Repeat([]byte("ab"), 3000), byte(3))
	f.Add(noise(1, 5000), byte(2))
	keys := testKeys()
	f.Fuzz(func(t *testing.T, plain []byte, k byte) {
		kind := content.Kind(k%3 + 1)
		if len(plain) == 0 || len(plain) > MaxContent {
			return
		}
		enc := Encoder{Paranoid: true, Acceleration: int(k)}
		id := keys.ID(kind, plain)
		rec, err := enc.Encode(nil, kind, id, plain)
		if err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(plain))
		if err := NewOpener(keys, ID{}, Unsealed).Decode(kind, id, rec, back); err != nil || !bytes.Equal(back, plain) {
			t.Errorf("does not come back: %v", err)
		}
	})
}

func FuzzSalvage(f *testing.F) {
	good, _ := write(f, testHeader(), goldenItems)
	f.Add(good)
	f.Add([]byte(strings.Repeat(recordMagic, 100)))
	keys := testKeys()
	f.Fuzz(func(t *testing.T, b []byte) {
		end := int64(0)
		err := Salvage(bytes.NewReader(b), int64(len(b)), NewOpener(keys, ID{}, Unsealed), func(e Entry) error {
			if int64(e.Offset) < end || e.End() > int64(len(b)) {
				t.Fatalf("record at %d, %d bytes, after one that ends at %d", e.Offset, e.Length, end)
			}
			end = e.End()
			rec := b[e.Offset:end]
			_, n, err := Describe(rec)
			if err != nil {
				return err
			}
			return NewOpener(keys, ID{}, Unsealed).Decode(e.Kind, e.ID, rec, make([]byte, n))
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func FuzzParsePackID(f *testing.F) {
	f.Add(testHeader().ID.String())
	f.Add(strings.Repeat("A", 32))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err == nil && id.String() != s {
			t.Errorf("%q reads as %s", s, id)
		}
	})
}

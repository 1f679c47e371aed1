package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testKeys() *content.Keys {
	var s content.Secret
	for i := range s {
		s[i] = byte(i)
	}
	return content.Derive(s)
}

func plainOpener() *Opener { return NewOpener(testKeys(), ID{}, Unsealed) }

func testHeader() Header {
	return Header{
		ID:     ID{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
		Writer: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Class: Blocks, Created: time.Unix(1793000000, 7).UTC(),
		VaultName: "VAULT/00000001-0a0b0c0d", Vault: []byte("the text of VAULT\n"),
	}
}

// memory is a file in memory.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

// noise does not compress and is the same everywhere.
func noise(seed byte, n int) (b []byte) {
	for sum := [32]byte{seed}; len(b) < n; {
		sum = sha256.Sum256(sum[:])
		b = append(b, sum[:]...)
	}
	return b[:n]
}

type item struct {
	kind  content.Kind
	plain []byte
}

var goldenItems = []item{
	{content.Block, bytes.Repeat([]byte("holdfast "), 100)},
	{content.Block, noise(1, 100)},
	{content.Page, bytes.Repeat([]byte{1}, 48)}, // pages are never compressed
	{content.Blob, []byte("<domain/>")},
}

// write returns a pack of items.
func write(t testing.TB, h Header, items []item) ([]byte, []Entry) {
	t.Helper()
	keys, m := testKeys(), &memory{}
	w, err := NewWriter(m, h, testKeys())
	if err != nil {
		t.Fatal(err)
	}
	enc := Encoder{Paranoid: true}
	for _, it := range items {
		rec, err := enc.Encode(nil, it.kind, keys.ID(it.kind, it.plain), it.plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	entries, size, err := w.Seal()
	if err != nil || size != int64(len(m.b)) {
		t.Fatalf("sealed with %d bytes of %d, %v", size, len(m.b), err)
	}
	return m.b, entries
}

func TestPacksAreEncodedAsEver(t *testing.T) {
	const golden = "testdata/pack.golden"
	b, entries := write(t, testHeader(), goldenItems)
	if *update {
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("encoded as\n%x, want\n%x", b, want)
	}
	h, err := ReadHeader(bytes.NewReader(want))
	if err != nil || fmt.Sprintf("%+v", *h) != fmt.Sprintf("%+v", testHeader()) {
		t.Errorf("header %+v, %v", h, err)
	}
	got, err := ReadFooter(bytes.NewReader(want), int64(len(want)), testHeader().ID)
	if err != nil || !slices.Equal(got, entries) {
		t.Errorf("footer %v, want %v; %v", got, entries, err)
	}
	for i, it := range goldenItems {
		plain := make([]byte, len(it.plain))
		rec := want[entries[i].Offset:entries[i].End()]
		if err := plainOpener().Decode(it.kind, entries[i].ID, rec, plain); err != nil || !bytes.Equal(plain, it.plain) {
			t.Errorf("record %d: %v", i, err)
		}
		if err := CheckSum(rec); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

func salvage(t testing.TB, b []byte) (entries []Entry) {
	t.Helper()
	err := Salvage(bytes.NewReader(b), int64(len(b)), plainOpener(), func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestSalvageFindsWhatIsWholeAndNothingThatAGuestMadeUp(t *testing.T) {
	keys := testKeys()
	forged, _ := write(t, testHeader(), []item{{content.Block, noise(9, 300)}})
	copy(forged[len(forged)-trailerSize-entrySize-300:], noise(8, 300)) // its content is another now
	fake := forged[len(forged)-trailerSize-entrySize-300-RecordHeaderSize : len(forged)-trailerSize-entrySize]
	le.PutUint32(fake[RecordHeaderSize-crcSize:], checkSum(fake)) // a guest can compute that
	items := []item{
		{content.Block, append(noise(1, 500), fake...)},
		{content.Block, noise(2, MaxContent)},
		{content.Block, bytes.Repeat(noise(3, 40), 2000)},
		{content.Block, noise(4, MaxContent)},
		{content.Block, noise(5, MaxContent)},
		{content.Block, noise(6, MaxContent)}, // reaches over the window
		{content.Block, []byte(recordMagic + recordMagic)},
	}
	b, entries := write(t, testHeader(), items)
	if got := salvage(t, b[:len(b)-trailerSize-10]); !slices.Equal(got, entries) {
		t.Errorf("without footer: %d of %d records, or others", len(got), len(entries))
	}
	end := entries[len(entries)-1].End()
	if got := salvage(t, b[:end-1]); !slices.Equal(got, entries[:len(entries)-1]) {
		t.Errorf("cut short: %d records", len(got))
	}
	broken := bytes.Clone(b)
	broken[entries[1].Offset+5000] ^= 4
	if got := salvage(t, broken); !slices.Equal(got, append(slices.Clone(entries[:1]), entries[2:]...)) {
		t.Errorf("one damaged: %d records", len(got))
	}
	if got := salvage(t, b[100:]); len(got) != len(entries) || got[0].Offset != entries[0].Offset-100 {
		t.Errorf("without its first bytes: %d records", len(got))
	}
	if err := Salvage(bytes.NewReader(b), int64(len(b)), NewOpener(keys, ID{}, Unsealed), func(Entry) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error of the callback: %v", err)
	}
}

func TestNoFlippedBitOfAPackGoesUnnoticed(t *testing.T) {
	good, entries := write(t, testHeader(), goldenItems)
	for at := range good {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		if whole(b, entries) == nil {
			t.Errorf("byte %d: unnoticed", at)
		}
	}
}

// whole looks at a pack as a check does.
func whole(b []byte, entries []Entry) error {
	_, err := ReadHeader(bytes.NewReader(b))
	_, err2 := ReadFooter(bytes.NewReader(b), int64(len(b)), testHeader().ID)
	errs := []error{err, err2}
	for _, e := range entries {
		rec := b[e.Offset:e.End()]
		_, n, err := Describe(rec)
		if err == nil {
			err = plainOpener().Decode(e.Kind, e.ID, rec, make([]byte, n))
		}
		errs = append(errs, err, CheckSum(rec))
	}
	return errors.Join(errs...)
}

func TestWhatALaterVersionWroteIsRefusedByName(t *testing.T) {
	good, entries := write(t, testHeader(), goldenItems)
	headerEnd := int(entries[0].Offset)
	footer := int(entries[len(entries)-1].End())
	for name, c := range map[string]struct {
		change func(b []byte)
		err    error
		says   string
	}{
		"header version": {func(b []byte) { b[8] = 2; fixHeader(b, headerEnd) }, ErrVersion, "version 2"},
		"class":          {func(b []byte) { b[10] = 3; fixHeader(b, headerEnd) }, ErrVersion, "class 3"},
		"header seal":    {func(b []byte) { b[11] = 2; fixHeader(b, headerEnd) }, ErrVersion, "seal 2"},
		"unknown seal":   {func(b []byte) { b[11] = 9; fixHeader(b, headerEnd) }, ErrVersion, "seal 9"},
		"footer version": {func(b []byte) { b[len(b)-32] = 3; fixFooter(b, footer) }, ErrVersion, "version 3"},
		"footer kind":    {func(b []byte) { b[footer+40] = 7; fixFooter(b, footer) }, ErrVersion, "kind 7"},
		"record kind":    {func(b []byte) { fixRecord(b, entries[0], 4, 9) }, ErrVersion, "kind 9"},
		"record codec":   {func(b []byte) { fixRecord(b, entries[0], 5, 2) }, ErrVersion, "codec 2"},
		"record seal":    {func(b []byte) { fixRecord(b, entries[0], 6, 2) }, ErrVersion, "seal 2"},
		"record seal 5":  {func(b []byte) { fixRecord(b, entries[0], 6, 5) }, ErrVersion, "seal 5"},
		"a flipped bit":  {func(b []byte) { b[entries[0].Offset+5] = 2 }, ErrDamaged, "codec 2"},
		"another one":    {func(b []byte) { b[8] ^= 2 }, ErrDamaged, "header's checksum"},
		"and another":    {func(b []byte) { b[len(b)-32] ^= 2 }, ErrDamaged, "does not end"},
	} {
		b := bytes.Clone(good)
		c.change(b)
		err := whole(b, entries)
		if !errors.Is(err, c.err) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrDamaged) != (c.err == ErrDamaged) {
			t.Errorf("%s: taken for damage or not: %v", name, err)
		}
	}
}

func fixHeader(b []byte, end int) { le.PutUint32(b[end-crcSize:], crc(b[:end-crcSize])) }

func fixFooter(b []byte, start int) {
	t := b[len(b)-trailerSize:]
	le.PutUint32(t[12:], crc(b[start:len(b)-trailerSize]))
	le.PutUint32(t[56:], crc(t[:56]))
}

func fixRecord(b []byte, e Entry, at int, to byte) {
	rec := b[e.Offset:e.End()]
	rec[at] = to
	le.PutUint32(rec[RecordHeaderSize-crcSize:], checkSum(rec))
}

func TestAPackThatCannotBeIsRefused(t *testing.T) {
	good, entries := write(t, testHeader(), goldenItems)
	headerEnd := int(entries[0].Offset)
	footer := int(entries[len(entries)-1].End())
	edit := func(at int, v uint32) func(b []byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); fixFooter(b, footer); return b }
	}
	trailer := len(good) - trailerSize
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                  func([]byte) []byte { return nil },
		"cut short":              func(b []byte) []byte { return b[:len(b)-1] },
		"an entry over the end":  edit(footer+36, 1<<30),
		"an entry of no length":  edit(footer+36, 10),
		"an entry in the header": edit(footer+32, 8),
		"too many records":       edit(trailer+8, 0xffffffff),
		"a footer elsewhere":     edit(trailer, 0),
		"a footer beyond 4 GiB":  edit(trailer+4, 1),
		"another pack's trailer": func(b []byte) []byte { b[trailer+16]++; fixFooter(b, footer); return b },
		"a footer at minus one": func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[trailer:], 1<<63)
			fixFooter(b, footer)
			return b
		},
		"nothing but the trailer": func(b []byte) []byte { return b[trailer:] },
	} {
		b := change(bytes.Clone(good))
		if _, err := ReadFooter(bytes.NewReader(b), int64(len(b)), testHeader().ID); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"another magic":    func(b []byte) []byte { b[7] = 'X'; return b },
		"a huge header":    func(b []byte) []byte { le.PutUint32(b[12:], 1<<31); return b },
		"a header of none": func(b []byte) []byte { le.PutUint32(b[12:], 0); return b },
		"a huge envelope":  func(b []byte) []byte { le.PutUint32(b[48:], 0xffffffff); fixHeader(b, headerEnd); return b },
		"lengths that wrap": func(b []byte) []byte {
			le.PutUint32(b[48:], 0xffffffff)
			le.PutUint32(b[52:], le.Uint32(b[52:])+1)
			fixHeader(b, headerEnd)
			return b
		},
		"cut short": func(b []byte) []byte { return b[:100] },
	} {
		if _, err := ReadHeader(bytes.NewReader(change(bytes.Clone(good)))); !errors.Is(err, ErrDamaged) {
			t.Errorf("header, %s: %v", name, err)
		}
	}
}

// fails lets one write fail.
type fails struct {
	memory
	after int
}

func (f *fails) WriteAt(p []byte, off int64) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrShortWrite
	}
	return f.memory.WriteAt(p, off)
}

func TestAPackWithAFailedWriteIsNeverSealed(t *testing.T) {
	for after := range 4 {
		f := &fails{after: after}
		w, err := NewWriter(f, testHeader(), testKeys())
		for range 2 {
			if err == nil {
				var enc Encoder
				rec, encErr := enc.Encode(nil, content.Blob, content.ID{1}, []byte("x"))
				if encErr != nil {
					t.Fatal(encErr)
				}
				_, err = w.Append(rec)
			}
		}
		if w != nil {
			_, _, err = w.Seal()
		}
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("write %d fails: %v", after, err)
		}
	}
}

package pack

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func TestAnEncoderStoresRawWhatDoesNotShrinkByAnEighth(t *testing.T) {
	mix := func(n, compressible int) []byte {
		return append(noise(2, n-compressible), make([]byte, compressible)...)
	}
	for name, c := range map[string]struct {
		kind  content.Kind
		plain []byte
		want  Codec
	}{
		"zeros":                   {content.Block, make([]byte, 65536), LZ4},
		"noise":                   {content.Block, noise(1, 65536), Raw},
		"a little less than 7/8":  {content.Block, mix(65536, 8192+600), LZ4},
		"a little more than 7/8":  {content.Block, mix(65536, 8192-600), Raw},
		"a page that would":       {content.Page, make([]byte, 2064), Raw},
		"a tiny blob":             {content.Blob, []byte("aaaaaaaaaaaaaaaa"), Raw},
		"one byte":                {content.Blob, []byte{1}, Raw},
		"the largest, of zeros":   {content.Block, make([]byte, MaxContent), LZ4},
		"the largest, of noise":   {content.Block, noise(3, MaxContent), Raw},
		"text that repeats often": {content.Blob, bytes.Repeat([]byte("ab"), 500), LZ4},
	} {
		for _, paranoid := range []bool{false, true} {
			keys := testKeys()
			id := keys.ID(c.kind, c.plain)
			enc := Encoder{Paranoid: paranoid}
			rec, err := enc.Encode(nil, c.kind, id, c.plain)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			h, err := parseRecord(rec)
			if err != nil || h.codec != c.want {
				t.Errorf("%s: codec %d, %v", name, h.codec, err)
			}
			if limit := len(c.plain) - len(c.plain)/8; h.codec == LZ4 && int(h.stored) > limit || h.codec == Raw && int(h.stored) != len(c.plain) {
				t.Errorf("%s: stored as %d of %d bytes by codec %d", name, h.stored, len(c.plain), h.codec)
			}
			back := make([]byte, len(c.plain))
			if err := NewOpener(keys, ID{}, Unsealed).Decode(c.kind, id, rec, back); err != nil || !bytes.Equal(back, c.plain) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	var enc Encoder
	for _, n := range []int{0, MaxContent + 1} {
		if _, err := enc.Encode(nil, content.Block, content.ID{1}, make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}

func TestAParanoidEncoderFindsWhatDoesNotComeBack(t *testing.T) {
	var e Encoder
	plain := bytes.Repeat([]byte("abcd"), 100)
	rec, err := e.Encode(nil, content.Block, content.ID{1}, plain)
	if err != nil {
		t.Fatal(err)
	}
	payload := bytes.Clone(rec[RecordHeaderSize:])
	if err := e.compare(LZ4, payload, plain); err != nil {
		t.Error(err)
	}
	plain[200] ^= 1
	if err := e.compare(LZ4, payload, plain); !errors.Is(err, ErrDamaged) {
		t.Errorf("other content: %v", err)
	}
}

func TestABufferIsReusedAndNothingOfBeforeStaysInARecord(t *testing.T) {
	keys, r := testKeys(), rand.New(rand.NewPCG(1, 1))
	var reused, fresh Encoder
	var buf []byte
	for i := range 200 {
		plain := noise(byte(i), 1+r.IntN(20000))
		if i%2 == 0 {
			plain = bytes.Repeat(plain[:1], len(plain))
		}
		id := keys.ID(content.Blob, plain)
		rec, err := reused.Encode(buf, content.Blob, id, plain)
		if err != nil {
			t.Fatal(err)
		}
		want, err := fresh.Encode(nil, content.Blob, id, plain)
		if err != nil || !bytes.Equal(rec, want) {
			t.Fatalf("round %d: record differs, %v", i, err)
		}
		le.PutUint32(rec[8:], 0xffffffff) // as Append does
		buf = rec[:0]
	}
}

func TestRecordsAppendedByManyGoroutinesAreAllThereAndWhole(t *testing.T) {
	keys, m := testKeys(), &memory{}
	w, err := NewWriter(m, testHeader(), testKeys())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	want := map[content.ID][]byte{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var enc Encoder
			for i := range 50 {
				plain := noise(byte(g*50+i), 100+g*31+i)
				plain[0], plain[1] = byte(g), byte(i)
				id := keys.ID(content.Block, plain)
				rec, err := enc.Encode(nil, content.Block, id, plain)
				if err == nil {
					_, err = w.Append(rec)
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				want[id] = plain
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	entries, size, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadFooter(bytes.NewReader(m.b), size, w.ID())
	if err != nil || !slices.Equal(read, entries) || len(read) != len(want) {
		t.Fatalf("%d entries of %d, %v", len(read), len(want), err)
	}
	for i, e := range read {
		rec := m.b[e.Offset:e.End()]
		plain := make([]byte, len(want[e.ID]))
		if err := errors.Join(NewOpener(keys, ID{}, Unsealed).Decode(e.Kind, e.ID, rec, plain), CheckSum(rec)); err != nil || !bytes.Equal(plain, want[e.ID]) {
			t.Errorf("record %d: %v", i, err)
		}
		if ordinal := le.Uint32(rec[8:]); ordinal != uint32(i) {
			t.Errorf("record %d says that it is %d", i, ordinal)
		}
	}
	if got := salvage(t, m.b); !slices.Equal(got, entries) {
		t.Errorf("salvage finds %d records, or others", len(got))
	}
}

package wof_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof/woftest"
)

var methods = []wof.Method{wof.XPRESS4K, wof.XPRESS8K, wof.XPRESS16K, wof.LZX}

// program is machine code with calls: of this test itself.
func program(t testing.TB, n int) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// text is n bytes that compress well; the chance is fixed.
func text(n int) []byte {
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < n {
		fmt.Fprintf(&b, "line %d of what a guest wrote, word %x, ", b.Len(), r.IntN(300))
		if r.IntN(8) == 0 {
			b.WriteString(strings.Repeat("-", r.IntN(900)))
		}
	}
	return []byte(b.String()[:n])
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
}

// skewed is n bytes whose codes are of very different length.
func skewed(n int) []byte {
	b, r := make([]byte, n), rand.New(rand.NewPCG(5, 6))
	for i := range b {
		for b[i] = 0; b[i] < 200 && r.IntN(3) > 0; b[i]++ {
		}
		b[i] *= byte(1 + r.IntN(2))
	}
	return b
}

// contents are of all sizes around those of chunks, and compress in all ways.
func contents(t testing.TB) [][]byte {
	mixed := append(append(append(text(70_000), noise(50_000)...), make([]byte, 40_000)...), program(t, 90_001)...)
	all := [][]byte{program(t, 1<<20), text(300_001), skewed(200_000), make([]byte, 100_000), mixed, noise(40_000)}
	for _, size := range []int{1, 2, 300, 4095, 4096, 4097, 8193, 16384, 32767, 32768, 32769, 65536} {
		all = append(all, append(text(size-1), byte(size)))
	}
	return all
}

// whole decompresses a stream, each chunk where the table says that it is.
func whole(m wof.Method, size int, stream []byte) ([]byte, error) {
	l := wof.Layout{Method: m, Size: int64(size), Stream: int64(len(stream))}
	if err := l.Check(); err != nil {
		return nil, err
	}
	var out []byte
	for i := range l.Chunks() {
		off, n := l.Table(i, 1)
		from, to, err := l.Place(stream[off:off+n], i, i)
		if err != nil {
			return nil, err
		}
		chunk := make([]byte, l.Length(i))
		if err := m.Decode(chunk, stream[from:to]); err != nil {
			return nil, fmt.Errorf("chunk %d: %w", i, err)
		}
		out = append(out, chunk...)
	}
	return out, nil
}

func count(kinds map[byte]int, m wof.Method, size int, stream []byte) {
	l := wof.Layout{Method: m, Size: int64(size), Stream: int64(len(stream))}
	for i := range l.Chunks() {
		off, n := l.Table(i, 1)
		if from, to, err := l.Place(stream[off:off+n], i, i); err == nil && to-from > 1 && to-from < l.Length(i) {
			kinds[stream[from+1]>>5]++
		}
	}
}

func TestWhatWimlibCompressedIsDecompressed(t *testing.T) {
	t.Parallel()
	for _, m := range methods {
		for _, level := range []int{10, 50, 100} {
			t.Run(fmt.Sprint(m, " at level ", level), func(t *testing.T) {
				t.Parallel()
				all := contents(t)
				kinds := map[byte]int{} // of blocks that chunks begin with
				for i, stream := range woftest.Streams(t, m, level, all...) {
					got, err := whole(m, len(all[i]), stream)
					if err != nil || !bytes.Equal(got, all[i]) {
						t.Errorf("content %d of %d bytes: %v", i, len(all[i]), err)
					}
					count(kinds, m, len(all[i]), stream)
				}
				if m == wof.LZX && (kinds[1] < 5 || kinds[2] < 5) {
					t.Errorf("verbatim and aligned blocks are not both tried: %v", kinds)
				}
			})
		}
	}
}

// TestAMutantOfAChunkIsNeverWrittenBeyondItsEnd changes bytes of true chunks; the chance is fixed.
func TestAMutantOfAChunkIsNeverWrittenBeyondItsEnd(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for _, m := range methods {
		content := append(program(t, int(m.Chunk()/2)), text(int(m.Chunk()/2))...)
		chunk := woftest.Streams(t, m, 50, content)[0]
		failed := 0
		for range 2000 {
			b := bytes.Clone(chunk)
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			b = b[:len(b)-r.IntN(2)*r.IntN(len(b))]
			if decode(t, m, len(content), b) != nil {
				failed++
			}
		}
		if failed < 200 {
			t.Errorf("%s: only %d mutants were found damaged: the test proves nothing", m, failed)
		}
	}
}

// decode decompresses one chunk into a buffer with something behind it.
func decode(t testing.TB, m wof.Method, size int, src []byte) error {
	t.Helper()
	const guard = "guard of what lies behind it"
	out := append(make([]byte, size), guard...)
	err := m.Decode(out[:size:size], src)
	if string(out[size:]) != guard {
		t.Fatal("it wrote beyond the end")
	}
	return err
}

func FuzzDecode(f *testing.F) {
	for _, m := range methods {
		f.Add(text(300), uint16(400), uint8(m))
	}
	for _, chunk := range append(handmade(), lies()...) {
		f.Add(chunk.src, uint16(len(chunk.want)), uint8(wof.LZX))
	}
	f.Fuzz(func(t *testing.T, src []byte, size uint16, m uint8) {
		_ = decode(t, wof.Method(m%4), int(size), src)
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, content := range map[string][]byte{"program": program(b, 2<<20), "text": text(2 << 20)} {
		for _, m := range methods {
			stream := woftest.Streams(b, m, 50, content)[0]
			b.Run(name+"/"+m.String(), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				b.ReportMetric(float64(len(stream))/float64(len(content)), "ratio")
				for b.Loop() {
					if _, err := whole(m, len(content), stream); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

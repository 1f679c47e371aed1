package wof_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
)

// bitWriter writes bits as LZX has them: words of 16, the upper ones first.
type bitWriter struct {
	b    []byte
	held uint32
	n    int
}

func (w *bitWriter) put(v uint32, n int) *bitWriter {
	for i := n - 1; i >= 0; i-- {
		w.held = w.held<<1 | v>>i&1
		if w.n++; w.n == 16 {
			w.b = binary.LittleEndian.AppendUint16(w.b, uint16(w.held))
			w.held, w.n = 0, 0
		}
	}
	return w
}

// align goes to the next word; at the beginning of one, a whole word is left out.
func (w *bitWriter) align() *bitWriter { return w.put(0, 16-w.n) }

func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		w.align()
	}
	return w.b
}

// flat tells the lengths of n codes, all of so many bits where they had so many: a
// prefix code of one symbol of one bit, and one that is never used.
func (w *bitWriter) flat(n, had, bits int) {
	symbol := (had - bits + 17) % 17
	for i := range 20 {
		w.put(map[bool]uint32{true: 1}[i == symbol || i == (symbol+1)%17], 4)
	}
	code := uint32(0)
	if (symbol+1)%17 < symbol {
		code = 1
	}
	for range n {
		w.put(code, 1)
	}
}

// compressed begins a block whose main codes have 9 bits (symbol by symbol) and whose
// lengths 8 bits.
func (w *bitWriter) compressed(kind uint32, size int, had bool) {
	w.put(kind, 3).put(0, 1).put(uint32(size), 16)
	if kind == 2 {
		for range 8 {
			w.put(3, 3)
		}
	}
	main, lengths := 0, 0
	if had {
		main, lengths = 9, 8
	}
	w.flat(256, main, 9)
	w.flat(240, main, 9)
	w.flat(249, lengths, 8)
}

func (w *bitWriter) literals(s string) {
	for _, c := range []byte(s) {
		w.put(uint32(c), 9)
	}
}

// match is one of a length up to 8 by its slot; its extra bits follow.
func (w *bitWriter) match(slot, n int) *bitWriter { return w.put(uint32(256+8*slot+n-2), 9) }

func (w *bitWriter) plain(recent [3]uint32, s string) {
	w.put(3, 3).put(0, 1).put(uint32(len(s)), 16).align()
	for _, back := range recent {
		w.b = binary.LittleEndian.AppendUint32(w.b, back)
	}
	if w.b = append(w.b, s...); len(s)%2 != 0 {
		w.b = append(w.b, 0)
	}
}

type chunk struct {
	name, want string
	src        []byte
}

// handmade are chunks of LZX with what wimlib does not make.
func handmade() (all []chunk) {
	add := func(name, want string, make func(w *bitWriter)) {
		w := &bitWriter{}
		make(w)
		all = append(all, chunk{name, want, w.bytes()})
	}
	long := string(bytes.Repeat([]byte("0123456789abcdef"), 40))
	add("not compressed, even", long, func(w *bitWriter) { w.plain([3]uint32{1, 1, 1}, long) })
	add("not compressed, odd, twice", long[:33]+long[:31], func(w *bitWriter) {
		w.plain([3]uint32{1, 1, 1}, long[:33])
		w.plain([3]uint32{1, 1, 1}, long[:31])
	})
	add("distances kept from what is not compressed", long[:48]+long[:6]+long[14:17]+long[9:13], func(w *bitWriter) {
		w.plain([3]uint32{48, 40, 47}, long[:48])
		w.compressed(1, 13, false)
		w.match(0, 6)             // 48 back
		w.match(1, 3)             // 40 back
		w.match(1, 2).match(0, 2) // 48 back again
	})
	add("blocks of all kinds", "abcdabcd"+"wxyz"+"abcdwxyz"+long[:16]+long[:4]+"cdab"+"f0", func(w *bitWriter) {
		w.compressed(1, 8, false)
		w.literals("abcd")
		w.match(5, 4).put(0, 1) // 4 back
		w.compressed(1, 4, true)
		w.literals("wxyz")
		w.plain([3]uint32{9, 1, 1}, "abcdwxyz")
		w.compressed(2, 26, true)
		w.literals(long[:16])
		w.match(8, 4).put(2, 3)            // 16 back, all of its bits by the aligned code
		w.match(10, 4).put(1, 1).put(0, 3) // 38 back, the lower bits of it
		w.match(2, 2)                      // 9 back, kept from the block before
	})
	calls := "\xe8\x05\x00\x00\x00" + "abc" + "\xe8\x09\x00\x00\x00" + "\xe8\xff\xff\xff\xff" + "\xe8\x00\x1b\xb7\x00" + "\xe8\x01\x00\x00\x00 ends"
	away := "\xe8\x05\x00\x00\x00" + "abc" + "\xe8\x01\x00\x00\x00" + "\xe8\xff\x1a\xb7\x00" + "\xe8\x00\x1b\xb7\x00" + "\xe8\x01\x00\x00\x00 ends"
	add("calls", away, func(w *bitWriter) { w.plain([3]uint32{1, 1, 1}, calls) })
	return all
}

// lies are chunks of 40 bytes that no encoder makes.
func lies() (all []chunk) {
	add := func(name string, make func(w *bitWriter)) {
		w := &bitWriter{}
		make(w)
		all = append(all, chunk{name: name, src: w.bytes()})
	}
	text := "forty bytes of what a guest has written."
	add("nothing", func(*bitWriter) {})
	add("kind 0", func(w *bitWriter) { w.put(0, 3).put(1, 1).put(0, 60) })
	add("kind 4", func(w *bitWriter) { w.put(4, 3).put(0, 1).put(40, 16).put(0, 60) })
	add("no bytes", func(w *bitWriter) { w.put(1, 3).put(0, 1).put(0, 16) })
	add("more bytes than there are", func(w *bitWriter) { w.plain([3]uint32{1, 1, 1}, text+text) })
	add("fewer bytes than there are", func(w *bitWriter) { w.plain([3]uint32{1, 1, 1}, text[:20]) })
	add("distance of 0", func(w *bitWriter) { w.plain([3]uint32{1, 0, 1}, text) })
	add("huge distance", func(w *bitWriter) { w.plain([3]uint32{1, 1 << 31, 1}, text) })
	add("plain block that is cut", func(w *bitWriter) { w.plain([3]uint32{1, 1, 1}, text); w.b = w.b[:50] })
	add("before the beginning", func(w *bitWriter) { w.compressed(1, 40, false); w.literals("abcd"); w.match(5, 4).put(1, 1) })
	add("a match beyond the block", func(w *bitWriter) { w.compressed(1, 40, false); w.literals(text[:38]); w.match(3, 4) })
	add("symbols that end too soon", func(w *bitWriter) { w.compressed(1, 40, false); w.literals(text[:20]) })
	add("too many codes", func(w *bitWriter) {
		w.put(1, 3).put(0, 1).put(40, 16)
		for range 20 {
			w.put(1, 4)
		}
		w.put(0, 400)
	})
	add("no codes at all", func(w *bitWriter) { w.put(1, 3).put(0, 1).put(40, 16).put(0, 400) })
	add("a run of lengths beyond the end", func(w *bitWriter) {
		w.put(1, 3).put(0, 1).put(40, 16)
		for i := range 20 {
			w.put(map[bool]uint32{true: 1}[i >= 18], 4) // 18: a run of zeros
		}
		for range 10 {
			w.put(0, 1).put(31, 5)
		}
	})
	return all
}

func TestLiesOfLZXAreErrors(t *testing.T) {
	t.Parallel()
	for _, c := range lies() {
		if len(c.src) == 40 {
			c.src = append(c.src, 0, 0) // not what is as long as its content
		}
		if err := decode(t, wof.LZX, 40, c.src); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

// xpressChunk is a chunk of XPRESS whose codes have 9 bits, but for those given.
func xpressChunk(symbols ...uint32) []byte {
	w := &bitWriter{}
	for range 256 {
		w.b = append(w.b, 0x99)
	}
	for _, s := range symbols {
		w.put(s, 9)
	}
	return w.bytes()
}

func TestLiesOfXPRESSAreErrors(t *testing.T) {
	t.Parallel()
	const size = 40
	for name, src := range map[string][]byte{
		"nothing":                  {},
		"a table that is cut":      bytes.Repeat([]byte{0x99}, 255),
		"no symbols":               bytes.Repeat([]byte{0x99}, 256),
		"no codes":                 append(make([]byte, 256), 1, 2, 3, 4, 5, 6),
		"too many codes":           append(bytes.Repeat([]byte{0x11}, 256), 1, 2, 3, 4, 5, 6),
		"before the beginning":     xpressChunk('a', 256+16, 0, 0, 0),
		"a match beyond the end":   append(xpressChunk('a', 256+15), 0, 0, 200, 0, 0),
		"a length that is cut":     xpressChunk('a', 256+15),
		"a long length cut":        append(xpressChunk('a', 256+15), 255, 1),
		"a long length beyond":     append(xpressChunk('a', 256+15), 0, 0, 255, 0xFF, 0xFF, 0, 0),
		"literals that end sooner": xpressChunk('a', 'b', 'c'),
	} {
		if err := decode(t, wof.XPRESS4K, size, src); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := decode(t, wof.XPRESS4K, 5000, make([]byte, 300)); err == nil {
		t.Error("a chunk may hold more than the method says")
	}
}

func TestALongMatchOfXPRESSGoesOnInBytes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{18, 200, 3 + 15 + 254, 3 + 15 + 255, 4000} {
		// Two words of symbols, and one more before the bytes of the length: a decoder
		// has at least 16 bits ahead of what it used.
		src := append(xpressChunk('x', 256+15), 0, 0)
		switch more := n - 18; {
		case more < 255:
			src = append(src, byte(more))
		default:
			src = binary.LittleEndian.AppendUint16(append(src, 255), uint16(n-3))
		}
		got, want := make([]byte, n+1), bytes.Repeat([]byte("x"), n+1)
		if err := wof.XPRESS4K.Decode(got, src); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a match of %d bytes: %v", n, err)
		}
	}
}

func TestATableThatLiesIsAnError(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]wof.Layout{
		"more chunks than bytes": {Method: wof.LZX, Size: 1 << 40, Stream: 1 << 20},
		"no stream":              {Method: wof.XPRESS4K, Size: 1},
		"negative":               {Method: wof.XPRESS4K, Size: -1, Stream: 10},
		"no method":              {Method: 9, Size: 1, Stream: 10},
		"the largest":            {Method: wof.XPRESS4K, Size: 1<<63 - 1, Stream: 1<<63 - 1},
	} {
		if err := l.Check(); (err == nil) != (name == "the largest") {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := wof.Layout{Method: wof.XPRESS4K, Size: 3*4096 - 1, Stream: 8 + 5000}
	for name, c := range map[string]struct {
		table [2]uint32
		good  []bool
	}{
		"right":          {[2]uint32{1000, 3000}, []bool{true, true, true}},
		"backward":       {[2]uint32{3000, 1000}, []bool{true, false, true}},
		"beyond the end": {[2]uint32{1000, 1 << 31}, []bool{true, false, false}},
		"empty":          {[2]uint32{0, 3000}, []bool{false, true, true}},
		"too long":       {[2]uint32{1, 4999}, []bool{true, false, true}},
	} {
		b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, c.table[0]), c.table[1])
		for i, good := range c.good {
			if _, _, err := l.Place(b, 0, int64(i)); (err == nil) != good {
				t.Errorf("%s: chunk %d: %v", name, i, err)
			}
		}
		if _, _, err := l.Place(b[:3], 0, 1); err == nil {
			t.Errorf("%s: a table that is cut is taken", name)
		}
	}
	large := wof.Layout{Method: wof.XPRESS4K, Size: 5 << 30, Stream: 5 << 30}
	off, n := large.Table(1024, 2)
	if off != 1023*8 || n != 3*8 {
		t.Errorf("the table of a large file: %d bytes at %d", n, off)
	}
	b := make([]byte, 24)
	binary.LittleEndian.PutUint64(b, 1<<32)
	binary.LittleEndian.PutUint64(b[8:], 1<<32+77)
	if from, to, err := large.Place(b, 1024, 1024); err != nil || to-from != 77 || from != (5<<30/4096-1)*8+1<<32 {
		t.Errorf("%d to %d, %v", from, to, err)
	}
}

func TestAReparsePointTellsTheMethod(t *testing.T) {
	t.Parallel()
	point := func(words ...uint32) (b []byte) {
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	for _, m := range methods {
		if got, err := wof.ParseReparse(point(1, 2, 1, uint32(m))); got != m || err != nil {
			t.Errorf("%s: %s, %v", m, got, err)
		}
	}
	var unknown *wof.UnknownError
	for name, c := range map[string]struct {
		b    []byte
		want func(error) bool
	}{
		"WIM":              {point(1, 1, 2, 0), func(err error) bool { return errors.Is(err, wof.ErrWIM) }},
		"another version":  {point(2, 2, 1, 0), func(err error) bool { return errors.As(err, &unknown) }},
		"another provider": {point(1, 3, 1, 0), func(err error) bool { return errors.As(err, &unknown) }},
		"another method":   {point(1, 2, 1, 4), func(err error) bool { return errors.As(err, &unknown) }},
		"cut":              {point(1, 2, 1), func(err error) bool { return err != nil && !errors.As(err, &unknown) }},
		"nothing":          {nil, func(err error) bool { return err != nil }},
	} {
		if _, err := wof.ParseReparse(c.b); !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryKindOfBlockIsDecompressed(t *testing.T) {
	t.Parallel()
	for _, c := range handmade() {
		got := make([]byte, len(c.want))
		if err := wof.LZX.Decode(got, c.src); err != nil || string(got) != c.want {
			t.Errorf("%s: %q %v, want %q", c.name, got, err, c.want)
		}
	}
}

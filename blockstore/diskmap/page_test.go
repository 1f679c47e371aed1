package diskmap

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestPagesAreEncodedAsEver(t *testing.T) {
	full := &Page{Level: 1}
	for i := range full.IDs {
		full.IDs[i] = number(uint64(i + 1))
	}
	sparse := &Page{Level: 2}
	sparse.IDs[0], sparse.IDs[3], sparse.IDs[63] = number(0x11), number(0x22), number(0x33)
	for name, p := range map[string]*Page{"full": full, "sparse": sparse, "empty": {Level: 1}} {
		golden := "testdata/page-" + name + ".golden"
		b := p.Encode(nil)
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
			t.Errorf("%s: encoded as\n%x, want\n%x", name, b, want)
		}
		if back, err := Decode(want, int(p.Level)); err != nil || *back != *p {
			t.Errorf("%s: decoded as %+v, %v", name, back, err)
		}
	}
}

func TestAPageThatCannotBeIsRefused(t *testing.T) {
	p := &Page{Level: 1}
	p.IDs[5] = number(1)
	good := p.Encode(nil)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		level  int
		err    error
		says   string
	}{
		"another level":   {func(b []byte) []byte { return b }, 2, ErrDamaged, "level 1"},
		"a later version": {func(b []byte) []byte { b[1] = 2; return b }, 1, ErrVersion, "version 2"},
		"cut short":       {func(b []byte) []byte { return b[:len(b)-1] }, 1, ErrDamaged, "47 bytes"},
		"too long":        {func(b []byte) []byte { return append(b, 0) }, 1, ErrDamaged, "49 bytes"},
		"no header":       {func(b []byte) []byte { return b[:15] }, 1, ErrDamaged, "15 bytes"},
		"a listed zero":   {func(b []byte) []byte { clear(b[16:]); return b }, 1, ErrDamaged, "zero ID"},
	} {
		_, err := Decode(c.change(bytes.Clone(good)), c.level)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLevelsAreAsManyAsTheBlocksNeed(t *testing.T) {
	for blocks, want := range map[int64]int{0: 1, 1: 1, 64: 1, 65: 2, 4096: 2, 4097: 3, 1 << 18: 3, 1<<18 + 1: 4, MaxBlocks: 8} {
		if got := Levels(blocks); got != want {
			t.Errorf("%d blocks have %d levels, want %d", blocks, got, want)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	p := &Page{Level: 1}
	f.Add(p.Encode(nil), 1)
	p.IDs[0], p.IDs[63] = number(1), number(2)
	f.Add(p.Encode(nil), 1)
	f.Add([]byte{1, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte, level int) {
		p, err := Decode(b, level)
		if err != nil {
			return
		}
		again := p.Encode(nil)
		if back, err := Decode(again, level); err != nil || *back != *p {
			t.Errorf("%x decodes to what decodes otherwise: %v", b, err)
		}
		clear(b[2:8]) // reserved
		if !bytes.Equal(again, b) {
			t.Errorf("%x is encoded as %x", b, again)
		}
	})
}

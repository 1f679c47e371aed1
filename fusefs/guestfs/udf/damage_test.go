package udf

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// entryOf is where the entry of a file of an image lies, for it to be changed.
func entryOf(t testing.TB, img []byte, names ...string) []byte {
	t.Helper()
	v := openBytes(t, img)
	e, err := v.entry(treetest.Find(t, v, names...))
	must(t, err)
	return img[e.at:][:v.block]
}

// lengthsOf is where an entry says how long its attributes and extents are; both follow.
func lengthsOf(p []byte) []byte {
	if le.Uint16(p) == tagExtendEntry {
		return p[208:]
	}
	return p[168:]
}

func TestWhatCannotBeIsDamageOfItsPathAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path   string
		damage func(t *testing.T, img []byte)
	}{
		"a list of extents in circles": {"large", func(t *testing.T, img []byte) {
			p := entryOf(t, img, "large")
			v := openBytes(t, img)
			more, at, err := v.readBlock(0, le.Uint32(lengthsOf(p)[8+32+4:]))
			must(t, err)
			copy(img[at+extentsHead:], lengthsOf(p)[8+32:8+48])
			_ = more
		}},
		"extents beyond the partition": {"large", func(t *testing.T, img []byte) { put32(lengthsOf(entryOf(t, img, "large"))[8+4:], 1<<31) }},
		"extents in no partition":      {"large", func(t *testing.T, img []byte) { lengthsOf(entryOf(t, img, "large"))[8+8] = 77 }},
		"a size beyond the extents":    {"large", func(t *testing.T, img []byte) { le.PutUint64(entryOf(t, img, "large")[56:], 1<<50) }},
		"a size of the upper half":     {"large", func(t *testing.T, img []byte) { le.PutUint64(entryOf(t, img, "large")[56:], 1<<63+5) }},
		"content beyond its entry":     {"short.txt", func(t *testing.T, img []byte) { le.PutUint64(entryOf(t, img, "short.txt")[56:], 6) }},
		"extents beyond their entry":   {"short.txt", func(t *testing.T, img []byte) { put32(lengthsOf(entryOf(t, img, "short.txt"))[4:], 1<<32-5) }},
		"another place in its tag":     {"short.txt", func(t *testing.T, img []byte) { entryOf(t, img, "short.txt")[12]++ }},
		"another kind of descriptor":   {"short.txt", func(t *testing.T, img []byte) { put32(entryOf(t, img, "short.txt"), 5|2<<16) }},
		"a kind that no file has":      {"short.txt", func(t *testing.T, img []byte) { entryOf(t, img, "short.txt")[27] = 99 }},
		"extents of an unknown form":   {"short.txt", func(t *testing.T, img []byte) { entryOf(t, img, "short.txt")[34] = 5 }},
		"a link of no components":      {"link", func(t *testing.T, img []byte) { le.PutUint64(entryOf(t, img, "link")[56:], 0) }},
		"a link that is cut short":     {"link", func(t *testing.T, img []byte) { lengthsOf(entryOf(t, img, "link"))[8+5] = 200 }},
		"a link of an unknown kind":    {"link", func(t *testing.T, img []byte) { lengthsOf(entryOf(t, img, "link"))[8] = 9 }},
		"a folder of no names":         {"sub", func(t *testing.T, img []byte) { put32(lengthsOf(entryOf(t, img, "sub"))[8:], 7) }},
		"a folder of 1 TiB":            {"sub", func(t *testing.T, img []byte) { le.PutUint64(entryOf(t, img, "sub")[56:], 1<<40) }},
		"names of unknown compression": {"sub", func(t *testing.T, img []byte) {
			p := entryOf(t, img, "sub")
			p[bytes.Index(p, []byte("\x08deep"))] = 7
		}},
		"a name with a slash": {"sub", func(t *testing.T, img []byte) {
			p := entryOf(t, img, "sub")
			copy(p[bytes.Index(p, []byte("\x08deep")):], "\x08d/ep")
		}},
	} {
		for kind, r := range recipes {
			if r.block == 512 && name == "a size beyond the extents" {
				continue
			}
			img := build(t, r)
			c.damage(t, img)
			if r.kind == mapMetadata { // whose mirror would stand in
				clear(img[(partitionAt+partitionBlocks-1)*r.block:][:r.block])
			}
			mend(img, r.block)
			v := openBytes(t, img)
			ino, err := v.Lookup(v.Root(), c.path)
			if err == nil {
				err = readAll(v, ino)
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s (%s): %v", name, kind, err)
			}
			if got, err := treetest.Content(v, treetest.Find(t, v, "hidden")); err != nil || string(got) != "there" {
				t.Errorf("%s (%s): another file: %q, %v", name, kind, got, err)
			}
		}
	}
}

// readAll reads a link, a folder, or the first and last MiB of a file.
func readAll(v *volume, ino uint64) error {
	a, err := v.Stat(ino)
	if err != nil {
		return err
	}
	if _, err = v.Readlink(ino); !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	for _, err := range v.ReadDir(ino) {
		if err != nil && !errors.Is(err, fs.ErrInvalid) {
			return err
		}
	}
	f, err := v.Open(ino)
	if errors.Is(err, fs.ErrInvalid) { // a folder
		return nil
	}
	if err != nil {
		return err
	}
	b := make([]byte, min(a.Size, 1<<20))
	for _, at := range []int64{0, a.Size - int64(len(b))} {
		if n, err := f.ReadAt(b, at); n < len(b) {
			return err
		}
	}
	return nil
}

func TestAFolderThatHoldsItselfIsListed(t *testing.T) {
	t.Parallel()
	img := build(t, recipes["built-sparable"])
	v := openBytes(t, img)
	p := entryOf(t, img, "sub")
	at := bytes.Index(p, []byte("\x08deep")) - identifierHead
	putLong(p[at+20:], 2048, uint32(treetest.Find(t, v, "sub")-1), 0)
	mend(img, 2048)
	treetest.Examine(t, Format, img)
}

func TestAVolumeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(img []byte){
		"no anchor":               func(img []byte) { clear(img[256*2048:][:2048]); clear(img[len(img)-2048:]) },
		"both sequences are gone": func(img []byte) { clear(img[mainAt*2048:][:2048*64]) },
		"blocks of 1000 bytes": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				put32(img[(at+2)*2048+212:], 1000)
			}
		},
		"no file set": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				put32(img[(at+2)*2048+248:], 0)
			}
		},
		"a file set in partition 9": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				img[(at+2)*2048+256] = 9
			}
		},
		"a million partitions": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				put32(img[(at+2)*2048+268:], 1_000_000)
			}
		},
		"a map of no length": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				img[(at+2)*2048+441] = 0
			}
		},
		"a partition that is not there": func(img []byte) {
			for _, at := range []int{mainAt, reserveAt} {
				img[(at+1)*2048+22] = 3
			}
		},
	} {
		for kind, r := range recipes {
			if r.block != 2048 {
				continue
			}
			img := build(t, r)
			damage(img)
			mend(img, 2048)
			if _, err := Format.Open(bytes.NewReader(img), int64(len(img)), tree.Options{}); !isCorrupt(err) {
				t.Errorf("%s (%s): %v", name, kind, err)
			}
		}
	}
	whole := build(t, recipes["built-sparable"])
	for _, size := range []int{0, 1, 32768, 40000, 256 * 2048} {
		if Format.Probe(bytes.NewReader(whole[:size]), int64(size)) {
			t.Errorf("%d bytes are taken for one", size)
		}
	}
}

func TestTheSecondCopyStandsInForTheFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		recipe string
		damage func(img []byte)
		note   string
	}{
		"the first anchor":        {"built-sparable", func(img []byte) { clear(img[256*2048:][:2048]) }, ""},
		"the main sequence":       {"built-sparable", func(img []byte) { clear(img[mainAt*2048:][:2048]) }, "reserve"},
		"the first sparing table": {"built-sparable", func(img []byte) { clear(img[sparingAt*2048:][:2048]) }, ""},
		"the metadata file":       {"built-metadata", func(img []byte) { clear(img[partitionAt*2048:][:2048]) }, "mirror"},
		"the mirror":              {"built-metadata", func(img []byte) { clear(img[(partitionAt+partitionBlocks-1)*2048:][:2048]) }, ""},
		"what the metadata file holds": {"built-metadata", func(img []byte) {
			clear(img[(partitionAt+2)*2048:][:2048])
		}, ""},
		"an open volume": {"built-metadata", func(img []byte) { img[integrityAt*2048+28] = 0 }, "not closed"},
	} {
		img := build(t, recipes[c.recipe])
		want := treetest.Reading(t, openBytes(t, img))
		c.damage(img)
		mend(img, 2048)
		v := openBytes(t, img)
		treetest.Same(t, want, treetest.Reading(t, v), func(string, *treetest.Fact) {})
		if notes := strings.Join(v.Info().Notes, ";"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
			t.Errorf("%s: notes %q", name, notes)
		}
	}
}

// TestTheNewestSparingTableCounts is what Linux does not look at: it takes the first.
func TestTheNewestSparingTableCounts(t *testing.T) {
	t.Parallel()
	img := build(t, recipes["built-sparable"])
	want := treetest.Reading(t, openBytes(t, img))
	put32(img[sparingAt*2048+52:], 0, movedPacket, 7)
	mend(img, 2048)
	treetest.Same(t, want, treetest.Reading(t, openBytes(t, img)), func(string, *treetest.Fact) {})
}

// places are what is worth changing: descriptors, not content.
func places(b []byte, block int) (where []int) {
	for at := 0; at+block <= len(b); at += block {
		if kind := le.Uint16(b[at:]); (kind == 0 || kind > tagExtendEntry || b[at+5] != 0) && at > 64<<10 {
			continue
		}
		for i := at; i < at+min(block, 700); i++ {
			if b[i] != 0 {
				where = append(where, i)
			}
		}
	}
	return where
}

func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, r := range recipes {
		b := build(t, r)
		if damaged := treetest.Mutants(t, Format, b, places(b, int(r.block)), 60, func(b []byte) { mend(b, r.block) }); damaged < 10 {
			t.Errorf("%s: only %d of the mutants were damaged: the test proves nothing", name, damaged)
		}
	}
}

// FuzzVolume examines mutants whose checksums are right.
func FuzzVolume(f *testing.F) {
	names := []string{"built-physical-512", "built-sparable", "built-virtual", "built-virtual-old", "built-metadata"}
	var all [][]byte
	var where [][]int
	for _, name := range names {
		b := build(f, recipes[name])
		all, where = append(all, b), append(where, places(b, int(recipes[name].block)))
	}
	f.Add(uint8(0), []byte{0, 0, 5, 200, 1})
	f.Add(uint8(2), []byte{0, 9, 90, 7, 0, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if i := int(which) % len(all); len(edits) <= 400 {
			m := treetest.Mutate(all[i], where[i], edits)
			mend(m, recipes[names[i]].block)
			treetest.Examine(t, Format, m)
		}
	})
}

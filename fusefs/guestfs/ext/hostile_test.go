package ext

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// find returns the number of a file before anything is changed.
func (p *patient) find(t *testing.T, path string) uint32 {
	t.Helper()
	ino, err := resolve(p.volume(t), path)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(ino)
}

// node returns the first block of one kind that an inode has.
func (p *patient) node(t *testing.T, kind int, ino uint32) place {
	t.Helper()
	for _, at := range p.places {
		if at.kind == kind && at.ino == ino {
			return at
		}
	}
	t.Fatalf("inode %d has no structure of kind %d", ino, kind)
	return place{}
}

// harms are structures made to lie, and what is damaged by it. Everything else
// must be as before.
var harms = []struct {
	name, path string
	do         func(t *testing.T, p *patient, ino uint32)
}{
	{"an extent tree whose node is its own child", "/far", func(t *testing.T, p *patient, ino uint32) {
		at := p.node(t, placeExtents, ino)
		b := p.block(at.block)
		le.PutUint16(b[6:], 1)
		le.PutUint16(b[2:], 1)
		le.PutUint32(b[12:], 0)
		le.PutUint32(b[16:], uint32(at.block))
		le.PutUint16(p.inode(ino)[wordsAt+6:], 2)
	}},
	{"an extent tree deeper than any", "/far", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint16(p.inode(ino)[wordsAt+6:], 60_000)
	}},
	{"an extent tree with more entries than its node has", "/file", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint16(p.inode(ino)[wordsAt+2:], 300)
		le.PutUint16(p.inode(ino)[wordsAt+4:], 300)
	}},
	{"extents out of order", "/far", func(t *testing.T, p *patient, ino uint32) {
		b := p.block(p.node(t, placeExtents, ino).block)
		le.PutUint32(b[24:], 0)
	}},
	{"an extent past the volume", "/file", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint32(p.inode(ino)[wordsAt+20:], 3_000_000_000)
	}},
	{"an extent of no blocks", "/file", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint16(p.inode(ino)[wordsAt+16:], 0)
	}},
	{"a size beyond any file", "/file", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint32(p.inode(ino)[0x6C:], 0x80000000)
	}},
	{"a size of 2^62", "/file", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint32(p.inode(ino)[0x6C:], 0x40000000)
	}},
	{"a symbolic link of a gigabyte", "/link", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint32(p.inode(ino)[4:], 1<<30)
	}},
	{"an entry of no length", "/large", func(t *testing.T, p *patient, ino uint32) {
		for _, at := range p.places {
			if at.kind == placeFolder && at.ino == ino {
				le.PutUint16(p.block(at.block)[4:], 0)
			}
		}
	}},
	{"a name longer than its entry", "/large", func(t *testing.T, p *patient, ino uint32) {
		for _, at := range p.places {
			if at.kind == placeFolder && at.ino == ino {
				p.block(at.block)[6] = 255
			}
		}
	}},
	{"an attribute beyond its block", "/attributes", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint16(p.block(p.node(t, placeXattrs, ino).block)[xattrHeader+2:], 60_000)
	}},
	{"an attribute kept in a folder", "/attributes", func(t *testing.T, p *patient, ino uint32) {
		le.PutUint32(p.block(p.node(t, placeXattrs, ino).block)[xattrHeader+4:], 2)
	}},
	{"an inode with another checksum", "/file", func(t *testing.T, p *patient, ino uint32) {
		p.inode(ino)[0x7C] ^= 1
	}},
}

// TestALieHarmsOnlyTheFileThatTellsIt changes one structure at a time.
func TestALieHarmsOnlyTheFileThatTellsIt(t *testing.T) {
	t.Parallel()
	for _, c := range harms {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := sample(t, 1)
			before := harmless(p.volume(t))
			c.do(t, p, p.find(t, c.path))
			if !strings.Contains(c.name, "checksum") {
				p.seal()
			}
			after := harmless(p.volume(t))
			for path, was := range before {
				below := path == c.path || strings.HasPrefix(path, c.path+"/")
				if is := after[path]; !below && is != was {
					t.Errorf("%s is harmed: %s\nwas %s", path, is, was)
				}
			}
			if !strings.Contains(after[c.path], "damaged") {
				t.Errorf("%s does not say that it is damaged: %s", c.path, after[c.path])
			}
			examine(p.b, true)
		})
	}
}

// harmless reads all it can.
func harmless(v *volume) facts {
	all := facts{}
	var walk func(ino uint64, path string)
	walk = func(ino uint64, path string) {
		all[path] = ourFacts(v, ino)
		if a, err := v.Stat(ino); err != nil || a.Mode&modeType != modeDir || strings.Count(path, "/") > 8 {
			return
		}
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				all[path] += "\n" + err.Error()
			}
			if e.Name != "" {
				walk(e.Ino, path+"/"+e.Name)
			}
		}
	}
	walk(v.Root(), "")
	return all
}

// TestABlockMapThatNamesItselfEnds has every word of a block name the block itself,
// on all levels: a file of sixteen million blocks, all one.
func TestABlockMapThatNamesItselfEnds(t *testing.T) {
	t.Parallel()
	p := sample(t, 2)
	ino := p.find(t, "/far")
	raw := p.inode(ino)
	block := le.Uint32(raw[wordsAt+4*(direct+1):])
	for at := range p.block(uint64(block)) {
		if at%4 == 0 {
			le.PutUint32(p.block(uint64(block))[at:], block)
		}
	}
	for i := range 3 {
		le.PutUint32(raw[wordsAt+4*(direct+i):], block)
	}
	le.PutUint32(raw[4:], 0)
	le.PutUint32(raw[0x6C:], 4) // 16 GiB
	le.PutUint32(p.b[1024+4:], 1<<31)
	le.PutUint32(p.b[1024+0x20:], 1<<13)
	groups := uint32(1<<31+1<<13-1-1) / (1 << 13)
	le.PutUint32(p.b[1024:], groups*p.super.inodesPerGroup) // a superblock that says there are as many
	v := p.volume(t)
	f, err := v.Open(uint64(ino))
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := 0, error(nil)
	for _, err = range f.Extents() {
		pieces++
	}
	var corrupt *tree.CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("%d pieces, then %v", pieces, err)
	}
}

// TestAFolderWithinItselfIsHarmless: a reader answers by inode, and does not walk.
func TestAFolderWithinItselfIsHarmless(t *testing.T) {
	t.Parallel()
	p := sample(t, 2)
	small, er := p.find(t, "/small"), p.find(t, "/small/er")
	b := p.block(p.node(t, placeFolder, small).block)
	at := bytes.Index(b, []byte("er"))
	if le.Uint32(b[at-8:]) != er {
		t.Fatal("that is not the entry")
	}
	le.PutUint32(b[at-8:], small)
	v := p.volume(t)
	for range 50 {
		ino, err := v.Lookup(uint64(small), "er")
		if ino != uint64(small) || err != nil {
			t.Fatalf("inode %d, %v", ino, err)
		}
	}
}

// TestNamesThatWouldEscapeAreErrorsOfTheirEntry keeps the rest of the folder.
func TestNamesThatWouldEscapeAreErrorsOfTheirEntry(t *testing.T) {
	t.Parallel()
	p := sample(t, 2)
	dir := p.find(t, "/small")
	b := p.block(p.node(t, placeFolder, dir).block)
	at := bytes.Index(b, []byte("inline"))
	for _, name := range []string{"../../", "a/b\x00cd"[:6], "/etc/x"} {
		copy(b[at:], name)
		good, bad := 0, 0
		for e, err := range p.volume(t).ReadDir(uint64(dir)) {
			var corrupt *tree.CorruptError
			switch {
			case err == nil:
				good++
			case errors.As(err, &corrupt) && len(e.Name) > 0 && !strings.ContainsAny(e.Name, "/\x00"):
				bad++
			default:
				t.Errorf("%q: %v", e.Name, err)
			}
		}
		if good != 1 || bad != 1 {
			t.Errorf("%q: %d entries are good, %d bad", name, good, bad)
		}
		if _, err := p.volume(t).Lookup(uint64(dir), name); err == nil {
			t.Errorf("%q is found", name)
		}
	}
}

// TestDamageToTheSuperblockIsMadeGoodByItsCopies wipes and bends the first one.
func TestDamageToTheSuperblockIsMadeGoodByItsCopies(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"-t ext4 -b 1024", "-t ext4 -b 1024 -O sparse_super2", "-t ext3 -b 1024", "-t ext4 -b 1024 -O meta_bg,^resize_inode",
		"-t ext4 -b 1024 -O bigalloc -C 16384", "-t ext4 -b 1024 -g 4096 -O ^resize_inode"} {
		image := mkfs(t, 160<<20, strings.Fields(options)...)
		whole, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		for name, harm := range map[string]func(b []byte){
			"wiped":                    func(b []byte) { clear(b[:2048]) },
			"wiped with descriptors":   func(b []byte) { clear(b[:4096]) },
			"no magic number":          func(b []byte) { b[1024+0x38] = 0 },
			"a million inodes a group": func(b []byte) { le.PutUint32(b[1024+0x28:], 1<<20); sealSuper(b) },
		} {
			if strings.HasPrefix(name, "wiped") && strings.Contains(options, "-g") {
				continue // nothing tells any more how large groups are
			}
			b := bytes.Clone(whole)
			harm(b)
			if !Format.Probe(bytes.NewReader(b), int64(len(b))) {
				t.Errorf("%s, %s: not taken for an ext file system", options, name)
				continue
			}
			fsys, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{})
			if strings.Contains(name, "descriptors") && !strings.Contains(options, "ext4") {
				continue // nothing there says that they are wrong
			}
			if err != nil {
				t.Errorf("%s, %s: %v", options, name, err)
				continue
			}
			if _, err := fsys.Lookup(2, "lost+found"); err != nil || len(fsys.Info().Notes) == 0 {
				t.Errorf("%s, %s: %v, %+v", options, name, err, fsys.Info())
			}
		}
		b := bytes.Clone(whole)
		clear(b[:2048])
		copy(b, "XFSB")
		if Format.Probe(bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s: what was made over it is taken for it", options)
		}
	}
}

// TestFeaturesThatAreNotKnownAreRefusedByName never guesses.
func TestFeaturesThatAreNotKnownAreRefusedByName(t *testing.T) {
	t.Parallel()
	for bit, name := range map[uint32]string{1: "compression", 8: "journal_dev", 0x1000: "dirdata", 1 << 30: "0x40000000"} {
		p := sample(t, 0)
		le.PutUint32(p.b[1024+0x60:], le.Uint32(p.b[1024+0x60:])|bit)
		p.seal()
		_, err := Format.Open(bytes.NewReader(p.b), int64(len(p.b)), tree.Options{})
		var unsupported *tree.UnsupportedError
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("bit %#x: %v", bit, err)
		}
	}
}

// TestNamesAreFoundWhereTheHashTreeIsOfNoUse spoils its root in several ways.
func TestNamesAreFoundWhereTheHashTreeIsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(root []byte){
		"an unknown hash":          func(root []byte) { root[28] = 99 },
		"too many levels":          func(root []byte) { root[30] = 9 },
		"leaves past its end":      func(root []byte) { le.PutUint32(root[36:], 1<<20); le.PutUint32(root[44:], 1<<20) },
		"its root is its own leaf": func(root []byte) { root[30] = 2; clear(root[36:40]); clear(root[44:48]) },
		"more pairs than fit":      func(root []byte) { le.PutUint16(root[34:], 5000) },
	} {
		p := sample(t, 2)
		large := p.find(t, "/large")
		harm(p.block(p.node(t, placeFolder, large).block))
		v := p.volume(t)
		found := 0
		for e, err := range v.ReadDir(uint64(large)) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if ino, err := v.Lookup(uint64(large), e.Name); ino == e.Ino && err == nil {
				found++
			}
		}
		if found != 120 {
			t.Errorf("%s: %d of 120 names are found", name, found)
		}
	}
}

// TestManyReadersShareAVolume with caches so small that pages come and go.
func TestManyReadersShareAVolume(t *testing.T) {
	t.Parallel()
	p := sample(t, 0)
	fsys, err := Format.Open(bytes.NewReader(p.b), int64(len(p.b)), tree.Options{Memory: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	v := fsys.(*volume)
	want := harmless(v)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for path, is := range harmless(v) {
				if want[path] != is {
					t.Errorf("%s: %s, want %s", path, is, want[path])
				}
			}
			for _, name := range []string{"file", "far", "link"} {
				if _, err := v.Lookup(v.Root(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

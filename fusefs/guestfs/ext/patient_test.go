package ext

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// patient is an image in memory whose structures are changed, and whose checksums
// are put right again: else those would hide what lies behind them.
type patient struct {
	b      []byte
	super  super
	places []place
	tables []int64
}

// place is a structure with a checksum.
type place struct {
	kind  int // placeX
	block uint64
	ino   uint32
}

const (
	placeExtents = iota
	placeFolder
	placeXattrs
)

// sampleImages are small and full of structures. The first has a dirty journal.
var sampleImages = []struct{ options, journal string }{
	{"-t ext4 -b 1024 -O inline_data,ea_inode,large_dir", "jo -c -v 3"},
	{"-t ext4 -b 1024 -O ^inline_data,ea_inode,casefold -E encoding=utf8", ""},
	{"-t ext2 -b 1024", ""},
	{"-t ext4 -b 4096 -O ^metadata_csum,uninit_bg,bigalloc", ""},
	{"-t ext3 -b 1024", "jo"}, // a journal without checksums
}

var samples [5]struct {
	once sync.Once
	b    []byte
}

// sample returns a patient; it is made once, and copied.
func sample(t testing.TB, n int) *patient {
	t.Helper()
	needs.Tools(t, "mke2fs", "debugfs")
	s := &samples[n]
	s.once.Do(func() { s.b = makeSample(t, n) })
	if s.b == nil {
		t.Fatal("the image could not be made")
	}
	return newPatient(t, s.b)
}

func makeSample(t testing.TB, n int) []byte {
	t.Helper()
	dir := treetest.Scratch(t)
	source := filepath.Join(dir, "source")
	os.MkdirAll(filepath.Join(source, "large"), 0o755)
	os.MkdirAll(filepath.Join(source, "small/er"), 0o755)
	for i := range 120 {
		os.WriteFile(filepath.Join(source, "large", fmt.Sprintf("%d is a name that takes up its place in a folder", i)), nil, 0o600)
	}
	os.WriteFile(filepath.Join(source, "small/inline"), pattern(1, 100), 0o600)
	os.WriteFile(filepath.Join(source, "file"), pattern(1, 30_000), 0o600)
	os.WriteFile(filepath.Join(source, "attributes"), pattern(3, 2000), 0o600)
	os.Symlink(strings.Repeat("l", 100), filepath.Join(source, "link"))
	far, err := os.Create(filepath.Join(source, "far"))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for i := range 12 { // as far as the block map goes, and more extents than an inode has
		far.WriteAt(pattern(i, 5000), int64(i)*6<<20)
	}
	image := mkfs(t, 3<<20, append(strings.Fields(sampleImages[n].options), "-N", "200", "-d", source)...)
	value := filepath.Join(dir, "value")
	os.WriteFile(value, pattern(9, 900), 0o600)
	script := []string{"ea_set /attributes user.one 1", "ea_set -f " + value + " /attributes user.block", "ea_set /link trusted.x y"}
	if j := sampleImages[n].journal; j != "" {
		data := filepath.Join(dir, "data")
		os.WriteFile(data, pattern(4, 8<<10), 0o600)
		script = append(script, j, "jw -b 2900-2907 "+data, "jw -r 2903", "jc")
	}
	path := filepath.Join(dir, "script")
	os.WriteFile(path, []byte(strings.Join(script, "\n")+"\n"), 0o600)
	treetest.Run(t, "sh", "-c", `e2fsck -fyD "$0"; [ $? -le 1 ]`, image)
	treetest.Run(t, "debugfs", "-w", "-f", path, image)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newPatient(t testing.TB, b []byte) *patient {
	t.Helper()
	p := &patient{b: bytes.Clone(b)}
	v := p.volume(t)
	p.super = v.sb
	add := func(kind int, ino uint32, block uint64) { p.places = append(p.places, place{kind, block, ino}) }
	for g := range v.sb.groups {
		d, err := v.group(g)
		if err != nil {
			t.Fatal(err)
		}
		p.tables = append(p.tables, int64(d.table)*v.sb.blockSize)
	}
	for ino := uint32(1); ino <= v.sb.inodes; ino++ {
		in, err := v.anyInode(ino)
		if err != nil {
			continue
		}
		if n := in.xattrBlock(); n != 0 {
			add(placeXattrs, ino, n)
		}
		m, err := v.mapping(&in)
		if in.has(flagInline) || err != nil {
			continue
		}
		if m.tree {
			var nodes func(n extentNode)
			nodes = func(n extentNode) {
				for i := 0; n.depth > 0 && i < n.count; i++ {
					add(placeExtents, ino, n.child(i))
					child, _, _ := v.block(n.child(i))
					nodes(openNode(child))
				}
			}
			nodes(openNode(m.words[:]))
		}
		size, _ := v.sizeOf(&in)
		for at := int64(0); in.kind() == modeDir && at < size/v.sb.blockSize; at++ {
			if r, err := v.at(&m, uint64(at)); err == nil && r.data {
				add(placeFolder, ino, r.physical)
			}
		}
	}
	return p
}

func (p *patient) volume(t testing.TB) *volume {
	t.Helper()
	fsys, err := Format.Open(bytes.NewReader(p.b), int64(len(p.b)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return fsys.(*volume)
}

func (p *patient) block(n uint64) []byte {
	size := uint64(p.super.blockSize)
	return p.b[n*size:][:size]
}

// inode returns the bytes of one where it was at the beginning.
func (p *patient) inode(ino uint32) []byte {
	return p.table((ino - 1) / p.super.inodesPerGroup)[(ino-1)%p.super.inodesPerGroup*p.super.inodeSize:][:p.super.inodeSize]
}

// table is a group's inodes, where they were before anything was changed.
func (p *patient) table(g uint32) []byte { return p.b[p.tables[g]:] }

func (p *patient) desc(g uint32) []byte {
	at, _ := p.super.descBlocks(0)
	return p.block(at)[g*p.super.descSize:][:p.super.descSize]
}

// seal puts all checksums right.
func (p *patient) seal() {
	s := &p.super
	if !s.hasCsum() {
		if s.ro&roGdtCsum != 0 {
			for g := range s.groups {
				le.PutUint16(p.desc(g)[0x1E:], s.descSum(p.desc(g), g))
			}
		}
		return
	}
	s.csumSeed = crc32c(allOnes, p.b[1024+0x68:][:16])
	seeds := map[uint32]uint32{}
	for g := range s.groups {
		le.PutUint16(p.desc(g)[0x1E:], s.descSum(p.desc(g), g))
		table := p.table(g)
		for i := range s.inodesPerGroup {
			if int(i+1)*int(s.inodeSize) > len(table) {
				break
			}
			raw := table[i*s.inodeSize:][:s.inodeSize]
			ino := g*s.inodesPerGroup + i + 1
			seeds[ino] = crc32cWord(crc32cWord(s.csumSeed, ino), le.Uint32(raw[0x64:]))
			if le.Uint16(raw) != 0 {
				s.sealInode(ino, raw)
			}
		}
	}
	for _, place := range p.places {
		p.sealBlock(place, seeds[place.ino])
	}
	sealSuper(p.b)
}

func (p *patient) sealBlock(at place, seed uint32) {
	b := p.block(at.block)
	switch at.kind {
	case placeExtents:
		if tail := extentHeader + int(le.Uint16(b[4:]))*extentEntry; tail+4 <= len(b) {
			le.PutUint32(b[tail:], crc32c(seed, b[:tail]))
		}
	case placeXattrs:
		le.PutUint32(b[0x10:], xattrSum(p.super.csumSeed, at.block, b))
	case placeFolder:
		v := volume{sb: p.super}
		if n, ok := openHashNode(b, v.recordLength); ok {
			if tail := n.tail(); tail != nil {
				le.PutUint32(tail[4:], n.sum(seed))
			}
			return
		}
		end := len(b) - tailSize
		copy(b[end:], []byte{0, 0, 0, 0, tailSize, 0, 0, tailType})
		le.PutUint32(b[end+8:], crc32c(seed, b[:end]))
	}
}

// counter counts what is read, and panics when it is more than any volume of its
// size should cost.
type counter struct {
	r     io.ReaderAt
	mu    sync.Mutex
	reads int
	limit int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reads++; c.reads > c.limit {
		panic(fmt.Sprintf("more than %d reads", c.limit))
	}
	return c.r.ReadAt(p, off)
}

// examine opens an image and uses all that there is of it, within bounds of its own.
// It returns how many entries it met without damage.
func examine(b []byte, mutant bool) (good int) {
	c := &counter{r: bytes.NewReader(b), limit: 1_000_000}
	if !Format.Probe(c, int64(len(b))) && mutant {
		return 0
	}
	fsys, err := Format.Open(c, int64(len(b)), tree.Options{Memory: 4 << 20})
	if err != nil {
		return 0
	}
	fsys.Info()
	buf := make([]byte, 64<<10)
	left := 2000 // entries; cycles end here
	var walk func(ino uint64, depth int)
	walk = func(ino uint64, depth int) {
		for e, err := range fsys.ReadDir(ino) {
			if left--; left < 0 || depth > 20 {
				return
			}
			if err != nil || e.Name == "" {
				continue
			}
			fsys.Lookup(ino, e.Name)
			if examineInode(fsys, e.Ino, buf) == nil {
				good++
			}
			if a, err := fsys.Stat(e.Ino); err == nil && a.Mode&modeType == modeDir {
				walk(e.Ino, depth+1)
			}
		}
		fsys.Lookup(ino, "not there")
	}
	walk(fsys.Root(), 0)
	for ino := range uint64(220) { // also what no folder names
		examineInode(fsys, ino, buf)
	}
	return good
}

func examineInode(fsys tree.FileSystem, ino uint64, buf []byte) error {
	a, err := fsys.Stat(ino)
	if err != nil {
		return err
	}
	names, err := fsys.Xattrs(ino)
	for _, name := range names {
		fsys.Xattr(ino, name)
	}
	if a.Mode&modeType == modeLink {
		_, err = fsys.Readlink(ino)
	}
	f, openErr := fsys.Open(ino)
	if openErr != nil {
		return err
	}
	pieces := 0
	for e, extentErr := range f.Extents() {
		if extentErr != nil || pieces > 500 {
			err = extentErr
			break
		}
		pieces++
		if _, readErr := f.ReadAt(buf, e.Off); readErr != nil && readErr != io.EOF {
			err = readErr
		}
	}
	f.ReadAt(buf, a.Size-100)
	f.ReadAt(buf, a.Size/2)
	return err
}

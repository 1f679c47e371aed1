package ext

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// dirtyOptions are journals of each kind that a kernel writes: how the file system
// is made, how it is mounted, how many rounds of writing go round the journal.
var dirtyOptions = []struct {
	name, mkfs, mount string
	rounds            int
}{
	{"checksums of the third kind", "-t ext4 -b 4096", "", 3},
	{"small and gone round", "-t ext4 -b 1024 -J size=1", "", 12},
	{"content in the journal", "-t ext4 -b 1024", "data=journal", 3},
	{"no checksums", "-t ext3 -b 4096", "", 3},
	{"no checksums, gone round, content", "-t ext3 -b 1024 -J size=1", "data=journal", 8},
	{"checksums of the first kind", "-t ext4 -O ^metadata_csum", "journal_checksum", 3},
	{"asynchronous commits", "-t ext4 -O ^metadata_csum -b 1024", "journal_async_commit,data=writeback", 3},
	{"32 bits", "-t ext4 -O ^64bit", "", 3},
	{"orphan_file and inline_data", "-t ext4 -O orphan_file,inline_data", "", 3},
	{"bigalloc", "-t ext4 -O bigalloc", "", 3},
}

// TestADirtyJournalIsReadAsTheKernelReplaysIt copies an image while it is mounted,
// behind an fsync: what it wrote is in the journal and nowhere else. (An image of
// a file system that was shut down and unmounted would read the same without.)
func TestADirtyJournalIsReadAsTheKernelReplaysIt(t *testing.T) {
	t.Parallel()
	for _, c := range dirtyOptions {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := mkfs(t, 64<<20, strings.Fields(c.mkfs)...)
			dir, unmount := mounted(t, image, "commit=300,"+c.mount)
			for round := range c.rounds {
				load(t, dir, round)
			}
			dirty := copyImage(t, image)
			unmount()
			v := opened(t, dirty, tree.Options{})
			got := ours(t, v)
			if info := v.Info(); info.Journal != tree.Replayed || len(info.Notes) > 0 {
				t.Errorf("info: %+v", info)
			}
			if stale := staleBlocks(t, v); stale == 0 {
				t.Error("the replay made no difference, so this test proves nothing")
			}
			replayed, _ := mounted(t, dirty, "")
			os.Remove(filepath.Join(replayed, "made by the mount"))
			want := theirs(t, replayed)
			same(t, got, want)
		})
	}
}

// staleBlocks counts those that differ from their copy in the journal.
func staleBlocks(t *testing.T, v *volume) (stale int) {
	t.Helper()
	o, ok := v.dev.(*overlay)
	if !ok {
		return 0
	}
	was, is := make([]byte, o.block), make([]byte, o.block)
	for _, c := range o.copies {
		if tree.ReadFull(o.dev, was, int64(c.block)*o.block) != nil || tree.ReadFull(o, is, int64(c.block)*o.block) != nil {
			t.Fatal("cannot read a block")
		}
		if !bytes.Equal(was, is) {
			stale++
		}
	}
	return stale
}

// load writes, renames and removes, and forces it into the journal. Folders give
// their blocks back, so that there are revoke records, and content begins with the
// journal's magic number, so that it has to be escaped there.
func load(t *testing.T, dir string, round int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(format string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(format, args...)) }
	for i := range 12 {
		must(os.MkdirAll(at("d%d/sub%d", round, i), 0o755))
	}
	for i := range 150 {
		b := append([]byte{0xC0, 0x3B, 0x39, 0x98}, pattern(round*1000+i, i*40)...)
		must(os.WriteFile(at("d%d/file %d", round, i), b, 0o640))
	}
	must(os.Symlink(strings.Repeat("s", 100), at("d%d/link", round)))
	syncFile(t, at("d%d", round))
	if round > 0 {
		old := round - 1
		for i := range 12 {
			must(os.Remove(at("d%d/sub%d", old, i)))
		}
		for i := 0; i < 150; i += 2 {
			must(os.Remove(at("d%d/file %d", old, i)))
		}
		must(os.Rename(at("d%d/file 7", old), at("moved %d", old)))
		must(os.Truncate(at("d%d/file 149", old), 1000))
	}
	for i := range 8 {
		path := at("d%d/reuses blocks %d", round, i)
		must(os.WriteFile(path, append([]byte{0xC0, 0x3B, 0x39, 0x98}, pattern(round+i, 20_000)...), 0o600))
		syncFile(t, path)
	}
	syncFile(t, dir)
}

func syncFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// TestAJournalMadeByDebugfsIsReadAsE2fsckReplaysIt needs neither root nor a kernel:
// every block that e2fsck puts in place must read the same through the overlay.
func TestAJournalMadeByDebugfsIsReadAsE2fsckReplaysIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, mkfs, open string }{
		{"none", "-t ext4 -b 1024 -O ^metadata_csum", "jo"},
		{"32 bits", "-t ext3 -b 1024", "jo"},
		{"second kind", "-t ext4 -b 1024", "jo -c -v 2"},
		{"second kind, 32 bits", "-t ext4 -b 1024 -O ^64bit", "jo -c -v 2"},
		{"third kind", "-t ext4 -b 1024", "jo -c -v 3"},
		{"third kind, blocks of 4 KiB", "-t ext4 -b 4096", "jo -c -v 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := mkfs(t, 24<<20, strings.Fields(c.mkfs)...)
			dir := treetest.Scratch(t)
			data := filepath.Join(dir, "data")
			escaped := filepath.Join(dir, "escaped")
			os.WriteFile(data, pattern(1, 40*4096), 0o600)
			os.WriteFile(escaped, append([]byte{0xC0, 0x3B, 0x39, 0x98}, pattern(2, 4092)...), 0o600)
			script := filepath.Join(dir, "script")
			os.WriteFile(script, []byte(strings.Join([]string{
				c.open,
				"jw -b 5000-5029 " + data, // written, then partly revoked
				"jw -b 5100 " + escaped,
				"jw -r 5003-5010,5100",
				"jw -b 5005-5006 " + escaped, // and once more
				"jw -b 5050 " + data + " -c", // never committed
				"jc", "",
			}, "\n")), 0o600)
			if out := treetest.Run(t, "debugfs", "-w", "-f", script, image); strings.Contains(out, "rror") {
				t.Fatal(out)
			}
			v := opened(t, image, tree.Options{})
			if info := v.Info(); info.Journal != tree.Replayed {
				t.Errorf("info: %+v", info)
			}
			fixed := copyImage(t, image)
			if out, err := treetest.Try("e2fsck", "-y", "-E", "journal_only", fixed); err != nil && !strings.Contains(err.Error(), "status 1") {
				t.Fatalf("%v: %s", err, out)
			}
			want, err := os.ReadFile(fixed)
			if err != nil {
				t.Fatal(err)
			}
			block := v.sb.blockSize
			got := make([]byte, 200*block)
			if err := tree.ReadFull(v.dev, got, 4950*block); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want[4950*block:][:len(got)]) {
				t.Error("the blocks differ from those that e2fsck wrote")
			}
			odd := make([]byte, 3*block+5)
			if err := tree.ReadFull(v.dev, odd, 4999*block+7); err != nil || !bytes.Equal(odd, want[4999*block+7:][:len(odd)]) {
				t.Error("a read across the edges of blocks differs")
			}
		})
	}
}

// TestAJournalThatCannotBeReplayedIsSaidSo covers each reason.
func TestAJournalThatCannotBeReplayedIsSaidSo(t *testing.T) {
	t.Parallel()
	image := mkfs(t, 24<<20, "-t", "ext4", "-b", "1024")
	dir := treetest.Scratch(t)
	data := filepath.Join(dir, "data")
	os.WriteFile(data, pattern(1, 1<<20), 0o600)
	script := filepath.Join(dir, "script")
	os.WriteFile(script, []byte("jo -c -v 3\njw -b 5000-5900 "+data+"\njc\n"), 0o600)
	treetest.Run(t, "debugfs", "-w", "-f", script, image)
	clean := opened(t, image, tree.Options{})
	in, err := clean.anyInode(clean.sb.journalIno)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := clean.mapping(&in)
	r, _ := clean.at(&m, 0)
	super := int64(r.physical) * 1024

	for name, c := range map[string]struct {
		change func(b []byte)
		memory int64
		note   string
	}{
		"too large for the memory":  {memory: 4 * 64 * 500, note: "memory"},
		"unknown feature":           {change: func(b []byte) { b[super+0x28] |= 0x80 }, note: "does not know"},
		"another checksum":          {change: func(b []byte) { b[super+0x20] ^= 1 }, note: "checksum"},
		"no superblock":             {change: func(b []byte) { b[super] = 0 }, note: "no superblock"},
		"on another device":         {change: func(b []byte) { le.PutUint32(b[1024+0xE0:], 0); le.PutUint32(b[1024+0xE4:], 99); sealSuper(b) }, note: "another device"},
		"its superblock is far off": {change: func(b []byte) { be.PutUint32(b[super+0x10:], 1<<31); sealJournal(b[super:]) }, note: "blocks"},
	} {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(b)
		}
		fsys, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{Memory: c.memory})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		info := fsys.Info()
		if info.Journal != tree.NotReplayed || len(info.Notes) != 1 || !strings.Contains(info.Notes[0], c.note) {
			t.Errorf("%s: %+v", name, info)
		}
		if _, err := fsys.Lookup(2, "lost+found"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sealSuper(b []byte) { le.PutUint32(b[1024+0x3FC:], crc32c(allOnes, b[1024:1024+0x3FC])) }

func sealJournal(b []byte) {
	crc := crc32c(allOnes, b[:0xFC])
	crc = crc32c(crc, []byte{0, 0, 0, 0})
	be.PutUint32(b[0xFC:], crc32c(crc, b[0x100:0x400]))
}

// TestDamageWithinTheJournalIsSaid tells what was torn when the guest stopped, which
// is as it should be, from what had been committed.
func TestDamageWithinTheJournalIsSaid(t *testing.T) {
	t.Parallel()
	image := mkfs(t, 24<<20, "-t", "ext4", "-b", "1024")
	dir := treetest.Scratch(t)
	data := filepath.Join(dir, "data")
	os.WriteFile(data, pattern(1, 64<<10), 0o600)
	script := filepath.Join(dir, "script")
	os.WriteFile(script, []byte("jo -c -v 3\njw -b 5000-5009 "+data+"\njw -b 5010-5019 "+data+"\njc\n"), 0o600)
	treetest.Run(t, "debugfs", "-w", "-f", script, image)
	whole, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	j, err := (&patient{b: whole}).volume(t).openJournal(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n uint64) int64 { p, _ := j.physical(j.start + n); return int64(p) * 1024 }
	for _, c := range []struct {
		name  string
		harm  func(b []byte)
		count int    // blocks replayed
		note  string // "" for none
	}{
		{"whole", func(b []byte) {}, 20, ""},
		{"the second transaction has no commit block", func(b []byte) { clear(b[at(23) : at(23)+1024]) }, 10, ""},
		{"its descriptor is torn, too", func(b []byte) { clear(b[at(23) : at(23)+1024]); b[at(12)+500] ^= 1 }, 10, ""},
		{"its descriptor is damaged", func(b []byte) { b[at(12)+500] ^= 1 }, 10, "yet it was committed"},
		{"its commit block is damaged", func(b []byte) { b[at(23)+0x30] ^= 1 }, 10, "its commit block has another checksum"},
		{"a block of content is damaged", func(b []byte) { b[at(4)] ^= 1 }, 19, "1 blocks in the journal"},
	} {
		b := bytes.Clone(whole)
		c.harm(b)
		v := (&patient{b: b}).volume(t)
		o, ok := v.dev.(*overlay)
		if !ok || len(o.copies) != c.count || v.info.Journal != tree.Replayed {
			t.Errorf("%s: %d blocks are replayed, want %d; %+v", c.name, len(o.copies), c.count, v.info)
		}
		if notes := strings.Join(v.info.Notes, "\n"); !strings.Contains(notes, c.note) || (notes == "") != (c.note == "") {
			t.Errorf("%s: %q", c.name, notes)
		}
	}
}

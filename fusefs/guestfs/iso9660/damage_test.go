package iso9660

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func put32(b []byte, n uint32) {
	le.PutUint32(b, n)
	be.PutUint32(b[4:], n)
}

func TestWhatCannotBeIsDamageOfItsPathAlone(t *testing.T) {
	t.Parallel()
	whole := small(t, "-R")
	v := openBytes(t, whole, tree.Options{})
	sub, file, link := int(treetest.Find(t, v, "sub")*2), int(treetest.Find(t, v, "large.bin")*2), int(treetest.Find(t, v, "link-long")*2)
	for name, c := range map[string]struct {
		path   string
		damage func(b []byte)
	}{
		"a folder of a file's content": {"sub", func(b []byte) { copy(b[sub+2:sub+10], b[file+2:file+10]) }},
		"a folder beyond the volume":   {"sub", func(b []byte) { put32(b[sub+2:], 1<<30) }},
		"a folder of 4 GiB":            {"sub", func(b []byte) { put32(b[sub+10:], 1<<32-1) }},
		"byte orders differ":           {"large.bin", func(b []byte) { b[file+2]++ }},
		"content beyond the volume":    {"large.bin", func(b []byte) { put32(b[file+2:], 1<<31) }},
		"entries that go in circles": {"link-long", func(b []byte) {
			ce := b[link : link+int(b[link])]
			i := bytes.Index(ce, []byte("CE\x1c\x01"))
			at := int(le.Uint32(ce[i+4:]))*2048 + int(le.Uint32(ce[i+12:]))
			copy(b[at:], ce[i:i+28])
		}},
		"entries beyond the volume": {"link-long", func(b []byte) {
			ce := b[link : link+int(b[link])]
			put32(ce[bytes.Index(ce, []byte("CE\x1c\x01"))+4:], 1<<30)
		}},
	} {
		b := bytes.Clone(whole)
		c.damage(b)
		damaged := openBytes(t, b, tree.Options{})
		failed := 0
		ino, err := damaged.Lookup(damaged.Root(), c.path)
		if err == nil {
			if c.path == "sub" {
				for _, err = range damaged.ReadDir(ino) {
				}
			} else {
				_, err = treetest.Content(damaged, ino)
			}
		}
		if err == nil || strings.Contains(err.Error(), "not exist") {
			t.Errorf("%s: %v", name, err)
		}
		for _, err := range damaged.ReadDir(damaged.Root()) {
			if err != nil {
				failed++
			}
		}
		if failed > 1 {
			t.Errorf("%s: %d of the root's entries are damaged", name, failed)
		}
		if _, err := treetest.Content(damaged, treetest.Find(t, damaged, "block")); err != nil && name != "byte orders differ" {
			t.Errorf("%s: another file: %v", name, err)
		}
	}
}

func TestAVolumeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	whole := small(t, "-R")
	for name, damage := range map[string]func(b []byte){
		"no primary":      func(b []byte) { b[32768] = 2 },
		"blocks of 4096":  func(b []byte) { b[32768+129], b[32768+130] = 16, 16 },
		"blocks of 0":     func(b []byte) { clear(b[32768+128 : 32768+132]) },
		"root is a file":  func(b []byte) { b[32768+156+25] = 0 },
		"root is cut off": func(b []byte) { b[32768+156] = 12 },
	} {
		b := bytes.Clone(whole)
		damage(b)
		if _, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{}); !treetest.IsDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, size := range []int{0, 1, 32767, 32768 + 2047} {
		if Format.Probe(bytes.NewReader(whole[:size]), int64(size)) {
			t.Errorf("%d bytes are taken for one", size)
		}
	}
	v := openBytes(t, whole[:100_000], tree.Options{})
	if notes := strings.Join(v.Info().Notes, ";"); !strings.Contains(notes, "ends at 100000") {
		t.Errorf("an image that is cut short: %q", notes)
	}
}

func TestCompressedFilesAreReported(t *testing.T) {
	t.Parallel()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "cd.iso")
	must(t, os.WriteFile(filepath.Join(dir, "zeros"), make([]byte, 300_000), 0o600))
	treetest.Run(t, "xorriso", "-outdev", image, "-map", dir, "/", "-set_filter_r", "--zisofs", "/", "--")
	v := openBytes(t, treetest.Load(t, image), tree.Options{})
	ino := treetest.Find(t, v, "zeros")
	var unsupported *tree.UnsupportedError
	if _, err := treetest.Content(v, ino); !errors.As(err, &unsupported) {
		t.Errorf("%v", err)
	}
	if a, err := v.Stat(ino); err != nil || a.Size != 300_000 {
		t.Errorf("%+v, %v", a, err)
	}
}

// places are those of descriptors and folders: a file's content says nothing.
func places(b []byte) (where []int) {
	for _, at := range treetest.Places(b) {
		if at >= 32768 && at < 32768+120<<10 {
			where = append(where, at)
		}
	}
	return where
}

func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{{"-R"}, {"-J", "-joliet-long"}} {
		b := small(t, options...)
		if damaged := treetest.Mutants(t, Format, b, places(b), 80, nil); damaged < 15 {
			t.Errorf("only %d of the mutants were damaged: the test proves nothing", damaged)
		}
	}
}

// FuzzVolume examines mutants of a volume with Rock Ridge and of one with Joliet.
func FuzzVolume(f *testing.F) {
	all := [][]byte{small(f, "-R"), small(f, "-J", "-joliet-long")}
	where := [][]int{places(all[0]), places(all[1])}
	f.Add(uint8(0), []byte{0, 0, 5, 200, 1})
	f.Add(uint8(1), []byte{0, 9, 90, 7, 0, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if i := int(which) % len(all); len(edits) <= 400 {
			treetest.Examine(t, Format, treetest.Mutate(all[i], where[i], edits))
		}
	})
}

package ntfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof/woftest"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// overlay is the reparse point of a file that WOF compressed.
func overlay(m wof.Method) []byte {
	b := []byte{1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}
	return reparsePoint(tagWOF, le.AppendUint32(b, uint32(m)))
}

// compacted writes files as WOF leaves them: a hole of the file's size, the compressed
// stream beside it, and the reparse point.
func compacted(t testing.TB, image string, m wof.Method, streams map[string][]byte, sizes map[string]int64) {
	t.Helper()
	mounted(t, image, "streams_interface=windows", func(dir string) {
		maker := newMaker(t, dir)
		for name, stream := range streams {
			maker.sparse(name, sizes[name], nil)
			maker.write(name+":"+wofStream, stream)
		}
	})
	mounted(t, image, "", func(dir string) {
		for name := range streams {
			newMaker(t, dir).xattr(name, "system.ntfs_reparse_data", overlay(m))
		}
	})
}

func TestFilesThatWindowsCompactedAreRead(t *testing.T) {
	t.Parallel()
	maker := newMaker(t, t.TempDir())
	contents := map[string][]byte{"text": maker.text(700_001), "random": maker.random(100_000), "zeros": make([]byte, 200_000),
		"one chunk": maker.text(3000), "whole chunks": maker.text(4 * 32768), "one byte": {7},
		"mixed": append(append(maker.text(50_000), maker.random(50_000)...), maker.text(50_000)...)}
	image := makeNTFS(t, 48)
	for _, m := range []wof.Method{wof.XPRESS4K, wof.XPRESS8K, wof.XPRESS16K, wof.LZX} {
		var names []string
		var all [][]byte
		for name, content := range contents {
			names, all = append(names, name), append(all, content)
		}
		streams, sizes := map[string][]byte{}, map[string]int64{}
		for i, stream := range woftest.Streams(t, m, 50, all...) {
			streams[m.String()+" "+names[i]], sizes[m.String()+" "+names[i]] = stream, int64(len(all[i]))
		}
		compacted(t, image, m, streams, sizes)
	}
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	entries := 0
	for e, err := range v.ReadDir(v.Root()) {
		if err != nil {
			t.Fatal(err)
		}
		method, name, _ := strings.Cut(e.Name, " ")
		want, ok := contents[name]
		if !ok {
			continue
		}
		entries++
		a, err := v.Stat(e.Ino)
		if err != nil || a.Mode != unix.S_IFREG|0o644 || a.Size != int64(len(want)) || a.Allocated > a.Size+8192 || a.Allocated == 0 && name == "text" {
			t.Errorf("%s: %+v %v", e.Name, a, err)
		}
		if names, err := v.Xattrs(e.Ino); len(names) > 0 || err != nil {
			t.Errorf("%s: attributes %q, %v", e.Name, names, err)
		}
		hashOf(t, v, a, e.Name)
		for _, piece := range []int{1 << 20, 100_000, 4096, 4095} {
			if got := readBy(t, v, e.Ino, a.Size, piece); !bytes.Equal(got, want) {
				t.Errorf("%s of %s is not as it was, read by %d bytes", name, method, piece)
			}
		}
	}
	if entries != 4*len(contents) {
		t.Errorf("%d files are listed", entries)
	}
}

func readBy(t testing.TB, v tree.FileSystem, ino uint64, size int64, piece int) []byte {
	t.Helper()
	f, err := v.Open(ino)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := io.CopyBuffer(onlyWriter{&out}, io.NewSectionReader(f, 0, size), make([]byte, piece)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// compactedText is one file of 40 chunks.
func compactedText(t testing.TB, m wof.Method) (*memory, []byte) {
	t.Helper()
	content := newMaker(t, t.TempDir()).text(40*int(m.Chunk()) - 5)
	image := makeNTFS(t, 8)
	compacted(t, image, m, map[string][]byte{"file": woftest.Streams(t, m, 50, content)[0]}, map[string]int64{"file": int64(len(content))})
	return load(t, image), content
}

// TestDamageOfACompactedFileHarmsItsChunk and no other, and is never read as zeros.
func TestDamageOfACompactedFileHarmsItsChunk(t *testing.T) {
	t.Parallel()
	m, content := compactedText(t, wof.XPRESS8K)
	ino := m.find("file")
	s, err := m.v.stream(mustInode(t, m.v, ino), kindData, wofStream)
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := s.extent(0)
	if err != nil {
		t.Fatal(err)
	}
	good := func(v *volume, chunk int) error {
		f, err := v.Open(ino)
		if err != nil {
			return err
		}
		p := make([]byte, 8192)
		n, err := f.ReadAt(p, int64(chunk)*8192)
		if err == nil && !bytes.Equal(p[:n], content[chunk*8192:][:n]) {
			t.Errorf("chunk %d is read, and wrong", chunk)
		}
		return err
	}
	for name, damage := range map[string]func(b []byte){
		"place": func(b []byte) { le.PutUint32(b[4*9:], 1<<31) },
		"codes": func(b []byte) {
			begin := 4*39 + le.Uint32(b[4*9:])
			copy(b[begin:], bytes.Repeat([]byte{0x11}, 256))
		},
	} {
		c := m.copied()
		damage(c.b[at:])
		v := c.mustOpen()
		if err := good(v, 10); !treetest.IsDamage(err) || !strings.Contains(err.Error(), wofStream) {
			t.Errorf("%s: the chunk that is damaged: %v", name, err)
		}
		for _, chunk := range []int{0, 5, 8, 11, 38} {
			if err := good(v, chunk); err != nil {
				t.Errorf("%s: chunk %d: %v", name, chunk, err)
			}
		}
	}
}

func TestLiesAboutACompactedFileAreDamage(t *testing.T) {
	t.Parallel()
	m, _ := compactedText(t, wof.LZX)
	ino := m.find("file")
	for name, lie := range map[string]func(c *memory){
		"huge":      func(c *memory) { c.attribute(ino, kindData, func(a []byte) { le.PutUint64(a[48:], 1<<50) }) },
		"cut point": func(c *memory) { c.attribute(ino, kindReparse, func(a []byte) { le.PutUint32(a[16:], 20) }) },
		"no stream": func(c *memory) {
			c.record(ino, func(b []byte) { copy(b[bytes.Index(b, utf16le(wofStream)):], utf16le("X")) })
		},
	} {
		c := m.copied()
		lie(c)
		v := c.mustOpen()
		if _, err := v.Open(ino); !treetest.IsDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		at   int
		word uint32
		why  string
	}{"WIM": {12, 1, "WIM"}, "a method to come": {20, 9, "method 9"}, "a provider to come": {12, 7, "provider"}} {
		changed := m.copied()
		changed.attribute(ino, kindReparse, func(a []byte) { le.PutUint32(a[24+c.at:], c.word) })
		var unsupported *tree.UnsupportedError
		if _, err := changed.mustOpen().Open(ino); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.why) ||
			!strings.Contains(err.Error(), adviceWindows) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMutantsOfCompactedFilesEnd changes the volume's structures and the chunks, and
// reads from several goroutines.
func TestMutantsOfCompactedFilesEnd(t *testing.T) {
	t.Parallel()
	m, _ := compactedText(t, wof.LZX)
	where := regions(t, m.b)
	s, err := m.v.stream(mustInode(t, m.v, m.find("file")), kindData, wofStream)
	if err != nil {
		t.Fatal(err)
	}
	at, n, err := s.extent(0)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		where = append(where, region{at, 200, false}, region{at, min(n, s.size), false})
	}
	chance := newMaker(t, t.TempDir())
	var group errgroup.Group
	group.SetLimit(2)
	for range 80 {
		edits := chance.random(6 * 8)
		group.Go(func() error {
			b := mutate(m.b, where, edits)
			examine(t, b)
			return nil
		})
	}
	_ = group.Wait()
}

// BenchmarkReadCompacted reads a file of 32 MiB in pieces of 1 MiB and in random ones of 4 KiB.
func BenchmarkReadCompacted(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for len(program) < 32<<20 {
		program = append(program, program...)
	}
	program = program[:32<<20]
	for _, m := range []wof.Method{wof.XPRESS4K, wof.LZX} {
		image := makeNTFS(b, 64)
		compacted(b, image, m, map[string][]byte{"file": woftest.Streams(b, m, 50, program)[0]}, map[string]int64{"file": int64(len(program))})
		v := treetest.OpenImage(b, Format, image, tree.Options{})
		ino, err := v.Lookup(v.Root(), "file")
		if err != nil {
			b.Fatal(err)
		}
		f, err := v.Open(ino)
		if err != nil {
			b.Fatal(err)
		}
		for _, piece := range []int64{1 << 20, 4096} {
			b.Run(fmt.Sprintf("%s/%d", m, piece), func(b *testing.B) {
				p := make([]byte, piece)
				b.SetBytes(piece)
				off := int64(0)
				for b.Loop() {
					if _, err := f.ReadAt(p, off); err != nil && err != io.EOF {
						b.Fatal(err)
					}
					if off += piece; piece == 4096 {
						off = off * 1103515245 % (32<<20 - piece) // anywhere
					}
				}
			})
		}
	}
}

package udf

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openBytes(t testing.TB, b []byte) *volume {
	t.Helper()
	return treetest.OpenBytes(t, Format, b, tree.Options{}).(*volume)
}

// image returns one of testdata, which testdata/make made.
func image(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".img.gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	return b
}

// linux is what the kernel showed of an image.
func linux(t testing.TB, name string) map[string]treetest.Fact {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".json.gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	all := map[string]treetest.Fact{}
	for d := json.NewDecoder(z); ; {
		var line struct {
			Path string
			treetest.Fact
		}
		if err := d.Decode(&line); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[line.Path] = line.Fact
	}
}

// formatted are the images of testdata that mkudffs made and Linux filled.
var formatted = []string{"hd-201-512", "hd-102-2048", "hd-150-1024-long", "hd-201-4096-noefe", "dvdram-200-2048", "cdrw-201-2048-sparable", "hd-201-2048-mbr", "mo-102-2048-4096"}

func TestWhatLinuxWroteIsReadAsLinuxReadsIt(t *testing.T) {
	for _, name := range formatted {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := image(t, name)
			v := openBytes(t, b)
			want := linux(t, name)
			treetest.Same(t, want, treetest.Reading(t, v), func(string, *treetest.Fact) {})
			if n := treetest.Placed(t, v, bytes.NewReader(b)); n < 3 {
				t.Errorf("only %d files lie where they are said to", n)
			}
			if len(want) < 250 {
				t.Errorf("only %d paths were compared", len(want))
			}
			file := filepath.Join(t.TempDir(), "image")
			must(t, os.WriteFile(file, b, 0o600))
			id := strings.TrimSpace(treetest.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", file))
			label := strings.TrimSpace(treetest.Run(t, "blkid", "-p", "-o", "value", "-s", "LABEL", file))
			info := v.Info()
			if info.Type != "udf" || info.Label != label || label == "" || info.UUID != id || len(info.Notes) != 0 || info.Used <= 0 {
				t.Errorf("info: %+v, blkid says %q %s", info, label, id)
			}
		})
	}
}

// TestWhatWasBuiltIsReadAsLinuxReadsIt is for what mkudffs and Linux cannot make. With
// HOLDFAST_UDF_OUT it writes the images there, for testdata/make to have them read.
func TestWhatWasBuiltIsReadAsLinuxReadsIt(t *testing.T) {
	for name, r := range recipes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := build(t, r)
			if out := os.Getenv("HOLDFAST_UDF_OUT"); out != "" {
				must(t, os.WriteFile(filepath.Join(out, name+".img"), b, 0o600))
			}
			v := openBytes(t, b)
			got := treetest.Reading(t, v)
			for path, f := range got {
				f.Xattrs = ""
				got[path] = f
			}
			treetest.Same(t, linux(t, name), got, func(string, *treetest.Fact) {})
			treetest.Placed(t, v, bytes.NewReader(b))
			if info := v.Info(); info.Label != "Built" || info.UUID != "0123456789abcdef" || len(info.Notes) != 0 || info.Used != 250*r.block {
				t.Errorf("info: %+v", info)
			}
			if !r.extended {
				return
			}
			ino := treetest.Find(t, v, "streams")
			note, err := v.Xattr(ino, "user.note")
			if err != nil || string(note) != "of the user" {
				t.Errorf("a named stream: %q, %v", note, err)
			}
			all, err := v.Streams(ino)
			if err != nil || len(all) != 2 || all[0] != (tree.Stream{Name: "*UDF Backup", Size: 6}) {
				t.Errorf("streams: %v, %v", all, err)
			}
			if a, err := v.Stat(ino); err != nil || a.Btime != time.Date(2024, 5, 6, 6, 3, 9, 123456000, time.UTC) {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// sources writes a tree of what genisoimage's UDF keeps.
func sources(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, n := range map[string]int{"empty": 0, "short.txt": 5, "large.bin": 600_001, "sub/one/two/file": 7, "ümläut 日本語": 3, strings.Repeat("n", 60): 4} {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, treetest.Random(n, 1), 0o644))
	}
	for i := range 100 {
		must(t, os.WriteFile(filepath.Join(dir, "sub", strings.Repeat("x", 50)+string(rune('a'+i%26))+string(rune('a'+i/26))), nil, 0o644))
	}
	return dir
}

func bridge(t testing.TB) (dir string, b []byte) {
	dir, file := sources(t), filepath.Join(t.TempDir(), "dvd.iso")
	treetest.Run(t, "genisoimage", "-quiet", "-udf", "-R", "-J", "-joliet-long", "-input-charset", "utf-8", "-V", "DISC", "-o", file, dir)
	b, err := os.ReadFile(file)
	must(t, err)
	return dir, b
}

func TestABridgeDiscIsReadAsUDF(t *testing.T) {
	t.Parallel()
	dir, b := bridge(t)
	v := openBytes(t, b)
	treetest.Same(t, treetest.Directory(t, dir), treetest.Reading(t, v), func(path string, f *treetest.Fact) {
		f.Mtime = f.Mtime / 1e9 * 1e9
		f.Mode &= unix.S_IFMT
		f.Nlink, f.UID, f.GID, f.Xattrs = 0, 0, 0, ""
		if path == "/" {
			f.Mtime = 0
		}
	})
	at := int(v.parts[0].(physical).start) * 2048
	clear(b[at : at+4096]) // its file set
	if Format.Probe(bytes.NewReader(b), int64(len(b))) {
		t.Error("a bridge disc whose UDF is damaged is not left to ISO 9660")
	}
}

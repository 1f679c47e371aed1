package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, b []byte) *Hive {
	t.Helper()
	h, err := Open(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	return h
}

// reading is all that a hive holds: values by path.
func reading(t testing.TB, h *Hive) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(k *Key, path string)
	walk = func(k *Key, path string) {
		all[path] = ""
		for v, err := range k.Values() {
			must(t, err)
			data, err := v.Data()
			must(t, err)
			all[path+" = "+v.Name] = fmt.Sprintf("%d:%x", v.Type, data)
		}
		for c, err := range k.Keys() {
			must(t, err)
			walk(c, path+`\`+c.Name)
		}
	}
	k, err := h.Root()
	must(t, err)
	walk(k, "")
	return all
}

// official has libhivex put keys and values into a hive, and returns it and what it says of it.
func official(t testing.TB) (hive []byte, want map[string]string) {
	t.Helper()
	needs.Tools(t, "hivexregedit")
	file, text := filepath.Join(t.TempDir(), "SYSTEM"), filepath.Join(t.TempDir(), "in.reg")
	w := treetest.NewHive()
	must(t, os.WriteFile(file, w.Bytes(w.Key("ROOT", nowhere, 0, nowhere, 0, w.Security())), 0o600))
	in := "Windows Registry Editor Version 5.00\n\n"
	want = map[string]string{"": ""}
	add := func(path, name string, kind uint32, data []byte) {
		for i, c := range path + `\` { // keys above it first
			if p := path[:i]; c == '\\' && i > 0 {
				if _, have := want[p]; !have {
					in += "\n[" + p + "]\n"
					want[p] = ""
				}
			}
		}
		var hex []string
		for _, c := range data {
			hex = append(hex, fmt.Sprintf("%02x", c))
		}
		in += fmt.Sprintf("\"%s\"=hex(%x):%s\n", strings.ReplaceAll(name, `\`, `\\`), kind, strings.Join(hex, ","))
		want[path+" = "+name] = fmt.Sprintf("%d:%x", kind, data)
	}
	add(`\MountedDevices`, `\DosDevices\C:`, Binary, []byte("\x78\x56\x34\x12\x00\x00\x10\x00\x00\x00\x00\x00"))
	add(`\MountedDevices`, `\DosDevices\D:`, Binary, []byte("DMIO:ID:0123456789abcdef"))
	add(`\MountedDevices`, "text", String, utf("C:\\Windows Ü"))
	add(`\MountedDevices`, "number", Number, []byte{1, 2, 3, 4})
	add(`\MountedDevices`, "short", Binary, []byte{9})
	add(`\MountedDevices`, "none", Binary, nil)
	add(`\MountedDevices`, "large", Binary, treetest.Random(3000, 1))
	for i := range 300 {
		add(fmt.Sprintf(`\Select\key %d`, i*7919%1000), "v", Number, []byte{byte(i), 0, 0, 0})
	}
	add(`\ControlSet001\Services\a\b\c\d`, "Start", Number, []byte{2, 0, 0, 0})
	must(t, os.WriteFile(text, []byte(in), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "hivexregedit", "--merge", "--encoding", "UTF-8", file, text).CombinedOutput(); err != nil {
		t.Fatalf("hivexregedit: %v: %s", err, out)
	}
	hive, err := os.ReadFile(file)
	must(t, err)
	return hive, want
}

func utf(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = le.AppendUint16(b, u)
	}
	return b
}

func TestWhatLibhivexWroteIsReadWholly(t *testing.T) {
	t.Parallel()
	b, want := official(t)
	h := open(t, b)
	got := reading(t, h)
	for path, value := range want {
		if g, have := got[path]; !have || g != value {
			t.Errorf("%s: %q, not %q", path, g, value)
		}
	}
	if len(got) != len(want) || len(got) < 600 {
		t.Errorf("%d of %d keys and values", len(got), len(want))
	}
	k, err := h.Find(`mounteddevices`)
	must(t, err)
	data, ok, err := k.Value("TEXT")
	if !ok || err != nil || Text(data) != `C:\Windows Ü` {
		t.Errorf("%q, %v, %v", Text(data), ok, err)
	}
	if _, ok, err := k.Value("nothing"); ok || err != nil {
		t.Errorf("a value that is not there: %v, %v", ok, err)
	}
	if _, err := h.Find(`Select\key 77\nothing`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is not there: %v", err)
	}
	if h.Dirty {
		t.Error("it is dirty")
	}
}

// built has the lists that libhivex does not write: of lists, without hashes, of pieces.
func built() []byte {
	w := treetest.NewHive()
	large := treetest.Random(40_000, 3)
	var pieces []uint32
	for rest := large; len(rest) > 0; rest = rest[min(segment, len(rest)):] {
		pieces = append(pieces, w.Cell(rest[:min(segment, len(rest))]))
	}
	var at []byte
	for _, p := range pieces {
		at = le.AppendUint32(at, p)
	}
	db := w.Cell(append([]byte("db\x03\x00"), le.AppendUint32(nil, w.Cell(at))...))
	values := w.Cell(le.AppendUint32(nil, w.Value("large", Binary, 40_000, db)))
	var keys []uint32
	for i := range 6 {
		keys = append(keys, w.Key(fmt.Sprintf("K%d", i), nowhere, 0, values, 1, nowhere))
	}
	lists := w.List("ri", 4, w.List("lf", 8, keys[0], keys[1]), w.List("li", 4, keys[2], keys[3]), w.List("lh", 8, keys[4], keys[5]))
	return w.Bytes(w.Key("ROOT", lists, 6, nowhere, 0, nowhere))
}

func TestListsOfListsAndPiecesAreRead(t *testing.T) {
	t.Parallel()
	got := reading(t, open(t, built()))
	want := fmt.Sprintf("%d:%x", Binary, treetest.Random(40_000, 3))
	if len(got) != 13 || got[`\K5 = large`] != want || got[`\K2 = large`] != want {
		t.Errorf("%d keys and values", len(got))
	}
}

func TestWhatCannotBeIsDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(b []byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"cut in its head":  func(b []byte) []byte { return b[:4000] },
		"cut":              func(b []byte) []byte { return b[:5000] },
		"no registry":      func(b []byte) []byte { b[0] = 'x'; return b },
		"another checksum": func(b []byte) []byte { b[508]++; return b },
		"no root":          func(b []byte) []byte { le.PutUint32(b[36:], nowhere); treetest.SealHive(b); return b },
		"a root of none":   func(b []byte) []byte { le.PutUint32(b[36:], 32); treetest.SealHive(b); return b },
		"a free root": func(b []byte) []byte {
			le.PutUint32(b[headSize+int(le.Uint32(b[36:])):], 80)
			return b
		},
		"a list that lists itself": func(b []byte) []byte {
			at := headSize + int(le.Uint32(b[headSize+int(le.Uint32(b[36:]))+4+28:])) + 4
			le.PutUint32(b[at+4:], uint32(at-4-headSize))
			return b
		},
		"a value beyond the file": func(b []byte) []byte {
			at := bytes.Index(b, []byte("vk"))
			le.PutUint32(b[at+8:], 1<<31)
			return b
		},
		"a value of 1 GiB":    func(b []byte) []byte { le.PutUint32(b[bytes.Index(b, []byte("vk"))+4:], 1<<30); return b },
		"pieces too few":      func(b []byte) []byte { b[bytes.Index(b, []byte("db"))+2] = 2; return b },
		"a name of 64 KiB":    func(b []byte) []byte { le.PutUint16(b[bytes.Index(b, []byte("nk\x20\x00"))+72:], 1<<16-1); return b },
		"a value's long name": func(b []byte) []byte { le.PutUint16(b[bytes.Index(b, []byte("vk"))+2:], 1<<16-1); return b },
	} {
		b := damage(built())
		var corrupt *tree.CorruptError
		if err := examine(b); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := built()
	le.PutUint32(b[8:], 6)
	treetest.SealHive(b)
	if !open(t, b).Dirty {
		t.Error("a hive that was not written out is not dirty")
	}
}

// examine reads all keys, to a depth, and returns the last error.
func examine(b []byte) (last error) {
	h, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	k, err := h.Root()
	if err != nil {
		return err
	}
	left := 2000
	var walk func(k *Key)
	walk = func(k *Key) {
		for v, err := range k.Values() {
			if err == nil {
				_, err = v.Data()
			}
			if left--; err != nil {
				last = err
			}
			if left < 0 {
				return
			}
		}
		for c, err := range k.Keys() {
			if left--; left < 0 {
				return
			}
			if err != nil {
				last = err
				continue
			}
			walk(c)
		}
	}
	walk(k)
	return last
}

// FuzzHive examines mutants whose checksum is right.
func FuzzHive(f *testing.F) {
	all := [][]byte{built()}
	if _, err := exec.LookPath("hivexregedit"); err == nil {
		b, _ := official(f)
		all = append(all, b)
	}
	where := [][]int{}
	for _, b := range all {
		places := treetest.Places(b)
		where = append(where, slices.DeleteFunc(places, func(at int) bool { return at > len(b)-8 }))
	}
	f.Add(uint8(0), []byte{0, 0, 5, 200, 1})
	f.Add(uint8(1), []byte{0, 9, 90, 7, 0, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if i := int(which) % len(all); len(edits) <= 400 {
			m := treetest.Mutate(all[i], where[i], edits)
			treetest.SealHive(m)
			_ = examine(m)
		}
	})
}

// TestWhatTestsOfDrivesUseIsAHive asks libhivex.
func TestWhatTestsOfDrivesUseIsAHive(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "hivexregedit")
	file := filepath.Join(t.TempDir(), "SYSTEM")
	must(t, os.WriteFile(file, treetest.MountedDevices(map[string][]byte{`\DosDevices\C:`: []byte("twelve bytes")}), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "hivexregedit", "--export", file, `\MountedDevices`).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"\\DosDevices\\C:"=hex(3):74,77,65,6c,76,65,20,62,79,74,65,73`) {
		t.Errorf("%v: %s", err, out)
	}
}

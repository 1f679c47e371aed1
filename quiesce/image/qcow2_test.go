package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// craft makes the first cluster of a qcow2 image that names a backing file.
func craft(name, format string) []byte {
	b := make([]byte, 4096)
	be := binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 12)
	be.PutUint64(b[24:], 1<<20)
	be.PutUint32(b[100:], 104)
	at := 104
	if format != "" {
		be.PutUint32(b[at:], extBackingFormat)
		be.PutUint32(b[at+4:], uint32(len(format)))
		copy(b[at+8:], format)
		at += 8 + (len(format)+7)/8*8
	}
	at += 24 // end of extensions, and room
	be.PutUint64(b[8:], uint64(at))
	be.PutUint32(b[16:], uint32(len(name)))
	copy(b[at:], name)
	return b
}

func TestHostileHeadersAreRefused(t *testing.T) {
	put32 := func(at int, v uint32) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) } }
	put64 := func(at int, v uint64) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint64(b[at:], v) } }
	for want, spoil := range map[string]func([]byte){
		"version 4":                     put32(4, 4),
		"clusters of 2^63":              put32(20, 63),
		"clusters of 2^8 ":              put32(20, 8),
		"encrypted":                     put32(32, 2),
		"data in another file":          put64(72, incompatDataFile),
		"marked as corrupt":             put64(72, incompatCorrupt),
		"not known (0x8000000000000000": put64(72, 1<<63|1),
		"backing file's name, 4294967":  put32(16, ^uint32(0)),
		"at 18446744073709551615":       put64(8, ^uint64(0)),
		"at 4090":                       put64(8, 4090),
		"bytes, at 8":                   put64(8, 8),
		"name, 8 bytes, at 144":         put32(100, 1<<31),
		"extension 0xe2792aca of 4294":  put32(108, ^uint32(0)),
		"format in 17 bytes":            put32(108, 17),
		"keeps its data":                put32(104, extDataFile),
		`name "a\x00`:                   func(b []byte) { b[145] = 0 },
	} {
		b := craft("abc/base", "qcow2")
		if h, err := readHeader(bytes.NewReader(b)); err != nil || h != (header{backing: "abc/base", backingFormat: "qcow2"}) {
			t.Fatalf("%+v, %v", h, err)
		}
		spoil(b)
		if h, err := readHeader(bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want %q", h, err, want)
		}
	}
	for _, n := range []int{0, 4, 71, 103} {
		if h, err := readHeader(bytes.NewReader(craft("abc/base", "qcow2")[:n])); err == nil {
			t.Errorf("%d bytes of a header: %+v", n, h)
		}
	}
}

func TestHostileBackingNamesAreNotFollowed(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	write := func(path string, b []byte) string {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(outside+"/secret", []byte("secret"))
	write(folder+"/unnamed", craft("", ""))
	if err := os.Symlink(outside+"/secret", folder+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, folder+"/dir"); err != nil {
		t.Fatal(err)
	}
	write(folder+"/loop", craft("loop2", "qcow2"))
	write(folder+"/loop2", craft("loop", "qcow2"))
	for _, c := range []struct{ name, format, want string }{
		{outside + "/secret", "raw", "lies outside"},
		{"../" + filepath.Base(outside) + "/secret", "raw", "lies outside"},
		{"link", "raw", "lies outside"},
		{"dir/../" + filepath.Base(outside) + "/secret", "raw", "lies outside"},
		{"file:" + outside + "/secret", "raw", "lies outside"},
		{"/dev/zero", "raw", "a character device"},
		{"/etc", "raw", "a folder"},
		{"nbd://example.org/disk", "raw", "is not a path"},
		{`json:{"driver":"file","filename":"/etc/shadow"}`, "raw", "is not a path"},
		{"rbd:pool/image", "", "is not a path"},
		{"base", "vmdk", `format "vmdk" is not read`},
		{"nothing", "raw", "no such file"},
		{"unnamed", "", "looks like a qcow2 image"},
		{"top", "qcow2", "its own backing file"},
		{"loop", "qcow2", "its own backing file"},
	} {
		top := write(folder+"/top", craft(c.name, c.format))
		layers, err := openChain(Spec{Path: top, Format: "qcow2", Backing: []string{folder}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("backing file %q: %d layers, %v, want %q", c.name, len(layers), err, c.want)
		}
	}
}

func TestALongChainIsRefused(t *testing.T) {
	folder := t.TempDir()
	name := func(i int) string { return strings.Repeat("x", i+1) }
	for i := range maxChain + 1 {
		if err := os.WriteFile(filepath.Join(folder, name(i)), craft(name(i+1), "qcow2"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := openChain(Spec{Path: filepath.Join(folder, name(0)), Format: "qcow2", Backing: []string{folder}})
	if err == nil || !strings.Contains(err.Error(), "more than 128") {
		t.Error(err)
	}
}

// FuzzHeader: whatever lies in the first cluster, the header is read or
// refused, and the names that come out of it stand in it.
func FuzzHeader(f *testing.F) {
	f.Add(craft("abc/base", "qcow2"))
	f.Add(craft("", ""))
	old := craft("x", "")
	old[7] = 2
	f.Add(slices.Clone(old))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(h.backing) > maxBackingName || len(h.backingFormat) > 16 || !bytes.Contains(b, []byte(h.backing)) || !bytes.Contains(b, []byte(h.backingFormat)) {
			t.Errorf("%+v", h)
		}
		checkBackingName("image", h)
	})
}

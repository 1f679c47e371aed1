package ntfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

func utf16le(s string) (b []byte) {
	for _, u := range wtf8.Encode(s) {
		b = le.AppendUint16(b, u)
	}
	return b
}

// reparsePoint is the raw data of a reparse point.
func reparsePoint(tag uint32, data []byte) []byte {
	b := le.AppendUint32(nil, tag)
	return append(le.AppendUint32(b, uint32(len(data))), data...)
}

// windowsLink is what a symbolic link or junction of Windows holds.
func windowsLink(tag uint32, substitute string) []byte {
	name := utf16le(substitute)
	b := le.AppendUint16(nil, 0)
	b = le.AppendUint16(b, uint16(len(name)))
	b = le.AppendUint16(b, uint16(len(name)))
	b = le.AppendUint16(b, 0)
	if tag == tagSymlink {
		b = le.AppendUint32(b, 1)
	}
	return reparsePoint(tag, append(b, name...))
}

// kinds is a volume with a file behind each of some reparse points.
func kinds(t *testing.T, points map[string][]byte, more func(m *maker)) *memory {
	image := makeNTFS(t, 8)
	mounted(t, image, "", func(dir string) {
		m := newMaker(t, dir)
		for name, data := range points {
			if le.Uint32(data) == tagMountPoint {
				m.must(os.Mkdir(m.path(name), 0o755))
			} else {
				m.write(name, []byte("what is behind it"))
			}
			m.xattr(name, "system.ntfs_reparse_data", data)
		}
		more(m)
	})
	return load(t, image)
}

func TestLinksOfWindowsAndWSLAreLinks(t *testing.T) {
	t.Parallel()
	want := map[string]string{ // in the form that doc.go states
		`..\dir\file`: "../dir/file", `\??\C:\Users\ann`: "/C:/Users/ann", `\rooted`: "/rooted", `D:\x`: "/D:/x",
		`\??\UNC\host\share\x`: "//host/share/x", `\??\Volume{0f6a}\`: "/Volume{0f6a}/", "päth😀": "päth😀",
	}
	points := map[string][]byte{"lx": reparsePoint(tagLxSymlink, append([]byte{2, 0, 0, 0}, "/usr/bin/ä"...))}
	targets := map[string]string{"lx": "/usr/bin/ä"}
	for from, to := range want {
		name := "link " + strings.Map(func(r rune) rune { return map[bool]rune{true: '_', false: r}[r == '/'] }, from)
		points[name], targets[name] = windowsLink(tagSymlink, from), to
		points["junction "+name], targets["junction "+name] = windowsLink(tagMountPoint, from), to
	}
	v := kinds(t, points, func(*maker) {}).v
	for name, want := range targets {
		ino, err := v.Lookup(v.root, name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Stat(ino)
		target, linkErr := v.Readlink(ino)
		if err != nil || linkErr != nil || target != want || a.Mode != unix.S_IFLNK|0o777 || a.Size != int64(len(want)) {
			t.Errorf("%s: %q %+v %v %v, want %q", name, target, a, err, linkErr, want)
		}
		if _, err := v.Open(ino); err == nil {
			t.Errorf("%s: a link was opened as a file", name)
		}
		if raw, err := v.Xattr(ino, "system.ntfs_reparse_data"); err != nil || !bytes.Equal(raw, points[name]) {
			t.Errorf("%s: raw reparse point: %x %v", name, raw, err)
		}
	}
}

func TestContentThatIsElsewhereIsRefusedAloud(t *testing.T) {
	t.Parallel()
	why := map[string]string{"deduplication": "deduplication", "old cloud": "OneDrive", "HSM": "HSM", "HSM2": "HSM2",
		"sync": "Azure", "instances": "single-instance", "container": "WCI",
		"unknown kind (0x80001234)": "unknown kind (0x80001234)", "WIMBoot": "WIM", "cloud": "cloud", "folder in the cloud": "cloud"}
	points := map[string][]byte{"deduplication": reparsePoint(0x80000013, make([]byte, 100)), "old cloud": reparsePoint(0x80000015, make([]byte, 20)),
		"HSM": reparsePoint(0xC0000004, make([]byte, 20)), "HSM2": reparsePoint(0x80000006, make([]byte, 20)),
		"sync": reparsePoint(0x8000001E, make([]byte, 20)), "instances": reparsePoint(0x80000007, make([]byte, 20)),
		"container":                 reparsePoint(0x80000018, make([]byte, 20)),
		"unknown kind (0x80001234)": reparsePoint(0x80001234, []byte("vendor")), "WIMBoot": reparsePoint(tagWOF, []byte{1, 0, 0, 0, 1, 0, 0, 0, 2})}
	m := kinds(t, points, func(m *maker) {
		m.write("secret", m.random(5000))
		m.write("small secret", []byte("x"))
		for _, name := range []string{"cloud", "fetched from the cloud"} { // as Windows 10 leaves them
			m.write(name, []byte("what is behind it"))
			m.xattr(name, "system.ntfs_reparse_data", reparsePoint(0x9000601A, make([]byte, 40)))
		}
		m.xattr("cloud", "system.ntfs_attrib_be", []byte{0, 0x40, 0x16, 0x20})
		m.must(os.Mkdir(m.path("folder in the cloud"), 0o755))
		m.xattr("folder in the cloud", "system.ntfs_reparse_data", reparsePoint(0x9000601A, make([]byte, 40)))
	})
	m.attribute(m.find("secret"), kindData, func(a []byte) { le.PutUint16(a[12:], flagEncrypted) })
	for name, attributes := range map[string]uint32{"cloud": attrRecallOnRead | attrOffline | attrReparse, "folder in the cloud": attrRecallOnOpen | attrReparse} {
		m.attribute(m.find(name), kindStandard, func(a []byte) { le.PutUint32(a[24+32:], attributes) })
	}
	v := m.mustOpen()
	for name, why := range why {
		ino, err := v.Lookup(v.root, name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Stat(ino)
		if err != nil || a.Mode&unix.S_IFMT == unix.S_IFLNK || a.Size == 0 && name != "folder in the cloud" {
			t.Errorf("%s: %+v %v", name, a, err)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFDIR {
			_, err = listing(v, ino)
		} else {
			_, err = v.Open(ino)
		}
		var unsupported *tree.UnsupportedError
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), adviceWindows) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Open(m.find("secret")); err == nil || !strings.Contains(err.Error(), "EFS") {
		t.Errorf("encrypted content: %v", err)
	}
	if got := readBy(t, v, m.find("fetched from the cloud"), 17, 100); string(got) != "what is behind it" {
		t.Errorf("what was fetched from the cloud: %q", got)
	}
}

func TestWhatWSLLeftIsShown(t *testing.T) {
	t.Parallel()
	ea := func(name string, value []byte) []byte {
		b := []byte{0, 0, 0, 0, 0, byte(len(name)), byte(len(value)), 0}
		b = append(append(append(b, name...), 0), value...)
		b = append(b, make([]byte, (4-len(b)%4)%4)...)
		le.PutUint32(b, uint32(len(b)))
		return b
	}
	number := func(n uint32) []byte { return le.AppendUint32(nil, n) }
	v := kinds(t, map[string][]byte{}, func(m *maker) {
		m.write("wsl", []byte("x"))
		all := append(ea("$LXUID", number(1000)), ea("$LXGID", number(100))...)
		m.xattr("wsl", "system.ntfs_ea", append(all, ea("$LXMOD", number(unix.S_IFREG|0o4750))...))
	}).v
	ino, err := v.Lookup(v.root, "wsl")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := v.Stat(ino); err != nil || a.UID != 1000 || a.GID != 100 || a.Mode != unix.S_IFREG|0o4750 {
		t.Errorf("%+v %v", a, err)
	}
}

func TestNamesAreFoundInAnyCaseAndByTheirShortForm(t *testing.T) {
	t.Parallel()
	v := kinds(t, map[string][]byte{}, func(m *maker) {
		m.write(shortAsWell, []byte("dos"))
		m.xattr(shortAsWell, "system.ntfs_dos_name", []byte("LONGNA~1.TXT"))
		for _, name := range []string{"Straße Ünïcode", "both", "BOTH"} {
			m.write(name, []byte(name))
		}
	}).v
	for as, name := range map[string]string{"LONG NAME with a short one.TXT": shortAsWell, "longna~1.txt": shortAsWell,
		"STRAßE üNÏCODE": "Straße Ünïcode", "both": "both", "BOTH": "BOTH"} {
		want, err := v.Lookup(v.root, name)
		got, err2 := v.Lookup(v.root, as)
		if err != nil || err2 != nil || want != got {
			t.Errorf("%s: %x %v, %s: %x %v", name, want, err, as, got, err2)
		}
	}
	for _, name := range []string{"$MFT", "missing", "", ".", "\x00"} {
		if _, err := v.Lookup(v.root, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestALargeStreamIsReadAsAStream(t *testing.T) {
	t.Parallel()
	image := makeNTFS(t, 16)
	content := bytes.Repeat([]byte("stream "), 30_000)
	mounted(t, image, "", func(dir string) { newMaker(t, dir).write("file", []byte("main")) })
	mounted(t, image, "streams_interface=windows", func(dir string) { newMaker(t, dir).write("file:large", content) })
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	ino, err := v.Lookup(v.Root(), "file")
	if err != nil {
		t.Fatal(err)
	}
	var unsupported *tree.UnsupportedError
	if _, err := v.Xattr(ino, "user.large"); !errors.As(err, &unsupported) {
		t.Errorf("as an attribute: %v", err)
	}
	streams, err := v.(tree.Streamer).Streams(ino)
	if err != nil || len(streams) != 1 || streams[0] != (tree.Stream{Name: "large", Size: int64(len(content))}) {
		t.Fatalf("%+v %v", streams, err)
	}
	f, err := v.(tree.Streamer).OpenStream(ino, "large")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, streams[0].Size)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

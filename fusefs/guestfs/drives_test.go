package guestfs

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/part"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// onMBR is how Windows knows a partition that begins so many MiB behind the beginning of
// the disk that machine.disk makes of that name.
func onMBR(disk byte, at uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, 0xcafe0000|uint32(disk)), at*mib)
}

// windows is a guest with Windows on sda2, data on sda1 and sdb1, and a partition of a GPT.
// Devices are what its registry says of drives; nil: it has none.
func windows(devices map[string][]byte, change func(system, data *treetest.FS)) (*Guest, *View, error) {
	m := &machine{}
	system, data, more := treetest.New("ntfs"), treetest.New("ntfs"), treetest.New("ntfs")
	system.About.FoldsCase, data.About.FoldsCase = true, true
	system.At("Windows/System32/config")
	if devices != nil {
		system.File("Windows/System32/config/SYSTEM", string(treetest.MountedDevices(devices)))
	}
	system.File("Users/Ann/report.docx", "text")
	system.Symlink("link", "/D:/books/one")
	system.Symlink("own", "/C:/Users/Ann")
	system.Symlink("mounted", "/Volume{0000-AA}/books")
	system.Symlink("gone", "/X:/away")
	data.File("books/one", "1")
	data.Symlink("books/up", "../../../top")
	data.Symlink("books/home", "/top")
	data.Symlink("books/system", "/C:/Users/Ann/report.docx")
	data.File("top", "of data")
	more.File("m", "more")
	if change != nil {
		change(system, data)
	}
	m.disk("sda", m.set.Image(data, mib), m.set.Image(system, mib))
	m.disk("sdb", m.set.Image(more, mib), make([]byte, mib))
	m.missing = []Missing{{"sdc", "too large"}}
	g := m.open()
	for _, v := range g.Volumes() { // the test's images bear no NTFS of their own
		v.signature = &signature{kind: "ntfs", format: &g.o.Formats[0]}
		if v.Name == "sdb1" {
			v.Scheme, v.Partition.UUID = part.GPT, "33221100-5544-7766-8899-aabbccddeeff"
		}
	}
	w, err := g.Root()
	return g, w, err
}

// drives are those of the registry of most tests.
func drives() map[string][]byte {
	return map[string][]byte{
		`\DosDevices\C:`: onMBR('a', 2), `\DosDevices\D:`: onMBR('a', 1),
		`\dosdevices\e:`:      []byte("DMIO:ID:\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"),
		`\DosDevices\F:`:      onMBR('c', 1),
		`\DosDevices\G:`:      []byte("\\\x00?\x00?\x00\\\x00S\x00C\x00S\x00I\x00#\x00C\x00d\x00R\x00o\x00m\x00"),
		`\??\Volume{0000-aa}`: onMBR('a', 1),
		`#{something else}`:   {1, 2, 3},
	}
}

func TestDrivesOfWindowsHaveTheLettersThatItsRegistrySays(t *testing.T) {
	t.Parallel()
	g, w, err := windows(drives(), nil)
	if err != nil || !w.Windows() {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		`D:\books\one`: "1", `d:/BOOKS/one`: "1", `/D:/books/one`: "1", `E:\m`: "more", `C:\Users\ann\report.docx`: "text", `\Users\Ann\report.docx`: "text",
		`C:\link`: "1", `\own\report.docx`: "text", `D:\books\system`: "text", `D:\books\home`: "of data", `D:\books\up`: "of data", `D:\..\..\top`: "of data",
		`\mounted\one`: "1",
	} {
		if got := read(t, w, name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	for name, why := range map[string]string{`F:\x`: "signature cafe0063", `G:\`: "CdRom", `H:\x`: "it has C:, D:, E:, F:, G:", `C:\gone`: "no drive of that letter"} {
		if _, err := w.Resolve(name); !errors.As(err, new(*NotInPointError)) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, rest, err := w.Locate(`/D:/books`); err != nil || v.Name != "sda1" || rest != "/books" {
		t.Errorf("%v, %s, %v", v, rest, err)
	}
	for name, want := range map[string][]string{"sda2": {"C:"}, "sda1": {"D:"}, "sdb1": {"E:"}} {
		v, err := g.Volume(name)
		if err != nil || !slices.Equal(g.MountedAt(v), want) {
			t.Errorf("%s is %q, %v", name, g.MountedAt(v), err)
		}
	}
	if got := w.Drives(); !slices.Equal(got, []string{"C:", "D:", "E:", "F:", "G:"}) {
		t.Errorf("%q", got)
	}
	p, err := w.Resolve(`C:\`)
	if err != nil {
		t.Fatal(err)
	}
	for c := range p.Children() {
		if strings.Contains(c.Name, ":") {
			t.Errorf("the root lists %s", c.Name)
		}
	}
}

func TestWindowsMayHaveAnotherLetterThanC(t *testing.T) {
	t.Parallel()
	_, w, err := windows(map[string][]byte{`\DosDevices\C:`: onMBR('a', 1), `\DosDevices\W:`: onMBR('a', 2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, w, `C:\books\one`) + read(t, w, `W:\Users\Ann\report.docx`) + read(t, w, `\Users\Ann\report.docx`); got != "1texttext" {
		t.Errorf("%q", got)
	}
}

func TestWithoutARegistryThatCanBeReadWindowsIsC(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(system, data *treetest.FS){
		"none":    nil,
		"damaged": func(system, _ *treetest.FS) { system.File("Windows/System32/config/SYSTEM", strings.Repeat("x", 9000)) },
		"empty":   func(system, _ *treetest.FS) { system.File("Windows/System32/config/SYSTEM", "") },
		"a link in circles": func(system, _ *treetest.FS) {
			system.Symlink("Windows/System32/config/SYSTEM", "/C:/Windows/System32/config/SYSTEM")
		},
		"a folder": func(system, _ *treetest.FS) { system.At("Windows/System32/config/SYSTEM") },
	} {
		g, w, err := windows(nil, change)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, w, `C:\Users\Ann\report.docx`); got != "text" {
			t.Errorf("%s: %q", name, got)
		}
		if _, err := w.Resolve(`D:\x`); !errors.As(err, new(*NotInPointError)) || !strings.Contains(err.Error(), "name the volume instead") {
			t.Errorf("%s: %v", name, err)
		}
		if r := w.Volume().Report(); !strings.Contains(strings.Join(r.Notes, ";"), "letters of drives are not known") {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
		g.Drop()
	}
}

func FuzzDrives(f *testing.F) {
	f.Add(`\DosDevices\D:`, onMBR('a', 1), `D:\books\one`)
	f.Add(`\??\Volume{1}`, []byte("DMIO:ID:0123456789abcdef"), `\??\Volume{1}\x`)
	f.Add(`\??\Volume{0000-aa}`, onMBR('a', 2), `/volume{`)
	f.Fuzz(func(t *testing.T, name string, id []byte, path string) {
		if len(name) > 200 || len(id) > 1000 {
			return
		}
		for _, c := range name {
			if c > 255 {
				return
			}
		}
		_, w, err := windows(map[string][]byte{name: id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Resolve(path)
		_ = w.Drives()
	})
}

package ext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// withoutKernel are options for images that mke2fs fills itself: without root, and
// with features that many kernels lack.
var withoutKernel = []string{
	"-t ext4",
	"-t ext4 -b 1024 -O inline_data",
	"-t ext4 -b 65536",
	"-t ext4 -b 16384 -O bigalloc -C 65536",
	"-t ext4 -O casefold -E encoding=utf8",
	"-t ext4 -O casefold -E encoding=utf8,encoding_flags=strict",
	"-t ext4 -O large_dir,ea_inode,metadata_csum_seed -b 1024",
	"-t ext4 -O ^metadata_csum,inline_data,^64bit",
	"-t ext4 -O project,quota,verity,orphan_file",
	"-t ext2 -b 4096",
	"-t ext3 -b 1024",
	"-t ext4 -O ^extent,^64bit,^metadata_csum -b 1024",
}

// TestWhatMke2fsPutIntoAnImageIsReadBack holds against the folder that it copied.
func TestWhatMke2fsPutIntoAnImageIsReadBack(t *testing.T) {
	t.Parallel()
	source := filepath.Join(treetest.Scratch(t), "source")
	if err := os.MkdirAll(filepath.Join(source, "sub/folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, 1, 60, 61, 150, 151, 4096, 100_000, 5_000_000} {
		write(fmt.Sprintf("file-%d", n), pattern(n, n))
		write(fmt.Sprintf("sub/folder/file-%d", n), pattern(n+1, n))
	}
	for i := range 800 {
		write(fmt.Sprintf("sub/name %d with letters to fill a block with", i), nil)
	}
	for _, n := range []int{1, 59, 60, 900} {
		if err := os.Symlink(strings.Repeat("l", n), filepath.Join(source, fmt.Sprintf("link-%d", n))); err != nil {
			t.Fatal(err)
		}
	}
	for _, options := range withoutKernel {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			v := opened(t, mkfs(t, 80<<20, append(strings.Fields(options), "-d", source)...), tree.Options{})
			got := names(t, v)
			slices.Sort(got)
			var want []string
			filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					t.Fatal(err)
				}
				if path != source {
					want = append(want, strings.TrimPrefix(path, source))
					sameAsSource(t, v, source, strings.TrimPrefix(path, source), d)
				}
				return nil
			})
			if want = append(want, "/lost+found"); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("%d names, want %d", len(got), len(want))
			}
		})
	}
}

func sameAsSource(t *testing.T, v *volume, source, path string, d fs.DirEntry) {
	t.Helper()
	ino, err := resolve(v, path)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	st, err := d.Info()
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Stat(ino)
	if err != nil || a.Mtime.Unix() != st.ModTime().Unix() || a.Mode&0o777 != uint32(st.Mode().Perm()) {
		t.Errorf("%s: %+v, %v; want %v", path, a, err, st)
	}
	switch {
	case d.Type().IsRegular():
		want, err := os.ReadFile(filepath.Join(source, path))
		if err != nil || !bytes.Equal(content(t, v, path), want) {
			t.Errorf("%s differs", path)
		}
	case d.Type()&fs.ModeSymlink != 0:
		want, _ := os.Readlink(filepath.Join(source, path))
		if got, err := v.Readlink(ino); got != want || err != nil {
			t.Errorf("%s -> %q, %v", path, got, err)
		}
	}
}

// names lists all paths.
func names(t testing.TB, v *volume) (all []string) {
	t.Helper()
	var walk func(ino uint64, path string)
	walk = func(ino uint64, path string) {
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			all = append(all, path+"/"+e.Name)
			if e.Type == modeDir {
				walk(e.Ino, path+"/"+e.Name)
			}
		}
	}
	walk(v.Root(), "")
	return all
}

// TestAFolderWithCasefoldFindsNamesInAnyCase flags a folder by hand, since few
// kernels are built with the tables for it.
func TestAFolderWithCasefoldFindsNamesInAnyCase(t *testing.T) {
	t.Parallel()
	source := filepath.Join(treetest.Scratch(t), "source")
	for _, name := range []string{"f/Straße", "f/ÉCLAIR", "f/ReadMe.TXT", "plain/ReadMe.TXT", "big/Übung"} {
		if err := os.MkdirAll(filepath.Join(source, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1200 {
		os.WriteFile(filepath.Join(source, fmt.Sprintf("big/Some LONGER name %d to fill blocks", i)), nil, 0o600)
	}
	image := mkfs(t, 16<<20, "-t", "ext4", "-b", "1024", "-O", "casefold", "-E", "encoding=utf8", "-d", source)
	for _, dir := range []string{"f", "big"} {
		treetest.Run(t, "debugfs", "-w", "-R", "set_inode_field "+dir+" flags 0x40080000", image)
	}
	treetest.Run(t, "sh", "-c", `e2fsck -fyD "$0"; [ $? -le 1 ]`, image) // gives the large one a hash tree of folded names
	v := opened(t, image, tree.Options{})
	if !v.Info().FoldsCase {
		t.Error("info does not say that case is folded")
	}
	for path, found := range map[string]bool{
		"f/straße": true, "f/STRASSE": true, "f/stras\u00adse": true, "f/éclair": true, "f/E\u0301clair": true, "f/readme.txt": true,
		"f/readme.tx": false, "plain/ReadMe.TXT": true, "plain/readme.txt": false,
		"big/some longer NAME 77 to fill blocks": true, "big/u\u0308BUNG": true, "big/some longer NAME 7777 to fill blocks": false,
	} {
		if _, err := resolve(v, path); (err == nil) != found || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
	}
	big, err := resolve(v, "big")
	if err != nil {
		t.Fatal(err)
	}
	in, _ := v.inode(big)
	if ino, usable := v.lookupHash(&in, v.matcher(&in, "SOME longer name 1000 to fill blocks")); ino == 0 || !usable {
		t.Error("the hash tree of folded names is of no use")
	}
}

// TestHashesAreThoseOfDebugfs asks the official tool for hashes of names.
func TestHashesAreThoseOfDebugfs(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "debugfs")
	s := super{hashSeed: [4]uint32{0x04030201, 0x08070605, 0x0c0b0a09, 0x100f0e0d}}
	for kind, name := range []string{"legacy", "half_md4", "tea"} {
		for _, n := range []int{1, 3, 4, 16, 17, 31, 32, 33, 255} {
			file := strings.Repeat("aé", n)[:n]
			out := treetest.Run(t, "debugfs", "-R", "dx_hash -h "+name+" -s 01020304-0506-0708-090a-0b0c0d0e0f10 "+file)
			var want uint32
			_, after, _ := strings.Cut(out, " is 0x")
			if _, err := fmt.Sscanf(after, "%x", &want); err != nil {
				t.Fatalf("debugfs says %q", out)
			}
			if got, ok := s.hashName(byte(kind), file); got != want || !ok {
				t.Errorf("%s of %q: %08x, not %08x", name, file, got, want)
			}
		}
	}
}

// TestEncryptedFilesAreNamedAndRefused lets the kernel encrypt a folder.
func TestEncryptedFilesAreNamedAndRefused(t *testing.T) {
	t.Parallel()
	image := mkfs(t, 32<<20, "-t", "ext4", "-O", "encrypt,^has_journal")
	dir, unmount := mounted(t, image, "test_dummy_encryption")
	secret := filepath.Join(dir, "secret")
	if err := os.Mkdir(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(secret, fmt.Sprintf("%0*d", 1+i*254/299, i)), pattern(i, 100), 0o640); err != nil && i > 10 {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("target", filepath.Join(secret, "link")); err != nil {
		t.Fatal(err)
	}
	unmount()
	v := opened(t, image, tree.Options{})
	list := names(t, v)
	folder := ""
	for _, name := range list {
		if strings.Count(name, "/") == 1 && strings.HasPrefix(name, "/_encrypted_") {
			folder = name
		}
	}
	if folder == "" { // the folder's own name is plain
		folder = "/secret"
	}
	ino, err := resolve(v, folder)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range v.ReadDir(ino) {
		seen++
		if err != nil || !strings.HasPrefix(e.Name, "_encrypted_") || len(e.Name) > 255 {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if found, err := v.Lookup(ino, e.Name); found != e.Ino || err != nil {
			t.Fatalf("looking up %q: %d, %v", e.Name, found, err)
		}
		var unsupported *tree.UnsupportedError
		if e.Type == modeLink {
			_, err = v.Readlink(e.Ino)
		} else {
			_, err = v.Open(e.Ino)
		}
		if !errors.As(err, &unsupported) {
			t.Fatalf("%q: %v", e.Name, err)
		}
	}
	if seen != 301 {
		t.Errorf("%d entries of 301", seen)
	}
}

// TestReadingAFileAllocatesNothing holds for any file, however it lies.
func TestReadingAFileAllocatesNothing(t *testing.T) {
	source := filepath.Join(treetest.Scratch(t), "source")
	os.Mkdir(source, 0o755)
	if err := os.WriteFile(filepath.Join(source, "file"), pattern(1, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ext2", "ext4"} {
		v := opened(t, mkfs(t, 32<<20, "-t", kind, "-d", source), tree.Options{})
		ino, err := resolve(v, "file")
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.Open(ino)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4<<20)
		if n := testing.AllocsPerRun(5, func() {
			if n, err := f.ReadAt(buf, 3<<20); n != len(buf) || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
		}); n > 0 {
			t.Errorf("%s: %.0f allocations to read 4 MiB", kind, n)
		}
		if n, err := f.ReadAt(buf, 6<<20); n != 2<<20 || err != io.EOF {
			t.Errorf("across the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(buf, 8<<20); n != 0 || err != io.EOF {
			t.Errorf("past the end: %d, %v", n, err)
		}
	}
}

package history

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestFilesOfWindowsAreFollowedAsThoseOfLinux changes volumes by their own tools.
func TestFilesOfWindowsAreFollowedAsThoseOfLinux(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mkfs          string
		tools               []string
		put, remove, rename string // scripts: $1 the image, $2 a name, $3 a file or another name
	}{
		{"FAT", "mkfs.vfat", []string{"mkfs.vfat", "mcopy", "mdel", "mren"}, `mcopy -o -i "$1" "$3" "::$2"`, `mdel -i "$1" "::$2"`, `mren -i "$1" "::$2" "::$3"`},
		{"NTFS", "mkntfs -q -F", []string{"mkntfs", "ntfscp"}, `ntfscp -q "$1" "$3" "$2"`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needTool(t, c.tools...)
			dir := scratch(t)
			image := filepath.Join(dir, "image")
			sh(t, "", `truncate -s 24M "$1"; `+c.mkfs+` "$1" >/dev/null`, image)
			r := rand.New(rand.NewPCG(9, 9))
			s := newStore(t)
			files := map[string][]byte{}
			var want []map[string][]byte
			for day := range 14 {
				for n := range 3 {
					name := fmt.Sprintf("file%d.bin", r.IntN(6))
					b := make([]byte, r.IntN(60_000))
					if n == 0 {
						b = b[:min(len(b), 200)] // within the record of its inode, where there is one
					}
					for i := range b {
						b[i] = byte(r.Uint32())
					}
					from := filepath.Join(dir, fmt.Sprintf("from-%d-%d", day, n))
					if err := writeFile(from, b); err != nil {
						t.Fatal(err)
					}
					switch other := fmt.Sprintf("other%d", day*3+n); {
					case n == 2 && c.remove != "" && files[name] != nil && r.IntN(2) == 0:
						sh(t, "", c.remove, image, name)
						delete(files, name)
					case n == 2 && c.rename != "" && files[name] != nil:
						sh(t, "", c.rename, image, name, other)
						files[other] = files[name]
						delete(files, name)
					default:
						sh(t, "", c.put, image, name, from)
						files[name] = b
					}
				}
				s.add("win", disk{"sda", readImage(t, image)})
				now := map[string][]byte{}
				for name, b := range files {
					now[name] = b
				}
				want = append(want, now)
			}
			followWindows(t, s, want)
		})
	}
}

func followWindows(t *testing.T, s *store, want []map[string][]byte) {
	t.Helper()
	v := s.open()
	for _, name := range []string{"file0.bin", "file1.bin", "file2.bin", "file3.bin", "file4.bin", "file5.bin"} {
		h, err := File(t.Context(), v, s.points, FileOptions{Path: "/" + name, Volume: "sda"})
		if err != nil {
			t.Fatal(err)
		}
		checkVersions(t, name, h, s.points)
		for day, got := range story(t, h) {
			b, there := want[day][name]
			if !there && got.State != "absent" || there && (got.State != "file" || got.SHA256 != sumOf(b)) {
				t.Errorf("%s on day %d: %+v; it was there: %v, %d bytes", name, day, got, there, len(b))
			}
		}
	}
	for i := range want {
		j := (i*5 + 3) % len(want)
		list, _ := diffOf(t, v, Side{s.points[i], "sda", "/"}, Side{s.points[j], "sda", "/"}, DiffOptions{})
		a, b := map[string]fact{}, map[string]fact{}
		for to, from := range map[*map[string]fact]map[string][]byte{&a: want[i], &b: want[j]} {
			for name, content := range from {
				(*to)["/"+name] = fact{kind: "file", sum: sumOf(content)}
			}
		}
		for n := range list { // when they were changed is as the tools say
			list[n].Details = without(list[n].Details, "modified", "attributes")
			if list[n].Change == "metadata" {
				list[n].Details = nil
			}
		}
		if wrong := applyDiff(list, a, b); len(wrong) > 0 {
			t.Errorf("days %d and %d: %q in %s", i, j, wrong, tellAll(list))
		}
	}
}

func without(list []string, words ...string) (kept []string) {
	for _, s := range list {
		if s != words[0] && s != words[1] {
			kept = append(kept, s)
		}
	}
	return kept
}

// TestLongStreamsOfNTFSAreComparedToo changes a stream that is too long for an extended
// attribute, and keeps its size.
func TestLongStreamsOfNTFSAreComparedToo(t *testing.T) {
	t.Parallel()
	needTool(t, "mkntfs", "ntfscp")
	dir := scratch(t)
	s := newStore(t)
	sh(t, "", `cd "$1"; truncate -s 24M image; mkntfs -q -F image >/dev/null; echo content >file; ntfscp -q image file doc
		head -c 100000 /dev/zero | tr '\0' a >one; head -c 100000 /dev/zero | tr '\0' b >two; ntfscp -q -N long image one doc`, dir)
	image := filepath.Join(dir, "image")
	s.add("win", disk{"sda", readImage(t, image)})
	sh(t, "", `cd "$1"; ntfscp -q -N long image two doc`, dir)
	s.add("win", disk{"sda", readImage(t, image)})
	h, err := File(t.Context(), s.open(), s.points, FileOptions{Path: "/doc", Volume: "sda"})
	if err != nil || len(h.Versions) != 2 || h.Versions[0].State != "file" || h.Versions[1].Changes[len(h.Versions[1].Changes)-1] != "attributes" ||
		h.Versions[1].SHA256 != sumOf([]byte("content\n")) {
		t.Errorf("%+v, %v", h, err)
	}
}

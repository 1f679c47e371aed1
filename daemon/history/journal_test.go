package history

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWhatAJournalReplacesIsNotTakenForWhatLiesAtHome has journals hold newer content of a
// file, whose own blocks are the same on all days.
func TestWhatAJournalReplacesIsNotTakenForWhatLiesAtHome(t *testing.T) {
	t.Parallel()
	needTool(t, "mkfs.ext4", "debugfs", "e2fsck")
	dir := scratch(t)
	image := filepath.Join(dir, "image")
	contents := [][]byte{bytes.Repeat([]byte("a"), 8192), bytes.Repeat([]byte("b"), 8192), bytes.Repeat([]byte("c"), 8192)}
	for i, b := range contents {
		if err := writeFile(filepath.Join(dir, string(rune('a'+i))), b); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, "", `cd "$1"; truncate -s 24M image; mkfs.ext4 -q -b 4096 -J size=4 image; debugfs -w -R "write a /steady" image; debugfs -w -R "write a /other" image`, dir)
	blocks := strings.Fields(sh(t, "", `debugfs -R "blocks /steady" "$1" 2>/dev/null`, image))
	if len(blocks) != 2 {
		t.Fatalf("the file lies on blocks %q", blocks)
	}
	journal := func(content string) {
		sh(t, "jo\njw -b "+strings.Join(blocks, ",")+" "+filepath.Join(dir, content)+"\njc\n", `debugfs -w -f - "$1"`, image)
	}
	s := newStore(t)
	day := func() { s.add("web1", disk{"vda", readImage(t, image)}) }
	day()
	journal("b")
	day()
	journal("c")
	day()
	day()
	sh(t, "", `e2fsck -fy -E journal_only "$1" >/dev/null || [ $? -lt 4 ]`, image)
	day()
	sh(t, "rm /other\n", `debugfs -w -f - "$1"`, image)
	day()
	v := s.open()
	for _, o := range []FileOptions{{Path: "/steady", Volume: "vda"}, {Path: "/steady", Volume: "vda", NoSums: true}} {
		h, err := File(t.Context(), v, s.points, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Versions) != 3 || h.Versions[0].Points != 1 || h.Versions[1].Points != 1 || h.Versions[2].Points != 4 {
			t.Fatalf("%+v", h.Versions)
		}
		for i, got := range h.Versions {
			if !o.NoSums && got.SHA256 != sumOf(contents[i]) || i > 0 && !slices.Equal(got.Changes, []string{"content"}) {
				t.Errorf("version %d: %+v", i, got)
			}
		}
	}
	for i, want := range []string{"changed", "changed", "", "", "removed"} {
		list, _ := diffOf(t, v, Side{s.points[i], "vda", "/"}, Side{s.points[i+1], "vda", "/"}, DiffOptions{})
		if want == "" && len(list) > 0 || want != "" && (len(list) != 1 || list[0].Change != want) {
			t.Errorf("days %d and %d: %s; it should be %q", i, i+1, tellAll(list), want)
		}
	}
}

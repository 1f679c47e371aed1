package ntfs

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestEveryFileIsAsNtfs3gReadsIt compares volumes of all sizes of clusters and sectors, file by file.
func TestEveryFileIsAsNtfs3gReadsIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		mib     int64
		options []string
		packed  bool
	}{
		{"clusters of 4096", 48, nil, true},
		{"clusters of 512", 24, []string{"-c", "512"}, true},
		{"clusters of 1024", 24, []string{"-c", "1024"}, true},
		{"clusters of 8192", 32, []string{"-c", "8192"}, false},
		{"clusters of 65536", 64, []string{"-c", "65536"}, false},
		{"clusters of 2 MiB", 512, []string{"-c", "2097152"}, false},
		{"sectors of 4096", 48, []string{"-s", "4096"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := makeNTFS(t, c.mib, c.options...)
			mounted(t, image, "compression", func(dir string) {
				m := newMaker(t, dir)
				m.ordinary(1_300_001)
				if c.packed {
					m.compressed()
				}
			})
			var want map[string]facts
			var room unix.Statfs_t
			mounted(t, image, "ro", func(dir string) {
				want = reference(t, dir)
				if err := unix.Statfs(dir, &room); err != nil {
					t.Fatal(err)
				}
			})
			v := treetest.OpenImage(t, Format, image, tree.Options{})
			t.Logf("%d paths", equal(t, want, reading(t, v)))
			equal(t, want, reading(t, treetest.OpenImage(t, Format, image, tree.Options{Memory: 100_000}))) // hardly anything is kept
			info := v.Info()
			if used := int64(room.Blocks-room.Bfree) * room.Frsize; info.Used != used || info.BlockSize != int(room.Bsize) {
				t.Errorf("%+v; ntfs-3g says %d bytes used in blocks of %d", info, used, room.Bsize)
			}
			if info.Type != "ntfs" || info.Label != "Daten" || info.UUID != blkid(t, image) || info.Journal != tree.Clean || len(info.Notes) > 0 {
				t.Errorf("%+v", info)
			}
		})
	}
}

// blkid is what blkid(8) prints as the volume's UUID.
func blkid(t *testing.T, image string) string {
	t.Helper()
	needs.Tools(t, "blkid")
	out, err := exec.Command("blkid", "-p", "-s", "UUID", "-o", "value", image).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

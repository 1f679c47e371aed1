package guestfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestAVolumeThatIsCutShortIsDamageWhereItIsMissed cuts what official tools made, walks it and reads all
// files: what cannot be read is damage, whoever reads it, and what lies before the end is right.
func TestAVolumeThatIsCutShortIsDamageWhereItIsMissed(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"mke2fs":     `truncate -s 8M img; mke2fs -q -t ext4 -d root img`,
		"mkfs.vfat":  `truncate -s 8M img; mkfs.vfat -s 8 img; mcopy -s -i img root/* ::/`,
		"mkntfs":     `truncate -s 8M img; mkntfs -q -F img 2>&1; for f in $(seq 40); do ntfscp -q img root/var/f$f f$f; done`,
		"mkfs.btrfs": `truncate -s 128M img; mkfs.btrfs -q --rootdir root img`,
		"mksquashfs": `mksquashfs root img -quiet -no-progress`,
		"xorriso":    `xorriso -as mkisofs -quiet -R -J -o img root`,
		"mkfs.exfat": `truncate -s 8M img; mkfs.exfat img`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Tools(t, append([]string{name}, map[string][]string{"mkfs.vfat": {"mcopy"}, "mkntfs": {"ntfscp"}}[name]...)...)
			whole := imageBy(t, script)
			all, damage := readAll(t, whole)
			if len(damage) > 0 || len(all) < 40 && name != "mkfs.exfat" {
				t.Fatalf("%d files, %q", len(all), damage)
			}
			missed := 0
			for _, percent := range []int{1, 5, 30, 45, 60, 75, 90} {
				got, damage := readAll(t, whole[:max(len(whole)*percent/100, 96<<10)&^4095]) // what says what it is, is there
				for path, sum := range got {
					if sum != all[path] {
						t.Errorf("cut to %d %%: %s is another", percent, path)
					}
				}
				missed += len(damage)
			}
			if missed == 0 {
				t.Error("nothing was missed at any length")
			}
		})
	}
}

// imageBy has a script make an image of a tree of 40 files.
func imageBy(t *testing.T, script string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "root/var"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		b := make([]byte, 60_000) // which nothing packs
		rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("root/var/f%d", i+1)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-ec", `PATH=$PATH:/usr/sbin:/sbin; cd "$1"; `+script, "sh", dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "img"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll returns the files that can be read, and what is said of the others, which must be damage.
func readAll(t *testing.T, image []byte) (files map[string]string, damage []string) {
	t.Helper()
	files = map[string]string{}
	bad := func(path string, err error) {
		if damage = append(damage, path+": "+err.Error()); !errors.As(err, new(*tree.CorruptError)) || strings.Contains(err.Error(), "EOF") {
			t.Errorf("of %d bytes: %s: %v", len(image), path, err)
		}
	}
	g := guestfs.Open([]guestfs.Disk{{Name: "vda", R: bytes.NewReader(image), Size: int64(len(image))}}, guestfs.Options{})
	v, err := g.Volume("vda")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.FS(); err != nil {
		bad("the volume", err)
		return files, damage
	}
	top, err := v.View().Root()
	if err != nil {
		bad("the root", err)
		return files, damage
	}
	err = top.Walk(t.Context(), func(p guestfs.Place, a tree.Attr, err error) error {
		if err != nil {
			bad(p.Path, err)
			return nil
		}
		if a.Mode&0o170000 != 0o100000 {
			return nil
		}
		f, size, err := p.Open()
		if err != nil {
			bad(p.Path, err)
			return nil
		}
		b := make([]byte, size)
		if n, err := f.ReadAt(b, 0); n < len(b) || err != nil && err != io.EOF {
			bad(p.Path, err)
			return nil
		}
		files[p.Path] = string(b)
		return nil
	})
	if err != nil {
		bad("the walk", err)
	}
	return files, damage
}

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// kernelReads mounts an image by the kernel's own driver, for comparison.
func kernelReads(t *testing.T, image, options string) string {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "losetup", "mount")
	at := filepath.Join(t.TempDir(), "kernel")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop,"+options, image, at).CombinedOutput(); err != nil {
		needs.Missing(t, "the kernel mounts no image here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", at, err, out)
		}
	})
	return at
}

// sameTree fails the test unless rsync finds two trees equal: content, owners, modes, times,
// links, hard links, ACLs and extended attributes.
func sameTree(t *testing.T, a, b string, more ...string) {
	t.Helper()
	needs.Tools(t, "rsync")
	args := append([]string{"-naHAXcS", "--numeric-ids", "--delete", "-i"}, more...)
	out, err := exec.Command("rsync", append(args, a+"/", b+"/")...).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	if len(out) > 0 {
		t.Errorf("%s and %s differ:\n%.2000s", a, b, out)
	}
}

// TestFilesOfARealGuestAreThoseOfItsDisk compares the root of a real Debian as the mount and a copy
// show it with what the kernel reads.
func TestFilesOfARealGuestAreThoseOfItsDisk(t *testing.T) {
	t.Parallel()
	files := guest.Get(t)
	kernel := kernelReads(t, files.Root, "ro,noload")
	v := newVault(t)
	v.backup("web1", files.Root)
	at, _ := v.mounted()
	sameTree(t, kernel, filepath.Join(at, "web1/latest/files/vda"))
	copied := filepath.Join(t.TempDir(), "copy")
	// Its /data is on a disk that this point does not hold.
	o := v.must(3, "cp", "--quiet", "--as-is", "web1@latest:/", copied+"/")
	if !strings.Contains(o.err, "LABEL=hfdata) is not in this point") || strings.Count(o.err, "warning:") != 1 {
		t.Errorf("the copy says %s", o.err)
	}
	sameTree(t, kernel, copied, "--exclude=/data")
	tarred := filepath.Join(t.TempDir(), "tarred")
	tool(t, "sh", "-c", fmt.Sprintf("mkdir %[1]s && HOLDFAST_VAULT=%[2]s %[3]s tar -q web1@latest:vda:/ | tar -C %[1]s --numeric-owner --xattrs --xattrs-include='*' -xpf -", tarred, v.path, binary))
	sameTree(t, kernel, tarred)
	v.must(6, "cat", "web1@latest:/data/journal.b")
}

// TestFilesOfLogicalVolumesOverSeveralDisksAreRead has lvm make a group of two disks.
func TestFilesOfLogicalVolumesOverSeveralDisksAreRead(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "lvm", "losetup", "mkfs.ext4")
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"root/etc/fstab": "/dev/mapper/hfvg-root / ext4 d 0 1\n/dev/hfvg/my-data /srv/data ext4 d\n", "root/srv/data/empty": "",
		"data/a/file": strings.Repeat("content of a file\n", 200_000), "data/b": "b",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Extents of 4 MiB from 1 MiB on: root has ten of the first disk, my-data all fifteen of the
	// second, where there is most room, and then the other five.
	script := `set -e; cd "$1"; export LVM_SUPPRESS_FD_WARNINGS=1
		truncate -s 64M pv1 pv2; a=$(losetup -f --show pv1); trap 'losetup -d $a' EXIT; b=$(losetup -f --show pv2); trap 'losetup -d $a $b' EXIT
		l() { c=$1; shift; lvm $c --driverloaded n --devices $a,$b -q "$@"; }
		l pvcreate $a $b; l vgcreate hfvg $a $b
		l lvcreate -an -Zn -Wn -y -l 10 -n root hfvg $a; l lvcreate -an -Zn -Wn -y -l 20 -n my-data hfvg $a $b
		mkfs.ext4 -q -d root root.img 40M; mkfs.ext4 -q -d data data.img 80M
		dd if=root.img of=pv1 bs=1M seek=1 conv=notrunc status=none
		dd if=data.img of=pv2 bs=1M seek=1 count=60 conv=notrunc status=none; dd if=data.img of=pv1 bs=1M seek=41 skip=60 conv=notrunc status=none
		lvm lvs --driverloaded n --devices $a,$b -o lv_name,seg_pe_ranges hfvg; sync`
	out := tool(t, "sh", "-c", script, "sh", dir)
	v := newVault(t)
	v.must(0, "backup", "both", "--disk", "vda="+dir+"/pv1", "--disk", "vdb="+dir+"/pv2", "--quiet")
	v.must(0, "backup", "half", "--disk", "vda="+dir+"/pv1", "--quiet")
	o := v.must(0, "volumes", "both@latest")
	for _, want := range []string{"hfvg-root ", "hfvg-my--data", "/srv/data", "LVM2_member"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("%q is not in\n%s\n%s", want, o.out, out)
		}
	}
	if o := v.must(0, "cat", "both@latest:/srv/data/a/file"); o.out != strings.Repeat("content of a file\n", 200_000) {
		t.Errorf("a file over both disks differs: %d bytes", len(o.out))
	}
	v.must(0, "cat", "half@latest:/etc/fstab")
	if o := v.must(6, "cat", "half@latest:/srv/data/b"); !strings.Contains(o.err, "not in this point") || !strings.Contains(o.err, "physical volume that is not here") {
		t.Errorf("without its second disk: %s", o.err)
	}
}

// TestAPointOfAMountedFileSystemShowsWhatItsJournalHolds copies a disk while it is being written to, as
// a crash-consistent backup does, and has the kernel replay the journal of another copy.
func TestAPointOfAMountedFileSystemShowsWhatItsJournalHolds(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "mkfs.ext4", "mkfs.xfs")
	t.Parallel()
	for kind, mkfs := range map[string][]string{"ext4": {"mkfs.ext4", "-q"}, "xfs": {"mkfs.xfs", "-q"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			options := map[string]string{"ext4": "rw", "xfs": "rw,nouuid"}[kind] // both copies have the same UUID
			image, copied := filepath.Join(dir, "disk"), filepath.Join(dir, "copy")
			tool(t, "truncate", "-s", "320M", image)
			tool(t, append(mkfs, image)...)
			func() {
				at := kernelReads(t, image, options)
				tool(t, "sh", "-ec", `cd "$1"; mkdir -p a/b; for i in $(seq 400); do echo content $i >a/b/f$i; done; sync
					for i in $(seq 0 7 400); do rm -f a/b/f$i; done; for i in $(seq 1 3 400); do mv a/b/f$i a/r$i 2>/dev/null || true; done
					ln a/b/f3 hard; ln -s a/b soft; setfattr -n user.x -v y a 2>/dev/null || true; sync -f . ; fsync() { dd if=/dev/zero of="$1" bs=1 count=0 conv=notrunc,fsync status=none; }
					for i in $(seq 50); do echo late $i >late$i; fsync late$i; done`, "sh", at)
				tool(t, "cp", "--sparse=always", image, copied)
			}()
			v := newVault(t)
			v.backup("web1", copied, "--quiet")
			o := v.must(0, "volumes", "web1@latest")
			if !strings.Contains(o.out, "replayed") {
				t.Errorf("the journal was clean, so this proves nothing:\n%s%s", o.out, o.err)
			}
			mounted, _ := v.mounted()
			sameTree(t, kernelReads(t, copied, options), filepath.Join(mounted, "web1/latest/files/vda"), "--exclude=lost+found")
		})
	}
}

// TestFilesOfAWindowsGuestAreFoundByItsPaths has ntfs-3g make a disk of Windows, and mtools a FAT one.
func TestFilesOfAWindowsGuestAreFoundByItsPaths(t *testing.T) {
	needs.Root(t)
	needFUSE(t)
	needs.Tools(t, "mkntfs", "ntfs-3g", "sfdisk", "mkfs.vfat", "mcopy")
	t.Parallel()
	dir := t.TempDir()
	script := `set -e; cd "$1"; truncate -s 60M part; mkntfs -q -F -Q -L System part >/dev/null; mkdir m; ntfs-3g part m
		trap 'fusermount3 -u -z m 2>/dev/null || umount -l m 2>/dev/null || true' EXIT
		mkdir -p m/Windows/System32 m/Users/Ann/Documents; echo text >"m/Users/Ann/Documents/Über uns.docx"
		seq 200000 >m/Users/Ann/big; umount m
		truncate -s 64M sda; echo '2048,,7,*' | sfdisk -q sda; dd if=part of=sda bs=1M seek=1 conv=notrunc status=none
		truncate -s 20M sdb; mkfs.vfat -n STICK sdb >/dev/null; echo 'from the stick' >f; mcopy -i sdb f '::Long Name.txt'`
	tool(t, "sh", "-c", script, "sh", dir)
	v := newVault(t)
	v.must(0, "backup", "win1", "--disk", "sda="+dir+"/sda,format=raw", "--disk", "sdb="+dir+"/sdb,format=raw", "--quiet")
	if o := v.must(0, "volumes", "win1@latest"); !strings.Contains(o.out, "C:") || !strings.Contains(o.out, "STICK") {
		t.Errorf("volumes:\n%s%s", o.out, o.err)
	}
	for _, path := range []string{`C:\Users\Ann\Documents\Über uns.docx`, `/users/ANN/documents/über UNS.DOCX`, `\Users/Ann/Documents/Über uns.docx`} {
		if o := v.must(0, "cat", "win1@latest:"+path); o.out != "text\n" {
			t.Errorf("%s holds %q", path, o.out)
		}
	}
	if o := v.must(0, "cat", `win1@latest:sdb:\long name.TXT`); o.out != "from the stick\n" {
		t.Errorf("on the FAT: %q", o.out)
	}
	v.must(6, "ls", `win1@latest:D:\`)
	o := v.must(0, "cp", "--quiet", `win1@latest:C:\Users\Ann`, dir+"/out/")
	if want := tool(t, "seq", "200000"); !strings.Contains(o.out, "copied 2 files") || tool(t, "cat", dir+"/out/Ann/big") != want {
		t.Errorf("the copy: %s%s", o.out, o.err)
	}
	at, _ := v.mounted()
	if got := tool(t, "sh", "-c", `cat "$1/win1/latest/files/sda1/Users/Ann/Documents/Über uns.docx"; ls "$1/win1/latest/files/sdb"`, "sh", at); got != "text\nLong Name.txt\n" {
		t.Errorf("in the mount: %q", got)
	}
}

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// guestYard is a vault with a point of a guest of two disks: vda with boot and root, vdb,
// its /var. Its /gone lies on a disk that no point holds.
func guestYard(t *testing.T) *yard {
	t.Helper()
	needs.Tools(t, "mke2fs", "sgdisk", "dd", "debugfs")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	for name, content := range map[string]string{
		"root/etc/fstab":  "UUID=11111111-2222-3333-4444-555555555555 / ext4 d 0 1\nLABEL=boot /boot ext4 d\n/dev/vdb /var ext4 d\n/dev/vdc1 /gone ext4 nofail\n",
		"root/etc/a.conf": "one\n", "root/etc/sub/b.conf": "two\n", "root/home/ann/notes": "hello\n", "root/home/ann/.profile": "x",
		"root/home/ann/big": strings.Repeat("0123456789abcdef", 20_000), "boot/vmlinuz": "kernel", "var/log/syslog": "line 1\n", "var/lib/x": "",
		"root/boot/empty": "", "root/var/empty": "", "root/gone/empty": "",
	} {
		if err := os.MkdirAll(filepath.Dir(y.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		y.write(name, []byte(content))
	}
	for name, target := range map[string]string{"root/home/ann/abs": "/etc/a.conf", "root/home/ann/log": "/var/log", "root/home/ann/near": "notes"} {
		if err := os.Symlink(target, y.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	script := `set -e; PATH=$PATH:/usr/sbin:/sbin; cd $1
		truncate -s 40M vda; sgdisk -n1:1M:+8M -c1:boot -n2:9M:+24M vda >/dev/null
		mke2fs -q -t ext2 -L boot -d boot p1 8M; mke2fs -q -t ext4 -U 11111111-2222-3333-4444-555555555555 -d root p2 24M; mke2fs -q -t ext3 -d var vdb 8M
		debugfs -w -R "sif /home/ann/big mode 0104755" p2 2>/dev/null; debugfs -w -R "sif /home/ann/big mtime 20200102030405" p2 2>/dev/null
		dd if=p1 of=vda bs=1M seek=1 conv=notrunc status=none; dd if=p2 of=vda bs=1M seek=9 conv=notrunc status=none`
	if out, err := exec.Command("sh", "-c", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw", "--disk", "vdb="+y.path("vdb")+",format=raw")
	return y
}

func TestGuestFilesAreReadWithoutAMount(t *testing.T) {
	t.Parallel()
	y := guestYard(t)
	o := y.must(exitDone, "volumes", "web1@latest")
	for _, row := range []string{"vda1", "vda2", "vdb", "ext2", "ext4", "ext3", "boot", "/var"} {
		o.says(t, row)
	}
	var all api.GuestVolumes
	if err := json.Unmarshal([]byte(y.must(exitDone, "volumes", "web1@latest", "--json").out), &all); err != nil || len(all.Volumes) != 3 ||
		all.Volumes[1].UUID != "11111111-2222-3333-4444-555555555555" || all.Volumes[1].MountedAt[0] != "/" || all.Volumes[0].Partition.Label != "boot" || !all.Volumes[2].Readable {
		t.Errorf("%+v, %v", all, err)
	}
	for words, want := range map[string]string{
		"ls web1@latest:/home/ann":                                          "abs\nbig\nlog\nnear\nnotes\n",
		"ls -a web1@latest:/home/ann/":                                      ".profile\nabs\nbig\nlog\nnear\nnotes\n",
		"ls web1@latest:/boot":                                              "lost+found\nvmlinuz\n",
		"ls web1@latest:vda2:/boot":                                         "empty\n",
		"ls web1@latest:vdb:log":                                            "syslog\n",
		"ls web1@latest:/home/ann/notes":                                    "notes\n",
		"cat web1@latest:/etc/a.conf web1@latest:/home/ann/log/syslog":      "one\nline 1\n",
		"cat web1@latest:/home/ann/abs":                                     "one\n",
		"find web1@latest --name *.conf":                                    "/etc/a.conf\n/etc/sub/b.conf\n",
		"find web1@latest:/etc --path /etc/*/*.conf":                        "/etc/sub/b.conf\n",
		"find web1@latest:/home --size +256KiB --older 2021-01-01 --type f": "/home/ann/big\n",
		"find web1@latest:/home --size -6 --type f":                         "/home/ann/.profile\n",
		"find web1@latest:/var --type d --newer 30d":                        "/var\n/var/lost+found\n/var/log\n/var/lib\n",
	} {
		code := exitDone
		if strings.HasPrefix(words, "find web1@latest --") {
			code = exitWarnings // /gone
		}
		got := y.must(code, strings.Fields(words)...)
		if sorted(got.out) != sorted(want) {
			t.Errorf("%s gives\n%s", words, got.out)
		}
	}
	y.must(exitDone, "ls", "-l", "web1@latest:/home/ann").says(t, "-rwsr-xr-x")
	y.must(exitDone, "ls", "-la", "web1@latest:/home/ann").says(t, "abs -> /etc/a.conf")
	y.must(exitDone, "ls", "web1@latest:/home/ann", "-al").says(t, ".profile")
	y.must(exitUsage, "ls", "-lx", "web1@latest:/home/ann")
	var files []api.GuestFile
	if err := json.Unmarshal([]byte(y.must(exitDone, "ls", "--json", "web1@latest:/home/ann/big").out), &files); err != nil || len(files) != 1 ||
		files[0].Size != 320_000 || files[0].Mode != "4755" || files[0].Modified.UTC().Year() != 2020 || files[0].Volume != "vda2" {
		t.Errorf("%+v, %v", files, err)
	}
	for typed, want := range map[string]string{"web1@latest:/ho": "web1@latest:/home/", "web1@latest:": "web1@latest:/boot/ web1@latest:/etc/ web1@latest:/gone/ web1@latest:/home/ web1@latest:/lost+found/ web1@latest:/var/",
		"web1@latest:/home/ann/n": "web1@latest:/home/ann/near web1@latest:/home/ann/notes", "web1@latest:vdb:/l": "web1@latest:vdb:/lib/ web1@latest:vdb:/log/ web1@latest:vdb:/lost+found/", "web1@latest:/nowhere/": ""} {
		if got := strings.Join(strings.Fields(y.must(exitDone, completeWord, "ls", typed).out), " "); got != want {
			t.Errorf("%s is completed to %q", typed, got)
		}
	}
	y.must(exitDone, "find", "web1@latest:/var/log", "--json", "--type", "f").says(t, `"path":"/var/log/syslog"`)
}

func sorted(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		for j := range i {
			if lines[i] < lines[j] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "\n")
}

func TestWhatAGuestLacksIsToldFromWhatThePointDoesNotHold(t *testing.T) {
	t.Parallel()
	y := guestYard(t)
	for ref, text := range map[string]string{
		"/gone/file": "not in this point", "/etc/nothing": "does not exist", "vdz1:/": "it has vda1, vda2, vdb", "/etc/a.conf/x": "not a directory",
	} {
		o := y.must(exitNotFound, "cat", "web1@latest:"+ref)
		o.says(t, text)
		if o.out != "" {
			t.Errorf("%s prints %q", ref, o.out)
		}
	}
	if o := y.must(exitNotFound, "ls", "web1@latest:/gone"); strings.Contains(o.err, "does not exist") {
		t.Errorf("%s", o.err)
	}
	y.must(exitNotFound, "ls", "web1@1999:/")
	y.must(exitFailed, "cat", "web1@latest:/etc").says(t, "is a directory")
	for _, words := range []string{"cat", "ls", "cp web1@latest:/etc", "cat web1:/etc", "tar --format rar web1@latest:/", "find web1@latest --type x", "find web1@latest --newer soon", "find web1@latest --size big"} {
		y.must(exitUsage, strings.Fields(words)...)
	}
}

func TestFilesAreCopiedOutOfAGuest(t *testing.T) {
	t.Parallel()
	y := guestYard(t)
	to := y.path("out")
	o := y.must(exitWarnings, "cp", "--quiet", "web1@latest:/home/ann", "web1@latest:/var/log/syslog", to+"/")
	o.says(t, "leads out of the copy")
	o.says(t, "copied 4 files, 1 folder and 1 link")
	y.holds("out/ann/notes", []byte("hello\n"))
	y.holds("out/syslog", []byte("line 1\n"))
	y.holds("out/ann/big", []byte(strings.Repeat("0123456789abcdef", 20_000)))
	if info, err := os.Stat(to + "/ann/big"); err != nil || info.Mode() != 0o755 || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("a plain copy: %v, %v", info, err)
	}
	y.must(exitWarnings, "cp", "--quiet", "web1@latest:/etc/a.conf", to+"/syslog").says(t, "is there already")
	y.must(exitDone, "cp", "--quiet", "--force", "web1@latest:/etc/a.conf", to+"/syslog")
	y.holds("out/syslog", []byte("one\n"))
	y.must(exitDone, "cp", "--quiet", "--json", "--as-is", "web1@latest:/home/ann", y.path("as-is")).says(t, `"failed": 0`)
	if info, err := os.Stat(y.path("as-is/big")); err != nil || info.ModTime().UTC().Year() != 2020 || os.Geteuid() == 0 && info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("a copy as it is: %v, %v", info, err)
	}
	y.must(exitNotFound, "cp", "--quiet", "web1@latest:/etc/a.conf", "web1@latest:/gone/x", to+"/never/")
	if _, err := os.Stat(to + "/never"); err == nil {
		t.Error("something was made although a source was not found")
	}
}

func TestFilesOfAGuestBecomeArchives(t *testing.T) {
	t.Parallel()
	y := guestYard(t)
	names := map[string]bool{}
	for r := tar.NewReader(strings.NewReader(y.must(exitDone, "tar", "--quiet", "web1@latest:/etc", "web1@latest:/var/log").out)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
	if !names["etc/sub/b.conf"] || !names["log/syslog"] || !names["etc/"] {
		t.Errorf("the archive holds %v", names)
	}
	y.must(exitDone, "tar", "--quiet", "--format", "zip", "-o", y.path("x.zip"), "web1@latest:/etc")
	b, err := os.ReadFile(y.path("x.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if z, err := zip.NewReader(bytes.NewReader(b), int64(len(b))); err != nil || len(z.File) != 5 {
		t.Errorf("%v, %v", z, err)
	}
	y.must(exitFailed, "tar", "--quiet", "-o", y.path("x.zip"), "web1@latest:/etc").says(t, "exists")
}

func TestAPlaceInAGuestIsReadInAllItsForms(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"web1@latest":                      "web1 latest  /",
		"web1@latest:/etc":                 "web1 latest  /etc",
		"web1@latest:etc/fstab":            "web1 latest  /etc/fstab",
		"web1@latest:vda2:/home":           "web1 latest vda2 /home",
		"web1@latest:vda2":                 "web1 latest vda2 /",
		"web1@latest:vg0-my--data:":        "web1 latest vg0-my--data /",
		"web1@2026-11-22T22:00:05Z:/etc":   "web1 2026-11-22T22:00:05Z  /etc",
		"web1@2026-11-22T22:00:vda2:/a:/b": "web1 2026-11-22T22:00 vda2 /a:/b",
		"web1@2026-11-22T22:00":            "web1 2026-11-22T22:00  /",
		`win@latest:C:\Users\Ann`:          `win latest  C:\Users\Ann`,
		`win@latest:c:`:                    `win latest  c:/`,
		`win@latest:D:\data`:               `win latest  D:\data`,
		`win@latest:vda3:\Users`:           `win latest vda3 \Users`,
		"web1@latest:/with@sign":           "web1 latest  /with@sign",
	} {
		r, err := parseGuestRef(s)
		if got := fmt.Sprintf("%s %s %s %s", r.point.Machine, r.point.Point, r.volume, r.path); err != nil || got != want {
			t.Errorf("%s is %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "web1", "web1:/etc", "@latest:/etc", "web1@:/etc", ":/"} {
		if r, err := parseGuestRef(s); err == nil {
			t.Errorf("%q is taken for %+v", s, r)
		}
	}
}

// TestAnEncryptedVolumeOfAGuestIsOpenedWithItsPassphrase has cryptsetup encrypt a root.
func TestAnEncryptedVolumeOfAGuestIsOpenedWithItsPassphrase(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mke2fs", "cryptsetup", "dd")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	for name, text := range map[string]string{"root/secret": "plans\n", "root/etc/passwd": "root\n", "pass": "correct horse\nnot this\n", "key": "correct horse", "wrong": "hay\n"} {
		if err := os.MkdirAll(filepath.Dir(y.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		y.write(name, []byte(text))
	}
	script := `set -e; PATH=$PATH:/usr/sbin:/sbin; cd $1
		mke2fs -q -t ext4 -d root vda 8M; truncate -s +32M vda
		cryptsetup reencrypt --encrypt --type luks2 --batch-mode --disable-locks --force-offline-reencrypt --reduce-device-size 32M \
			--key-file key --pbkdf-force-iterations 4 --pbkdf-memory 64 --pbkdf-parallel 1 vda`
	if out, err := exec.Command("sh", "-c", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	for _, flag := range []string{"--guest-passphrase-file=" + y.path("pass"), "--guest-key-file=" + y.path("key")} {
		if o := y.must(exitDone, "cat", flag, "web1@latest:/secret"); o.out != "plans\n" {
			t.Errorf("%s: %q", flag, o.out)
		}
	}
	o := y.must(exitRefused, "cat", "web1@latest:/secret")
	if !strings.Contains(o.err, "it is encrypted (LUKS 2)") || !strings.Contains(o.err, "--guest-passphrase-file FILE") {
		t.Errorf("locked: %s", o.err)
	}
	o = y.must(exitRefused, "cat", "--guest-passphrase-file", y.path("wrong"), "web1@latest:/secret")
	if !strings.Contains(o.err, "none of the passphrases and key files that were given opens it") || strings.Contains(o.err, "hay") {
		t.Errorf("a wrong passphrase: %s", o.err)
	}
	var all api.GuestVolumes
	if err := json.Unmarshal([]byte(y.must(exitDone, "volumes", "--json", "web1@latest").out), &all); err != nil || len(all.Volumes) != 1 || !all.Volumes[0].Locked || all.Volumes[0].Readable || all.Volumes[0].Type != "crypto_LUKS" {
		t.Errorf("%+v", all)
	}
	all = api.GuestVolumes{}
	if err := json.Unmarshal([]byte(y.must(exitDone, "volumes", "--json", "--guest-key-file", y.path("key"), "web1@latest").out), &all); err != nil || len(all.Volumes) != 2 || all.Volumes[0].Locked || !all.Volumes[1].Readable || all.Volumes[1].On[0] != "vda" {
		t.Errorf("%+v", all)
	}
}

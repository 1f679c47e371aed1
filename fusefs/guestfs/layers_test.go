package guestfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

const passphrase = "correct horse battery staple"

// encrypt returns content as cryptsetup encrypts it, and its UUID.
func encrypt(t *testing.T, content []byte) (b []byte, uuid string) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	needs.Tools(t, "cryptsetup")
	file := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(file, append(bytes.Clone(content), make([]byte, 32*mib)...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--batch-mode", "--disable-locks", "--force-offline-reencrypt",
		"--reduce-device-size", "32M", "--key-file", "-", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "64", "--pbkdf-parallel", "1", file)
	cmd.Stdin = strings.NewReader(passphrase)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cryptsetup: %v: %s", err, out)
	}
	id, err := exec.CommandContext(t.Context(), "cryptsetup", "luksUUID", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	return b, strings.TrimSpace(string(id))
}

// mirror returns the two sides of an array named raid1 that holds content: superblocks
// that mdadm made, with other sizes.
func mirror(t *testing.T, content []byte) [][]byte {
	t.Helper()
	f, err := os.Open("mdraid/testdata/raid1.tgz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var sides [][]byte
	for r := tar.NewReader(z); ; {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64<<10) // to where the data begins
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		le, s := binary.LittleEndian, b[4096:]
		le.PutUint64(s[80:], uint64(len(content)/512))
		le.PutUint64(s[136:], uint64(len(content)/512))
		le.PutUint32(s[216:], 0)
		total := uint64(0)
		for i := 0; i < 256+2*int(le.Uint32(s[220:])); i += 4 {
			total += uint64(le.Uint32(s[i:]))
		}
		le.PutUint32(s[216:], uint32(total)+uint32(total>>32))
		sides = append(sides, append(b, content...))
	}
	return sides
}

// encryptedGuest has its root on an encrypted volume and boots from another.
func encryptedGuest(t *testing.T) (m *machine, uuid string) {
	t.Helper()
	m = &machine{}
	root, boot := treetest.New("ext4"), treetest.New("ext4")
	root.File("which", "root")
	root.At("boot")
	root.File("etc/fstab", "/dev/mapper/cryptroot / ext4 defaults 0 1\nLABEL=boot /boot ext4 defaults 0 2\n/dev/mapper/other /other ext4 defaults 0 0\n")
	root.File("etc/crypttab", "# name device key options\ncryptroot /dev/vda2 none luks,discard\nother UUID=00000000-0000-0000-0000-000000000000 none luks\n")
	root.At("other")
	boot.File("which", "boot")
	crypted, uuid := encrypt(t, m.volume(root, rootUUID, "system"))
	m.disk("vda", m.volume(boot, "", "boot"), crypted)
	return m, uuid
}

func TestAnEncryptedRootIsPutTogetherOnceAKeyIsGiven(t *testing.T) {
	m, uuid := encryptedGuest(t)
	open := func(k *Keys) *Guest {
		return Open(m.disks, Options{Formats: m.open().o.Formats, Keys: k})
	}
	keys := NewKeys([]byte("wrong"), []byte(passphrase))
	for range 2 { // the second finds the key by itself
		g := open(keys)
		w, err := g.Root()
		if err != nil {
			t.Fatal(err)
		}
		if read(t, w, "which") != "root" || read(t, w, "boot/which") != "boot" {
			t.Error("the root is not put together")
		}
		v, err := g.Volume("cryptroot")
		if err != nil || v.Name != "luks-"+uuid || !slices.Equal(v.On, []string{"vda2"}) || len(v.Report().MountedAt) != 1 {
			t.Errorf("by the name that crypttab gives: %+v, %v", v, err)
		}
		outer, _ := g.Volume("vda2")
		if r := outer.Report(); r.Type != "crypto_LUKS" || r.UUID != uuid || r.Err == nil || !strings.Contains(r.Err.Error(), "and open") {
			t.Errorf("%+v", r)
		}
	}
	for why, k := range map[string]*Keys{"it is encrypted (LUKS 2)": nil, "none of the passphrases": NewKeys([]byte("wrong"))} {
		g := open(k)
		_, err := g.Root()
		_, err2 := g.Volume("vg0-root")
		outer, _ := g.Volume("vda2")
		for _, err := range []error{err, err2, outer.Report().Err} {
			var u *UnreadableError
			if !errors.As(err, &u) || !u.Locked || !strings.Contains(err.Error(), why) || !strings.Contains(u.Advice, "--guest-passphrase-file") {
				t.Errorf("locked: %v", err)
			}
		}
		if v, err := g.Volume("vda1"); err != nil || read(t, v.View(), "which") != "boot" {
			t.Errorf("what is not encrypted cannot be read: %v", err)
		}
	}
}

func TestLayersLieInOneAnother(t *testing.T) {
	m := &machine{}
	inner := treetest.New("ext4")
	inner.File("which", "inner")
	inner.File("etc/fstab", "UUID="+rootUUID+" / ext4 defaults\n")
	crypted, uuid := encrypt(t, m.volume(inner, rootUUID, ""))
	for i, side := range mirror(t, crypted) {
		m.disk([]string{"vda", "vdb"}[i], m.volume(treetest.New("ext4"), "", ""), side)
	}
	whole := m.disks
	for _, disks := range [][]Disk{whole, whole[1:]} {
		g := Open(disks, Options{Formats: m.open().o.Formats, Keys: NewKeys([]byte(passphrase))})
		w, err := g.Root()
		if err != nil {
			t.Fatal(err)
		}
		if read(t, w, "which") != "inner" || w.Volume().Name != "luks-"+uuid || !slices.Equal(w.Volume().On, []string{"md-raid1"}) {
			t.Errorf("%+v", w.Volume())
		}
		array, err := g.Volume("md-raid1")
		if err != nil || len(array.On) != len(disks) || (len(array.Report().Notes) > 0) != (len(disks) == 1) {
			t.Errorf("%+v, %v, notes %q", array, err, array.Report().Notes)
		}
		side, _ := g.Volume("vdb2")
		if r := side.Report(); r.Type != "linux_raid_member" || !strings.Contains(r.Err.Error(), "md-raid1") {
			t.Errorf("%+v", r)
		}
	}
}

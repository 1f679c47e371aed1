package guestfs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// windowsGuest has its files on a volume that BitLocker encrypts, behind one that it does not.
func windowsGuest(t *testing.T, o bitlockertest.Options) *machine {
	t.Helper()
	m := &machine{}
	inner, boot := treetest.New("ntfs"), treetest.New("vfat")
	inner.File("Windows/win.ini", "inside")
	boot.File("which", "boot")
	o.Method = bitlockertest.XTS128
	content := append(m.volume(inner, "", "C"), make([]byte, 2*mib)...)
	m.disk("vda", m.volume(boot, "", "boot"), bitlockertest.Build(t, content, o).Volume)
	return m
}

func TestABitLockerVolumeIsOpenedOnceAKeyIsGiven(t *testing.T) {
	t.Parallel()
	m := windowsGuest(t, bitlockertest.Options{Recovery: true, Password: true, TPM: true})
	open := func(k *Keys) *Guest { return Open(m.disks, Options{Formats: m.open().o.Formats, Keys: k}) }
	keys := NewKeys([]byte("wrong"), []byte(bitlockertest.Recovery))
	const name = "bitlocker-" + bitlockertest.GUID
	for range 2 { // the second finds the key by itself
		g := open(keys)
		v, err := g.Volume(name)
		if err != nil || !slices.Equal(v.On, []string{"vda2"}) || read(t, v.View(), "Windows/win.ini") != "inside" {
			t.Errorf("%+v, %v", v, err)
		}
		outer, _ := g.Volume("vda2")
		if r := outer.Report(); r.Type != "BitLocker" || r.UUID != bitlockertest.GUID || r.Label != bitlockertest.Description ||
			r.Err == nil || !strings.Contains(r.Err.Error(), "and open") {
			t.Errorf("%+v", r)
		}
	}
	for why, k := range map[string]*Keys{"it is encrypted (BitLocker)": nil, "none of the passphrases and key files that were given opens it (it has: TPM, password, recovery password)": NewKeys([]byte("wrong"))} {
		g := open(k)
		outer, err := g.Volume("vda2")
		if err != nil {
			t.Fatal(err)
		}
		var u *UnreadableError
		if err := outer.Report().Err; !errors.As(err, &u) || !u.Locked || !strings.Contains(err.Error(), why) || !strings.Contains(u.Advice, "recovery password") {
			t.Errorf("locked: %v", err)
		}
		if v, err := g.Volume("vda1"); err != nil || read(t, v.View(), "which") != "boot" {
			t.Errorf("what is not encrypted cannot be read: %v", err)
		}
	}
}

func TestASuspendedBitLockerNeedsNoKey(t *testing.T) {
	t.Parallel()
	m := windowsGuest(t, bitlockertest.Options{Clear: true, TPM: true, ToGo: true, Header: 64 << 10})
	v, err := m.open().Volume("bitlocker-" + bitlockertest.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if notes := v.Report().Notes; read(t, v.View(), "Windows/win.ini") != "inside" || len(notes) != 1 || !strings.Contains(notes[0], "suspended") {
		t.Errorf("notes %q", notes)
	}
}

func TestABitLockerVolumeThatCannotBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	for why, o := range map[string]bitlockertest.Options{"being encrypted or decrypted": {State: bitlockertest.Converting, Clear: true},
		"as it is written to": {EOW: true, Clear: true}} {
		v, err := windowsGuest(t, o).open().Volume("vda2")
		if err != nil {
			t.Fatal(err)
		}
		var u *UnreadableError
		if err := v.Report().Err; !errors.As(err, &u) || u.Locked || u.Type != "BitLocker" || !strings.Contains(err.Error(), why) || !strings.Contains(u.Advice, "dislocker") {
			t.Errorf("%s: %v", why, err)
		}
	}
}

package blockstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/keyring"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

func passphrase(s string) *keyring.Unlocker {
	return &keyring.Unlocker{Passphrase: func() (string, error) { return s, nil }}
}

// sealedVault makes a vault that opens with the passphrase "right" or with the
// identity that is returned.
func sealedVault(t *testing.T) (dir, identity string) {
	t.Helper()
	identity, recipient, err := keyring.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "vault")
	_, err = Create(t.Context(), dir, CreateOptions{BlockSize: 16 << 10, Seal: []SealWith{
		{Passphrase: "right", Work: 10}, {Recipient: recipient, Note: "on paper"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return dir, identity
}

func secretDisk() []byte {
	disk := make([]byte, 600<<10)
	for i := range len(disk) / 32 {
		copy(disk[i*32:], "the secret of a guest, line ")
		disk[i*32+28], disk[i*32+29] = byte(i), byte(i>>8)
	}
	return disk
}

func TestASealedVaultKeepsItsSecretsAndGivesThemBack(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	disk := secretDisk()
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("right")}, Paranoid: true})
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Reason: "a reason that nobody should read"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda", Source: "/secret/path.raw"}, memory(disk), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddConfig("domain.xml", []byte("<secret-of-the-domain/>")); err != nil {
		t.Fatal(err)
	}
	p, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret := o.secret
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	words := [][]byte{[]byte("the secret of a guest"), []byte("secret-of-the-domain"), []byte("/secret/path"),
		[]byte("nobody should read"), secret[:], []byte(strings.ToLower(textOf(t, secret)))}
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		for _, w := range words {
			if bytes.Contains(data, w) {
				t.Errorf("%s shows %q", name, w)
			}
		}
		return err
	})
	for name, u := range map[string]*keyring.Unlocker{"passphrase": passphrase("right"), "identity": {Identities: []string{identity}}} {
		v, err := Open(t.Context(), dir, Options{Unlock: u})
		if err != nil {
			t.Fatalf("open by %s: %v", name, err)
		}
		if !bytes.Equal(readDisk(t, v, p, "vda"), disk) {
			t.Errorf("opened by %s, the disk reads otherwise", name)
		}
		if c, err := v.ReadConfig(t.Context(), p, "domain.xml"); err != nil || !strings.Contains(string(c), "domain") {
			t.Errorf("configuration: %q, %v", c, err)
		}
		mustCheck(t, v)
		v.Close()
	}
}

func textOf(t *testing.T, s interface{ MarshalText() ([]byte, error) }) string {
	t.Helper()
	b, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestASealedVaultOpensForNobodyElse(t *testing.T) {
	t.Parallel()
	dir, _ := sealedVault(t)
	other, _, err := keyring.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		u    *keyring.Unlocker
		want error
	}{
		"nothing given":    {nil, ErrNoKey},
		"nothing in it":    {&keyring.Unlocker{}, ErrNoKey},
		"wrong passphrase": {passphrase("wrong"), ErrWrongKey},
		"another identity": {&keyring.Unlocker{Identities: []string{other}}, ErrWrongKey},
	} {
		if _, err := Open(t.Context(), dir, Options{Unlock: c.u}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Whoever can write to the vault's folder must not get backups in the clear
	// by putting a vault of their own there.
	if _, err := Open(t.Context(), newVault(t, 0), Options{Unlock: passphrase("right")}); !errors.Is(err, ErrNotSealed) {
		t.Errorf("a vault that is not sealed, with a key given: %v", err)
	}
}

func TestASealedPackWhoseHeaderIsLostCanStillBeRead(t *testing.T) {
	t.Parallel()
	dir, _ := sealedVault(t)
	u := passphrase("right")
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: u}})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(secretDisk())})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{Unlock: u})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	err = v.eachPack(v.dir.List, func(w WriterID, id pack.ID) error {
		f, err := os.OpenFile(v.dir.Path(packPath(w, id)), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt(make([]byte, 64), 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readDisk(t, v, p, "vda"), secretDisk()) {
		t.Error("the disk reads otherwise")
	}
}

// swap exchanges the content of two files, or of ranges of them.
func swap(t *testing.T, a string, fromA, toA int64, b string, fromB int64) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		y = x
	}
	for i := range toA - fromA {
		x[fromA+i], y[fromB+i] = y[fromB+i], x[fromA+i]
	}
	for name, data := range map[string][]byte{a: x, b: y} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// equalRecords finds two records of blocks of equal length, in one pack or in
// two, by their files.
func equalRecords(t *testing.T, v *Vault, samePack bool) (a string, x pack.Entry, b string, y pack.Entry) {
	t.Helper()
	type at struct {
		file string
		e    pack.Entry
	}
	seen := map[uint32][]at{}
	err := v.eachPack(v.dir.List, func(w WriterID, id pack.ID) error {
		name := v.dir.Path(packPath(w, id))
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, e := range entriesOfPack(data) {
			for _, s := range seen[e.Length] {
				if (s.file == name) == samePack && s.e.ID != e.ID {
					a, x, b, y = s.file, s.e, name, e
				}
			}
			seen[e.Length] = append(seen[e.Length], at{name, e})
		}
		return nil
	})
	if err != nil || a == "" {
		t.Fatalf("no two records of one length: %v", err)
	}
	return a, x, b, y
}

func TestSwappedRecordsOfASealedVaultAreRefused(t *testing.T) {
	t.Parallel()
	for _, samePack := range []bool{true, false} {
		for _, withHeader := range []bool{true, false} {
			dir, identity := sealedVault(t)
			open := Options{Unlock: &Unlocker{Identities: []string{identity}}}
			noise := make([]byte, 400<<10)
			for i := range noise {
				noise[i] = byte(i*i>>7) ^ byte(i*31>>3) ^ byte(i>>11)*13
			}
			var points []*Point
			for i := range 2 { // two packs of blocks that do not compress, so that lengths are equal
				o := ownVault(t, dir, OwnOptions{Options: open})
				r := bytes.Clone(noise)
				keys := pack.ID{byte(i)}
				for j := range r {
					r[j] ^= byte(o.keys.PackKey(keys)[j%32]) * byte(j>>5|1)
				}
				points = append(points, backUp(t, o, "web1", map[string]Source{"vda": memory(r)}))
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
			}
			v, err := Open(t.Context(), dir, open)
			if err != nil {
				t.Fatal(err)
			}
			a, x, b, y := equalRecords(t, v, samePack)
			skip := int64(0)
			if !withHeader {
				skip = pack.RecordHeaderSize
			}
			swap(t, a, int64(x.Offset)+skip, int64(x.End()), b, int64(y.Offset)+skip)
			failed := 0
			for _, p := range points {
				d, err := v.OpenDisk(p, "vda")
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 16<<10)
				for at := int64(0); at < d.Size(); at += 16 << 10 {
					var corrupt *CorruptError
					if _, err := d.ReadAt(buf[:min(16<<10, d.Size()-at)], at); errors.As(err, &corrupt) {
						failed++
					} else if err != nil && err.Error() != "EOF" {
						t.Fatal(err)
					}
				}
			}
			if failed == 0 {
				t.Errorf("same pack %v, with header %v: swapped records are read", samePack, withHeader)
			}
			v.Close()
		}
	}
}

func TestAPointOfASealedVaultIsRefusedInThePlaceOfAnother(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: &Unlocker{Identities: []string{identity}}}})
	a := backUp(t, o, "web1", map[string]Source{"vda": memory("one")})
	b := backUp(t, o, "db1", map[string]Source{"vda": memory("two")})
	for _, p := range []*Point{a, b} {
		raw, err := o.dir.ReadFile(pointPath(p.Machine, p.Seq, p.ID), maxRecord)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{pointPath(a.Machine, 7, a.ID), pointPath(b.Machine, 1, a.ID), machinePath(a.Machine, 9)} {
			if _, err := o.decodePoint(at, raw); !errors.Is(err, errRecord) {
				t.Errorf("%s is read at %s: %v", p.ID, at, err)
			}
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAVaultLikeASealedOneOpensWithItsKeys(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	like := filepath.Join(t.TempDir(), "like")
	u := &Unlocker{Identities: []string{identity}}
	if _, err := Create(t.Context(), like, CreateOptions{Like: dir}); !errors.Is(err, ErrNoKey) {
		t.Errorf("made without a key: %v", err)
	}
	if _, err := Create(t.Context(), like, CreateOptions{Like: dir, Unlock: u, Seal: []SealWith{{Passphrase: "x", Work: 10}}}); err == nil {
		t.Error("made with keys of its own")
	}
	plain := newVault(t, 0)
	if _, err := Create(t.Context(), like, CreateOptions{Like: plain, Seal: []SealWith{{Passphrase: "x", Work: 10}}}); err == nil {
		t.Error("sealed with a secret that lies in the clear elsewhere")
	}
	info, err := Create(t.Context(), like, CreateOptions{Like: dir, Unlock: u})
	if err != nil || !info.Sealed || info.BlockSize != 16<<10 {
		t.Fatalf("%+v, %v", info, err)
	}
	v, err := Open(t.Context(), like, Options{Unlock: passphrase("right")})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
}

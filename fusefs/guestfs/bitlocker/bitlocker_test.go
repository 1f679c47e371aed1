package bitlocker_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
)

func header(t testing.TB, volume []byte) *bitlocker.Header {
	t.Helper()
	h, err := bitlocker.ReadHeader(bytes.NewReader(volume), int64(len(volume)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// opened is the plain content as this package reads it, by a secret; none where that is nil.
func opened(t testing.TB, volume, secret []byte) []byte {
	t.Helper()
	h := header(t, volume)
	key, err := h.UnlockClear()
	if secret != nil {
		key, err = h.Unlock(secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryMethodIsReadAsDislockerReadsIt(t *testing.T) {
	t.Parallel()
	for name, method := range allMethods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := bitlockertest.Build(t, content(6*mib), bitlockertest.Options{Method: method, Password: true, TPM: true})
			got := opened(t, made.Volume, []byte(bitlockertest.Password))
			same(t, "our reading", got, made.Plain)
			theirs, said := byDislocker(t, made.Volume, "-u"+bitlockertest.Password)
			same(t, "dislocker's reading", theirs, made.Plain)
			if !strings.Contains(said, "We have a winner (n°1)") {
				t.Error("dislocker finds another checksum")
			}
			h := header(t, made.Volume)
			if h.GUID != bitlockertest.GUID || h.Cipher != name || h.Description != bitlockertest.Description || len(h.Notes) > 0 ||
				strings.Join(h.Protectors, ", ") != "TPM, password" {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestEveryProtectorOpensTheVolume(t *testing.T) {
	t.Parallel()
	made := bitlockertest.Build(t, content(6*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Password: true, Recovery: true, Startup: true, Clear: true, TPM: true})
	bek := filepath.Join(t.TempDir(), "key.BEK")
	if err := os.WriteFile(bek, made.BEK, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		secret []byte
		theirs string
	}{
		"password":            {[]byte(bitlockertest.Password), "-u" + bitlockertest.Password},
		"recovery password":   {[]byte(bitlockertest.Recovery), "-p" + bitlockertest.Recovery},
		"without its hyphens": {[]byte(strings.ReplaceAll(bitlockertest.Recovery, "-", "")), ""},
		"startup key":         {made.BEK, "-f" + bek},
		"clear key":           {nil, "-c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, "our reading", opened(t, made.Volume, c.secret), made.Plain)
			if c.theirs != "" {
				theirs, _ := byDislocker(t, made.Volume, c.theirs)
				same(t, "dislocker's reading", theirs, made.Plain)
			}
		})
	}
	if h := header(t, made.Volume); !h.Suspended {
		t.Error("it is not said to be suspended")
	}
}

// TestCryptsetupTakesTheVolumes that the tests make, and their keys.
func TestCryptsetupTakesTheVolumes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o       bitlockertest.Options
		cipher  string
		secrets []string
	}{
		"XTS":      {bitlockertest.Options{Method: bitlockertest.XTS256, Password: true, Recovery: true}, "xts-plain64", []string{bitlockertest.Password, bitlockertest.Recovery}},
		"CBC":      {bitlockertest.Options{Method: bitlockertest.CBC128, Password: true}, "cbc-eboiv", []string{bitlockertest.Password}},
		"diffuser": {bitlockertest.Options{Method: bitlockertest.CBC256Elephant, Recovery: true}, "cbc-elephant", []string{bitlockertest.Recovery}},
		"To Go":    {bitlockertest.Options{Method: bitlockertest.XTS128, Password: true, ToGo: true, Header: 1 * mib}, "xts-plain64", []string{bitlockertest.Password}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := bitlockertest.Build(t, content(8*mib), c.o)
			said, err := cryptsetup(t, made.Volume, "", "bitlkDump")
			if err != nil || !strings.Contains(said, bitlockertest.GUID) || !strings.Contains(said, c.cipher) {
				t.Errorf("bitlkDump: %v: %s", err, said)
			}
			for _, secret := range c.secrets {
				if said, err := cryptsetup(t, made.Volume, secret, "open", "--type", "bitlk", "--test-passphrase", "--key-file", "-"); err != nil {
					t.Errorf("open: %v: %s", err, said)
				}
			}
			if said, err := cryptsetup(t, made.Volume, "wrong", "open", "--type", "bitlk", "--test-passphrase", "--key-file", "-"); err == nil {
				t.Errorf("a wrong key opens it: %s", said)
			}
			same(t, "our reading", opened(t, made.Volume, []byte(c.secrets[0])), made.Plain)
		})
	}
}

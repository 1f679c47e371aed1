package luks

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// opened is the plain content of a volume, read in odd pieces.
func opened(t testing.TB, b []byte, secret string) []byte {
	t.Helper()
	h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.Unlock([]byte(secret), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, v.Size())
	for off := 0; off < len(out); {
		n, err := v.ReadAt(out[off:min(off+300007, len(out))], int64(off))
		if err != nil {
			t.Fatal(err)
		}
		off += n
	}
	tail := make([]byte, 100)
	if n, err := v.ReadAt(tail, v.Size()-33); n != 33 || err != io.EOF || !bytes.Equal(tail[:33], out[len(out)-33:]) {
		t.Fatalf("a read past the end gave %d, %v", n, err)
	}
	if !h.Fits(key) || strings.Contains(fmt.Sprintf("%v %+v %#v %s", key, key, key, key), fmt.Sprint(key.key[0], " ", key.key[1])) {
		t.Error("the key does not fit its own volume, or shows itself")
	}
	return out
}

func TestVolumesThatCryptsetupMadeOpenToWhatWasPutIn(t *testing.T) {
	t.Parallel()
	content := random(3 * mib)
	for _, options := range []string{
		"--pbkdf argon2id --sector-size 512", "--pbkdf argon2i --sector-size 4096 --key-size 256", "--pbkdf argon2id --sector-size 2048 --pbkdf-parallel 2",
		"--pbkdf pbkdf2 --hash sha512 --sector-size 1024", "--pbkdf pbkdf2 --hash sha1 --cipher aes-cbc-essiv:sha256 --key-size 256 --sector-size 512",
		"--pbkdf pbkdf2 --hash sha256 --cipher aes-cbc-plain64 --key-size 128 --sector-size 512",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			o := strings.Fields(options)
			if strings.Contains(options, "pbkdf2") {
				o = append(o, "--pbkdf-force-iterations", "1000")
			} else {
				o = append(append([]string{}, cheap...), o...)
			}
			b := byCryptsetup(t, content, o...)
			if got := opened(t, b, passphrase); !bytes.Equal(got[:len(content)], content) {
				t.Error("the content differs")
			}
		})
	}
}

func TestVolumesOfVersion1OpenWithTheirKeyToWhatWasPutIn(t *testing.T) {
	t.Parallel()
	for _, options := range []string{
		"--hash sha256 --cipher aes-xts-plain64 --key-size 512", "--hash sha1 --cipher aes-xts-plain --key-size 256",
		"--hash sha512 --cipher aes-cbc-essiv:sha256 --key-size 256", "--hash sha256 --cipher aes-cbc-plain --key-size 192",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "volume")
			if err := os.WriteFile(file, make([]byte, 8*mib), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append(strings.Fields(options), "--type", "luks1", "--pbkdf-force-iterations", "1000", "--batch-mode", "--disable-locks", "--key-file", "-")
			run(t, passphrase, "cryptsetup", append([]string{"luksFormat", file}, args...)...)
			keyFile := file + ".key"
			run(t, passphrase, "cryptsetup", "luksDump", "--batch-mode", "--disable-locks", "--key-file", "-", "--dump-volume-key", "--volume-key-file", keyFile, file)
			b, err1 := os.ReadFile(file)
			want, err2 := os.ReadFile(keyFile)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
			if err != nil || h.Version != 1 {
				t.Fatalf("%+v, %v", h, err)
			}
			if key, err := h.Unlock([]byte(passphrase), Limits{}); err != nil || !bytes.Equal(key.key, want) {
				t.Errorf("the key is not the volume's: %v", err)
			}
			opened(t, b, passphrase)
		})
	}
}

// TestVolumesThatQEMUMadeOpenToWhatWasPutIn reads what the LUKS of QEMU made (qemu-img
// convert -O luks of version 7.2), which measures for seconds when it makes one.
func TestVolumesThatQEMUMadeOpenToWhatWasPutIn(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	for i := range 32 {
		want.WriteString(strings.Repeat(fmt.Sprintf("A:%07d;", i), 52)[:512])
	}
	for _, name := range []string{"qemu-xts", "qemu-essiv"} {
		f, err := os.Open(filepath.Join("testdata", name+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if got := opened(t, b, passphrase); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: the content differs", name)
		}
	}
}

func TestEachKeySlotOpensAndAWrongKeyIsNamed(t *testing.T) {
	t.Parallel()
	for version, type1 := range map[int]string{1: "luks1", 2: "luks2"} {
		dir := t.TempDir()
		file, keyFile := filepath.Join(dir, "volume"), filepath.Join(dir, "key")
		key := random(4000) // with zeros and newlines in it
		for name, b := range map[string][]byte{file: make([]byte, 24*mib), keyFile: key} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cost := []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--batch-mode", "--disable-locks"}
		run(t, passphrase, "cryptsetup", append([]string{"luksFormat", "--type", type1, "--key-file", "-", file}, cost...)...)
		run(t, passphrase, "cryptsetup", append([]string{"luksAddKey", "--key-file", "-", file, keyFile}, cost...)...)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil || h.Version != version || h.UUID != strings.TrimSpace(run(t, "", "cryptsetup", "luksUUID", file)) || len(h.Notes) != 0 {
			t.Fatalf("%+v, %v", h, err)
		}
		first, err1 := h.Unlock([]byte(passphrase), Limits{})
		second, err2 := h.Unlock(key, Limits{})
		if err1 != nil || err2 != nil || !bytes.Equal(first.key, second.key) {
			t.Errorf("the slots do not give the same key: %v, %v", err1, err2)
		}
		for _, wrong := range []string{"", "correct horse", passphrase + "\n"} {
			if _, err := h.Unlock([]byte(wrong), Limits{}); err != ErrWrongKey {
				t.Errorf("version %d, a wrong key: %v", version, err)
			}
		}
		if h.Fits(VolumeKey{bytes.Repeat([]byte{1}, len(first.key))}) {
			t.Error("another key fits")
		}
		_, err = h.Unlock([]byte(passphrase), Limits{Rounds: 500})
		if !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), "more than is allowed") {
			t.Errorf("a limit is not told: %v", err)
		}
	}
}

func TestMemoryThatAKeySlotAsksForIsLimited(t *testing.T) {
	t.Parallel()
	b := byCryptsetup(t, random(mib), append([]string{"--pbkdf", "argon2id"}, cheap...)...)
	h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []Limits{{Memory: 32 << 10}, {Passes: 128 << 10}} {
		if _, err := h.Unlock([]byte(passphrase), l); !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), "key slot 0 cannot be tried") {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestTheSecondCopyOfAHeaderIsReadWhereTheFirstIsDamaged(t *testing.T) {
	t.Parallel()
	content := random(mib)
	whole := byCryptsetup(t, content, append([]string{"--pbkdf", "argon2id"}, cheap...)...)
	for name, damage := range map[string]func(b []byte){
		"its JSON":          func(b []byte) { b[5000] ^= 1 },
		"its magic":         func(b []byte) { clear(b[:512]) },
		"its version":       func(b []byte) { b[7] = 9 },
		"its size":          func(b []byte) { b[10] = 0xff },
		"all of it":         func(b []byte) { clear(b[:16<<10]) },
		"the second's JSON": func(b []byte) { b[16<<10+5000] ^= 1 },
	} {
		b := bytes.Clone(whole)
		damage(b)
		if got := opened(t, b, passphrase); !bytes.Equal(got[:len(content)], content) {
			t.Errorf("%s: the content differs", name)
		}
		if h, _ := ReadHeader(bytes.NewReader(b), int64(len(b))); len(h.Notes) != 1 {
			t.Errorf("%s: notes %q", name, h.Notes)
		}
	}
	b := bytes.Clone(whole)
	b[5000] ^= 1
	b[16<<10+5000] ^= 1
	_, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
	if c := (*CorruptError)(nil); !errors.As(err, &c) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("both damaged: %v", err)
	}
}

func TestAVolumeThatIsBeingReencryptedIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(file, make([]byte, 40*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--pbkdf", "argon2id", "--batch-mode", "--disable-locks", "--key-file", "-"}, cheap...)
	run(t, passphrase, "cryptsetup", append([]string{"luksFormat", "--type", "luks2", file}, args...)...)
	run(t, passphrase, "cryptsetup", append([]string{"reencrypt", "--init-only", "--force-offline-reencrypt", file}, args...)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Unlock([]byte(passphrase), Limits{}); !errors.As(err, new(*UnsupportedError)) || !strings.Contains(err.Error(), "reencrypted") {
		t.Errorf("%v", err)
	}
}

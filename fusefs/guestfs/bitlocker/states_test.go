package bitlocker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
)

// TestVolumesOfAllKindsAreReadAsDislockerReadsThem: with the clear key, which costs no stretching.
func TestVolumesOfAllKindsAreReadAsDislockerReadsThem(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]bitlockertest.Options{
		"To Go":                           {ToGo: true, Header: 1 * mib},
		"To Go, an odd header":            {ToGo: true, Header: 1*mib + 512, Method: bitlockertest.CBC128Elephant},
		"encrypted, but for the last MiB": {Sealed: 5 * mib},
		"a header of a sector":            {Header: 512},
		"sectors of 4096, XTS":            {Sector: 4096},
		"sectors of 4096, CBC":            {Sector: 4096, Method: bitlockertest.CBC128},
		"sectors of 4096, diffuser":       {Sector: 4096, Method: bitlockertest.CBC256Elephant},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Clear = true
			if o.Method == 0 {
				o.Method = bitlockertest.XTS128
			}
			made := bitlockertest.Build(t, content(6*mib), o)
			if o.Sealed > 0 {
				made.Plain = made.Plain[:o.Sealed] // so dislocker has it
			}
			same(t, "our reading", opened(t, made.Volume, nil), made.Plain)
			theirs, _ := byDislocker(t, made.Volume, "-c")
			same(t, "dislocker's reading", theirs, made.Plain)
		})
	}
}

func TestWhatIsNotReadSaysWhy(t *testing.T) {
	t.Parallel()
	for why, o := range map[string]bitlockertest.Options{
		"being encrypted or decrypted": {State: bitlockertest.Converting},
		"it is decrypted":              {State: bitlockertest.Decrypted},
		"paused at byte 1049088 of":    {State: bitlockertest.Paused, Sealed: mib + 512},
		"state that is not known":      {State: 77},
		"as it is written to (EOW)":    {EOW: true},
		"method that is not known":     {Method: 0x8009},
	} {
		o.Clear, o.Method = true, max(o.Method, bitlockertest.XTS128)
		made := bitlockertest.Build(t, content(4*mib), o)
		h, err := bitlocker.ReadHeader(bytes.NewReader(made.Volume), int64(len(made.Volume)))
		if err == nil {
			_, err = h.UnlockClear()
		}
		var unsupported *bitlocker.UnsupportedError
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	vista := make([]byte, 1*mib)
	copy(vista, "\xeb\x52\x90-FVE-FS-")
	vista[12], vista[56] = 2, 4
	if _, err := bitlocker.ReadHeader(bytes.NewReader(vista), mib); err == nil || !strings.Contains(err.Error(), "Vista") {
		t.Errorf("Vista: %v", err)
	}
}

func TestAWrongKeyIsOneAndIsNotSaid(t *testing.T) {
	t.Parallel()
	made := bitlockertest.Build(t, content(4*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Recovery: true, Startup: true, TPM: true})
	other := bytes.Clone(made.BEK)
	other[len(other)-1] ^= 1
	h := header(t, made.Volume)
	for name, secret := range map[string][]byte{
		"password":                         []byte("something secret"),
		"another recovery password":        []byte(strings.ReplaceAll(bitlockertest.Recovery, "471207", "000011")),
		"a recovery password with a typo":  []byte(strings.ReplaceAll(bitlockertest.Recovery, "471207", "471208")),
		"a recovery password that is long": []byte(bitlockertest.Recovery + "1"),
		"a startup key of another volume":  other,
		"a startup key that is cut":        made.BEK[:100],
		"nothing":                          {},
		"no text":                          {0xFF, 0xFE},
	} {
		_, err := h.Unlock(secret)
		if !errors.Is(err, bitlocker.ErrWrongKey) || !strings.Contains(err.Error(), "TPM, recovery password, startup key") && !strings.Contains(err.Error(), "TPM") {
			t.Errorf("%s: %v", name, err)
		}
		if len(secret) > 4 && strings.Contains(err.Error(), string(secret)) {
			t.Errorf("%s is in %v", name, err)
		}
	}
	if _, err := h.UnlockClear(); !errors.Is(err, bitlocker.ErrWrongKey) {
		t.Errorf("no clear key: %v", err)
	}
	key, err := h.Unlock(made.BEK)
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{fmt.Sprint(key), fmt.Sprintf("%+v %#v %x %s", key, key, key, key)} {
		if strings.Contains(said, "5b") || strings.Contains(said, "key:") {
			t.Errorf("a key prints as %s", said)
		}
	}
	if !h.Fits(key) || h.Fits(bitlocker.MasterKey{}) {
		t.Error("what fits does not, or the other way round")
	}
}

// TestAPasswordIsAnyText: in UTF-16, as the format has it.
func TestAPasswordIsAnyText(t *testing.T) {
	t.Parallel()
	const text = "pässwörd 😀"
	made := bitlockertest.Build(t, content(4*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Password: true, Text: text})
	same(t, "our reading", opened(t, made.Volume, []byte(text)), made.Plain)
}

func TestAnyWholeCopyOfTheMetadataWillDo(t *testing.T) {
	t.Parallel()
	made := bitlockertest.Build(t, content(6*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Clear: true})
	for left := range 3 {
		b := bytes.Clone(made.Volume)
		for i, off := range made.Meta {
			if i != left {
				b[off+200+int64(i)]++
			}
		}
		same(t, "our reading", opened(t, b, nil), made.Plain)
		if notes := header(t, b).Notes; len(notes) != left || left > 0 && !strings.Contains(notes[0], fmt.Sprint(made.Meta[0])) {
			t.Errorf("the copy %d: notes %q", left, notes)
		}
	}
	b := bytes.Clone(made.Volume)
	for _, off := range made.Meta {
		b[off+200]++
	}
	var corrupt *bitlocker.CorruptError
	if _, err := bitlocker.ReadHeader(bytes.NewReader(b), int64(len(b))); !errors.As(err, &corrupt) || corrupt.Off != made.Meta[0] {
		t.Errorf("no copy is whole: %v", err)
	}
}

func TestReadsAnywhereGiveWhatAWholeReadGives(t *testing.T) {
	t.Parallel()
	made := bitlockertest.Build(t, content(6*mib), bitlockertest.Options{Method: bitlockertest.CBC128Elephant, Clear: true})
	h := header(t, made.Volume)
	key, err := h.UnlockClear()
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	edges := []int64{0, 512, 8192, made.Meta[0], made.Backup, made.Backup + 8192, made.Meta[1], made.Meta[2], v.Size()}
	for _, edge := range edges {
		for _, from := range []int64{edge - 600, edge - 512, edge - 1, edge, edge + 3} {
			for _, n := range []int64{1, 511, 700, 5000, 200_000} {
				if from < 0 || from >= v.Size() {
					continue
				}
				p := make([]byte, n)
				got, err := v.ReadAt(p, from)
				want := made.Plain[from:min(from+n, v.Size())]
				if !bytes.Equal(p[:got], want) || (err == io.EOF) != (from+n > v.Size()) || err != nil && err != io.EOF {
					t.Fatalf("%d bytes at %d: %d, %v", n, from, got, err)
				}
			}
		}
	}
	if n, err := v.ReadAt(make([]byte, 1), v.Size()); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := v.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("before the beginning there is something")
	}
}

// resealed changes one copy of the metadata, makes its checksum right, and puts it in
// place of all.
func resealed(made bitlockertest.Made, change func(b []byte)) []byte {
	le := binary.LittleEndian
	volume := bytes.Clone(made.Volume)
	b := bytes.Clone(volume[made.Meta[0]:][:64<<10])
	change(b)
	if n := int(le.Uint16(b[8:])) * 16; n+8 <= len(b) {
		le.PutUint32(b[n+4:], crc32.ChecksumIEEE(b[:n]))
	}
	for _, off := range made.Meta {
		copy(volume[off:], b)
	}
	return volume
}

func TestHostileMetadataAreDamage(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	made := bitlockertest.Build(t, content(4*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Clear: true})
	for name, change := range map[string]func(b []byte){
		"no size":                        func(b []byte) { le.PutUint16(b[8:], 0) },
		"as long as can be":              func(b []byte) { le.PutUint16(b[8:], 0xFFFF) },
		"another version":                func(b []byte) { b[10] = 9 },
		"no beginning":                   func(b []byte) { b[0] = 0 },
		"entries beyond the end":         func(b []byte) { le.PutUint32(b[64:], 1<<31) },
		"entries that end before":        func(b []byte) { le.PutUint32(b[72:], 1<<31) },
		"an entry without end":           func(b []byte) { le.PutUint16(b[112:], 0xFFF0) },
		"an entry of a byte":             func(b []byte) { le.PutUint16(b[112:], 1) },
		"no entries":                     func(b []byte) { le.PutUint32(b[64:], 48) },
		"a copy before the volume":       func(b []byte) { le.PutUint64(b[32:], 1<<63) },
		"a copy beyond the volume":       func(b []byte) { le.PutUint64(b[40:], 1<<40) },
		"a copy at no sector":            func(b []byte) { le.PutUint64(b[48:], 70_001) },
		"encrypted up to before it":      func(b []byte) { le.PutUint64(b[16:], 1<<63) },
		"encrypted up to its header":     func(b []byte) { le.PutUint64(b[16:], 512) },
		"header moved beyond the volume": func(b []byte) { putPlace(b, 1<<40, 8192) },
		"header moved onto itself":       func(b []byte) { putPlace(b, 512, 8192) },
		"header without end":             func(b []byte) { putPlace(b, 1<<20, 1<<62) },
		"header of no bytes":             func(b []byte) { putPlace(b, 1<<20, 0) },
		"negative header":                func(b []byte) { putPlace(b, 1<<20, 1<<63) },
	} {
		b := resealed(made, change)
		var corrupt *bitlocker.CorruptError
		if _, err := bitlocker.ReadHeader(bytes.NewReader(b), int64(len(b))); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, 100, 512, 70_000, int(made.Meta[2])} {
		if _, err := bitlocker.ReadHeader(bytes.NewReader(made.Volume[:n]), int64(n)); err == nil {
			t.Errorf("a volume of %d bytes is read", n)
		}
	}
}

// putPlace changes where the first bytes are said to be moved to: the last entry.
func putPlace(b []byte, off, size uint64) {
	end := 64 + binary.LittleEndian.Uint32(b[64:])
	binary.LittleEndian.PutUint64(b[end-16:], off)
	binary.LittleEndian.PutUint64(b[end-8:], size)
}

// FuzzMetadata reads metadata of garbage whose checksum is right, and what they open.
func FuzzMetadata(f *testing.F) {
	made := bitlockertest.Build(f, content(2*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Clear: true, Startup: true, TPM: true})
	f.Add([]byte{0, 2, 12, 0, 5}, made.BEK)
	f.Add([]byte{0, 2, 12, 0, 5, 112, 0, 1, 0, 0}, []byte{})
	f.Fuzz(func(t *testing.T, edits, secret []byte) {
		b := resealed(made, func(b []byte) {
			for ; len(edits) >= 3; edits = edits[3:] {
				b[int(binary.LittleEndian.Uint16(edits))%1100] = edits[2]
			}
		})
		h, err := bitlocker.ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if len(secret) > 48 { // shorter ones may be stretched
			if key, err := h.Unlock(secret); err == nil && !h.Fits(key) {
				t.Fatal("a key that does not fit")
			}
		}
		key, err := h.UnlockClear()
		if err != nil {
			return
		}
		v, err := h.Open(key)
		if err != nil {
			return
		}
		p := make([]byte, 4096)
		for off := int64(0); off < v.Size(); off += 60_001 {
			if n, err := v.ReadAt(p, off); n == 0 && err == nil {
				t.Fatal("nothing was read")
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, method := range allMethods {
		made := bitlockertest.Build(b, content(8*mib), bitlockertest.Options{Method: method, Clear: true})
		h := header(b, made.Volume)
		key, err := h.UnlockClear()
		if err != nil {
			b.Fatal(err)
		}
		v, err := h.Open(key)
		if err != nil {
			b.Fatal(err)
		}
		p := make([]byte, mib)
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.SetBytes(mib)
			for i := 0; b.Loop(); i++ {
				if _, err := v.ReadAt(p, int64(i%2+3)*mib); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnlock(b *testing.B) {
	made := bitlockertest.Build(b, content(4*mib), bitlockertest.Options{Method: bitlockertest.XTS128, Recovery: true})
	h := header(b, made.Volume)
	for b.Loop() {
		if _, err := h.Unlock([]byte(bitlockertest.Recovery)); err != nil {
			b.Fatal(err)
		}
	}
}

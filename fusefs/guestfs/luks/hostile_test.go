package luks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

// tiny are limits under which no mutant of a header takes long.
var tiny = Limits{Memory: 1 << 20, Passes: 4 << 20, Rounds: 5000}

// header2With is a volume of version 2 whose JSON is that, both checksums right.
func header2With(json string) []byte {
	b := make([]byte, 256<<10)
	for i, magic := range []string{firstMagic, secondMagic} {
		h := b[i*16<<10 : (i+1)*16<<10]
		copy(h, magic)
		binary.BigEndian.PutUint16(h[6:], 2)
		binary.BigEndian.PutUint64(h[v2Size:], 16<<10)
		binary.BigEndian.PutUint64(h[v2Offset:], uint64(i*16<<10))
		copy(h[v2SumKind:], "sha256")
		copy(h[binarySize:], json)
		clear(h[v2Sum : v2Sum+v2SumSize])
		sum := sha256.Sum256(h)
		copy(h[v2Sum:], sum[:])
	}
	return b
}

// whole2 is JSON of a header in which nothing is wrong.
const whole2 = `{"keyslots":{"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},
"area":{"type":"raw","offset":"32768","size":"131072","encryption":"aes-xts-plain64","key_size":64},
"kdf":{"type":"argon2id","time":4,"memory":64,"cpus":1,"salt":"c2FsdHNhbHRzYWx0c2FsdA=="}}},
"segments":{"0":{"type":"crypt","offset":"65536","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":512}},
"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"c2FsdHNhbHRzYWx0c2FsdA==","digest":"c2FsdHNhbHRzYWx0c2FsdA=="}},
"config":{}}`

func TestHostileHeadersOfVersion2AreErrors(t *testing.T) {
	t.Parallel()
	open := func(json string) error {
		b := header2With(json)
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		_, err = h.Unlock([]byte("x"), tiny)
		return err
	}
	area := strings.Replace(whole2, "32768", "4096", 1) // within the volume, so that it is read
	if err := open(area); err != ErrWrongKey {
		t.Fatalf("the one that is whole: %v", err)
	}
	for change, want := range map[string]string{
		`"stripes":4000>"stripes":2000000000`:                                         "stripes",
		`"stripes":4000>"stripes":-1`:                                                 "stripes",
		`"key_size":64,"af">"key_size":1073741824,"af"`:                               "stripes",
		`"offset":"4096">"offset":"9223372036854775807"`:                              "which cannot be",
		`"offset":"4096">"offset":"-4096"`:                                            "which cannot be",
		`"offset":"4096">"offset":"x"`:                                                "not known",
		`"memory":64>"memory":4294967295`:                                             "memory",
		`"memory":64>"memory":-64`:                                                    "not possible",
		`"time":4>"time":4294967295`:                                                  "passes",
		`"time":4>"time":0`:                                                           "not possible",
		`"cpus":1>"cpus":1000000`:                                                     "not possible",
		`"argon2id">"scrypt"`:                                                         "scrypt",
		`"iterations":1000>"iterations":9223372036854775807`:                          "rounds",
		`"hash":"sha256","iter>"hash":"whirlpool","iter`:                              "whirlpool",
		`"offset":"65536">"offset":"1000000000"`:                                      "would begin",
		`"offset":"65536">"offset":"0"`:                                               "would begin",
		`"size":"dynamic">"size":"900000"`:                                            "bytes",
		`"size":"dynamic">"size":"-512"`:                                              "bytes",
		`"sector_size":512>"sector_size":0`:                                           "sectors",
		`"sector_size":512>"sector_size":768`:                                         "sectors",
		`"sector_size":512>"sector_size":512,"integrity":{}`:                          "authenticated",
		`"type":"crypt">"type":"linear"`:                                              "linear",
		`"config":{}>"config":{"requirements":{"mandatory":["online-reencrypt-v2"]}}`: "reencrypted",
		`"config":{}>"config":{"requirements":{"mandatory":["opal"]}}`:                "opal",
		`"digest":"c2Fs>"digest":"!!!!`:                                               "digest",
		`"keyslots":{"0">"keyslots":{"`:                                               "JSON",
		`"type":"luks2">"type":"reencrypt"`:                                           "no key slot",
	} {
		from, to, _ := strings.Cut(change, ">")
		if !strings.Contains(area, from) {
			t.Errorf("%s changes nothing", change)
		}
		if err := open(strings.Replace(area, from, to, 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestHostileHeadersOfVersion1AreErrors(t *testing.T) {
	t.Parallel()
	whole := make([]byte, 512<<10)
	u32 := binary.BigEndian.PutUint32
	copy(whole, firstMagic+"\x00\x01aes")
	copy(whole[v1Mode:], "xts-plain64")
	copy(whole[v1Hash:], "sha256")
	u32(whole[v1Payload:], 600)
	u32(whole[v1KeySize:], 32)
	u32(whole[v1Iterations:], 1000)
	s := whole[v1Slots:]
	u32(s, v1SlotActive)
	u32(s[v1SlotRounds:], 1000)
	u32(s[v1SlotOffset:], 8)
	u32(s[v1SlotStripes:], 4000)
	for want, change := range map[string]func(b []byte){
		"opens none":        func([]byte) {},
		"keys of":           func(b []byte) { u32(b[v1KeySize:], 1<<31) },
		"key of":            func(b []byte) { u32(b[v1KeySize:], 40) },
		"apart":             func(b []byte) { u32(b[v1Payload:], 0) },
		"would begin":       func(b []byte) { u32(b[v1Payload:], 0xffffffff) },
		"twofish":           func(b []byte) { copy(b[v1Cipher:], "twofish") },
		"whirlpool":         func(b []byte) { copy(b[v1Hash:], "whirlpool") },
		"rounds of pbkdf2":  func(b []byte) { u32(b[v1Slots+v1SlotRounds:], 0xffffffff) },
		"digest asks for 0": func(b []byte) { u32(b[v1Iterations:], 0) },
		"which cannot be":   func(b []byte) { u32(b[v1Slots+v1SlotOffset:], 0xffffffff) },
		"stripes":           func(b []byte) { u32(b[v1Slots+v1SlotStripes:], 0xffffffff) },
		"no key slot":       func(b []byte) { u32(b[v1Slots:], 0) },
	} {
		b := bytes.Clone(whole)
		change(b)
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			_, err = h.Unlock([]byte("x"), tiny)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestWhatIsNoHeaderIsNone(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{nil, make([]byte, 100), make([]byte, mib), random(mib)} {
		if _, err := ReadHeader(bytes.NewReader(b), int64(len(b))); err != ErrNotLUKS || Probe(bytes.NewReader(b)) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

// FuzzUnlock has checksums made right, so that mutants get behind them.
func FuzzUnlock(f *testing.F) {
	f.Add([]byte(whole2), false)
	f.Add([]byte("aes"), true)
	f.Fuzz(func(t *testing.T, in []byte, one bool) {
		if len(in) > 12<<10-4096 {
			return
		}
		b := header2With(string(in))
		if one {
			b = make([]byte, 64<<10)
			copy(b, firstMagic+"\x00\x01")
			copy(b[8:], in)
		}
		begin := time.Now()
		h, err := ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_, err = h.Unlock([]byte("x"), tiny)
		if err == nil || !errors.Is(err, ErrWrongKey) && !errors.As(err, new(*UnsupportedError)) {
			t.Errorf("%v", err)
		}
		if v, err := h.Open(VolumeKey{make([]byte, 64)}); err == nil {
			p := make([]byte, 5000)
			v.ReadAt(p, 100)
			v.ReadAt(p, v.Size()-10)
		}
		if time.Since(begin) > 30*time.Second {
			t.Error("it took longer than the limits allow")
		}
	})
}

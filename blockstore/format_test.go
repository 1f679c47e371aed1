package blockstore_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/zeebo/blake3"
)

// reader is a second reader of vaults, which shares no code with the first: it
// knows what FORMAT.md says and nothing else.
type reader struct {
	t      *testing.T
	dir    string
	secret []byte
}

var num = binary.LittleEndian

func (r reader) file(name string) []byte {
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// the returns the name of the only file that a pattern fits.
func (r reader) the(pattern string) string {
	names, err := filepath.Glob(filepath.Join(r.dir, pattern))
	if err != nil || len(names) != 1 {
		r.t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	name, _ := filepath.Rel(r.dir, names[0])
	return name
}

func (r reader) hash(context string, parts ...[]byte) []byte {
	var key [32]byte
	blake3.DeriveKey("holdfast 2026 v1 "+context, r.secret, key[:])
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (r reader) mac(path string, parts ...[]byte) []byte {
	length := num.AppendUint32(nil, uint32(len(path)))
	return r.hash("mac of records and segments", append([][]byte{length, []byte(path)}, parts...)...)
}

func (r reader) must(ok bool, what string) {
	r.t.Helper()
	if !ok {
		r.t.Fatalf("wrong: %s", what)
	}
}

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// text reads a record of section 6; its MAC is compared when the secret is known.
func (r reader) text(name, kind string, into any) {
	b := r.file(name)
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	second, body, _ := bytes.Cut(rest, []byte("\n"))
	r.must(string(first) == "holdfast "+kind+" 1 plain", "first line of "+name)
	if err := json.Unmarshal(body, into); err != nil {
		r.t.Fatal(err)
	}
	if r.secret != nil {
		r.must(string(second) == "mac "+hex.EncodeToString(r.mac(name, first, []byte("\n"), body)), "MAC of "+name)
	}
}

// place looks an ID up as section 7 says, by halving, without the fan-out.
func (r reader) place(name string, id []byte) (pack string, offset, length uint32) {
	b := r.file(name)
	t := b[len(b)-136:]
	r.must(string(b[:8]) == "HOLDSEGM" && num.Uint16(b[8:]) == 1 && num.Uint16(t[48:]) == 1 && string(t[132:]) == "HFSE", "segment")
	count, packs, points := int(num.Uint64(t[24:])), int(num.Uint32(t[32:])), int(num.Uint64(t[40:]))
	entries := b[16 : 16+44*count]
	list := b[16+44*count:][:32*packs]
	fan := 4 << num.Uint32(t[36:])
	r.must(len(b) == 16+44*count+32*packs+points+fan+136, "lengths of the segment")
	r.must(bytes.Equal(t[64:96], r.mac(name, entries)), "MAC of the entries")
	r.must(bytes.Equal(t[96:128], r.mac(name, b[16+44*count:len(b)-136], t[:96])), "MAC of the rest")
	lo, hi := 0, count
	for lo < hi {
		if mid := (lo + hi) / 2; bytes.Compare(entries[44*mid:][:32], id) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	e := entries[44*lo:][:44]
	r.must(bytes.Equal(e[:32], id), "ID in the segment")
	p := hex.EncodeToString(list[32*num.Uint32(e[32:]):][:16])
	return "packs/" + hex.EncodeToString(t[:8]) + "/" + p[:2] + "/" + p, num.Uint32(e[36:]), num.Uint32(e[40:])
}

// content reads what an ID names.
func (r reader) content(segment, kind string, number byte, id []byte) []byte {
	pack, offset, length := r.place(segment, id)
	rec := r.file(pack)[offset:][:length]
	r.must(string(rec[:4]) == "HFRC" && rec[4] == number && rec[6] == 0 && bytes.Equal(rec[20:52], id), "header of a record")
	payload := rec[56:]
	r.must(num.Uint32(rec[12:]) == uint32(len(payload)), "length of a record")
	r.must(num.Uint32(rec[52:]) == crc(append(bytes.Clone(rec[:52]), payload...)), "CRC of a record")
	plain := make([]byte, num.Uint32(rec[16:]))
	if rec[5] == 0 {
		copy(plain, payload)
	} else if n, err := lz4.UncompressBlock(payload, plain); err != nil || n != len(plain) {
		r.t.Fatal(n, err)
	}
	r.must(bytes.Equal(r.hash("id of "+kind+"s", plain), id), "ID of content")
	return plain
}

// pack verifies what section 4 says of a whole pack.
func (r reader) pack(name, vaultName string) {
	b := r.file(name)
	n := num.Uint32(b[12:])
	r.must(string(b[:8]) == "HOLDPACK" && num.Uint16(b[8:]) == 1 && num.Uint32(b[n-4:]) == crc(b[:n-4]), "header of "+name)
	r.must(hex.EncodeToString(b[16:32]) == filepath.Base(name), "id of "+name)
	at := 64 + num.Uint32(b[48:])
	copied := b[at:][:num.Uint16(b[56:])]
	vault := b[at+uint32(len(copied)):][:num.Uint32(b[52:])]
	r.must(string(copied) == vaultName && bytes.Equal(vault, r.file(vaultName)), "copy of VAULT in "+name)
	t := b[len(b)-64:]
	r.must(string(t[60:]) == "HFPE" && num.Uint32(t[56:]) == crc(t[:56]) && bytes.Equal(t[16:32], b[16:32]), "trailer of "+name)
	footer := b[num.Uint64(t) : len(b)-64]
	r.must(len(footer) == 44*int(num.Uint32(t[8:])) && crc(footer) == num.Uint32(t[12:]), "footer of "+name)
	for next := n; len(footer) > 0; footer = footer[44:] {
		r.must(num.Uint32(footer[32:]) == next && footer[40] == b[next+4] && bytes.Equal(footer[:32], b[next+20:][:32]), "footer's entries in "+name)
		next += num.Uint32(footer[36:])
	}
}

func TestAReaderWrittenFromFORMATAloneReadsAVault(t *testing.T) {
	r := reader{t: t, dir: "testdata/vault"}
	vaultName := r.the("VAULT/*")
	var vault struct {
		BlockSize int `json:"block_size"`
		Secret    string
	}
	r.text(vaultName, "vault", &vault)
	var err error
	if r.secret, err = hex.DecodeString(vault.Secret); err != nil {
		t.Fatal(err)
	}
	r.text(vaultName, "vault", &vault) // with its MAC
	r.pack(r.the("packs/*/a0/*"), vaultName)
	r.pack(r.the("packs/*/b0/*"), vaultName)
	for kind, pattern := range map[string]string{"machine": "machines/*/*", "attribute": "attrs/*/*/*", "damage": "damaged/*/*", "owner": "writers/*/OWNER"} {
		var body map[string]any
		r.text(r.the(pattern), kind, &body)
	}
	var point struct {
		Disks []struct {
			Root string
			Size int
		}
		Config []struct{ Parts []string }
	}
	r.text(r.the("points/*/*"), "point", &point)
	segment := r.the("segments/*/*")

	root, _ := hex.DecodeString(point.Disks[0].Root)
	page := r.content(segment, "page", 2, root)
	r.must(page[0] == 1 && page[1] == 1, "level and version of the page")
	disk, ids := []byte{}, page[16:]
	for i := 0; len(disk) < point.Disks[0].Size; i++ {
		if num.Uint64(page[8:])>>i&1 == 0 {
			disk = append(disk, make([]byte, vault.BlockSize)...)
			continue
		}
		disk = append(disk, r.content(segment, "block", 1, ids[:32])...)
		ids = ids[32:]
	}
	want := make([]byte, 40_000)
	copy(want, bytes.Repeat([]byte("holdfast"), 2048))
	copy(want[32768:], "the third block")
	r.must(bytes.Equal(disk[:point.Disks[0].Size], want), "the disk")
	blob, _ := hex.DecodeString(point.Config[0].Parts[0])
	r.must(string(r.content(segment, "blob", 3, blob)) == "<domain type='kvm'/>\n", "the configuration")
}

// TestASealedRecordIsOpenedFromFORMATAlone opens the first record of a sealed
// pack and the body of a sealed text.
func TestASealedRecordIsOpenedFromFORMATAlone(t *testing.T) {
	r := reader{t: t, dir: "testdata/sealed", secret: make([]byte, 32)}
	for i := range r.secret {
		r.secret[i] = byte(i)
	}
	open := func(key, nonce, sealed, data []byte) []byte {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gcm.Open(nil, nonce, sealed, data)
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	b := r.file(r.the("packs/*/a0/*"))
	id, rec := b[16:32], b[num.Uint32(b[12:]):]
	r.must(b[11] == 1 && rec[6] == 1, "seal of the pack and of the record")
	length := num.Uint32(rec[12:])
	payload := open(r.hash("seal of packs", id), append(bytes.Clone(rec[8:12]), make([]byte, 8)...), rec[56:56+length], append(bytes.Clone(id), rec[:52]...))
	plain := make([]byte, num.Uint32(rec[16:]))
	if n, err := lz4.UncompressBlock(payload, plain); err != nil || n != len(plain) {
		t.Fatal(n, err)
	}
	r.must(bytes.Equal(plain, bytes.Repeat([]byte("holdfast"), 2048)), "content of the record")

	name := r.the("points/*/*")
	text := r.file(name)
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	_, body, _ := bytes.Cut(rest, []byte("\n"))
	r.must(string(first) == "holdfast point 1 aes-256-gcm", "first line of the point")
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(string(body), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	blake3.DeriveKey("holdfast 2026 v1 seal of records", r.secret, key)
	point := open(key, sealed[:12], sealed[12:], append([]byte(name+"\x00"), append(first, '\n')...))
	r.must(json.Valid(point) && bytes.Contains(point, []byte(`"machine_name": "web1"`)), "the point")
}

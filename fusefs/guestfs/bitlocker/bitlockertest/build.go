package bitlockertest

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

var le = binary.LittleEndian

// Methods of encryption, as the metadata have them.
const (
	CBC128Elephant = 0x8000 + iota
	CBC256Elephant
	CBC128
	CBC256
	XTS128
	XTS256
)

// States of a volume.
const (
	Decrypted  = 1
	Converting = 2
	Encrypted  = 4
	Paused     = 5
)

// Secrets that the volumes are opened by.
const (
	Password = "correct horse battery staple"
	Recovery = "471207-278498-422125-177177-561902-537405-468006-693451"
)

// GUID is of every volume, as it is written.
const GUID = "03020100-0504-0706-0809-0a0b0c0d0e0f"

// Description is what Windows wrote of it.
const Description = "DESKTOP C: 23.11.2026"

// Options say what to make.
type Options struct {
	Method uint16
	Sector int    // bytes; 512 if it is zero
	State  uint16 // Encrypted if it is zero
	Sealed int64  // encrypted up to there; all of it if it is zero
	Header int64  // bytes at the beginning that are moved; 8192 if it is zero
	ToGo   bool
	EOW    bool

	// Text is the password, where it is another one.
	Text string

	// Protectors; none of them is a volume that nothing opens.
	Password, Recovery, Clear, Startup, TPM bool
}

// Made is what came of it.
type Made struct {
	Volume []byte
	Plain  []byte // what a reader must show: zeros where metadata lie
	BEK    []byte // the file of the startup key
	Meta   [3]int64
	Backup int64
}

const copySize = 64 << 10

// Build encrypts content. Metadata go to where it has zeros: so its files stay as they are.
func Build(t testing.TB, content []byte, o Options) Made {
	t.Helper()
	if o.Sector == 0 {
		o.Sector = 512
	}
	if o.State == 0 {
		o.State = Encrypted
	}
	if o.Header == 0 {
		o.Header = 8192
	}
	if o.Sealed == 0 {
		o.Sealed = int64(len(content))
	}
	b := &builder{t: t, o: o, chance: rand.NewChaCha8([32]byte{byte(o.Method), 5}), plain: bytes.Clone(content)}
	b.place()
	b.cipher = newCipher(t, o, b.random(64))
	volume := make([]byte, len(content))
	for off := 0; off < len(volume); off += o.Sector {
		sector := b.plain[off : off+o.Sector]
		if at := int64(off) - b.backup; at >= 0 && at < o.Header {
			sector = b.plain[at : at+int64(o.Sector)]
		}
		copy(volume[off:], sector)
		if int64(off) < o.Sealed {
			b.cipher.encrypt(volume[off:off+o.Sector], uint64(off))
		}
	}
	copy(volume, b.boot())
	meta := b.metadata()
	for _, off := range b.meta {
		copy(volume[off:], make([]byte, copySize))
		copy(volume[off:], meta)
	}
	return Made{volume, b.plain, b.bek, b.meta, b.backup}
}

type builder struct {
	t      testing.TB
	o      Options
	chance *rand.ChaCha8
	plain  []byte
	cipher cipher
	meta   [3]int64
	backup int64
	bek    []byte
	nonces uint32
}

func (b *builder) random(n int) []byte {
	p := make([]byte, n)
	b.chance.Read(p)
	return p
}

// place finds room: the moved header behind the first copy of the metadata, as Windows has it.
func (b *builder) place() {
	at := (b.o.Header + copySize - 1) / copySize * copySize
	free := func(n int64) int64 {
		for ; at+n <= int64(len(b.plain)); at += copySize {
			if len(bytes.Trim(b.plain[at:at+n], "\x00")) == 0 {
				at += n
				return at - n
			}
		}
		b.t.Fatal("the content has no room for metadata")
		return 0
	}
	b.meta[0] = free(copySize + b.o.Header)
	b.backup = b.meta[0] + copySize
	at = (at+copySize-1)/copySize*copySize + copySize*3
	b.meta[1] = free(copySize)
	at += copySize * 5
	b.meta[2] = free(copySize)
}

// boot is the first sector.
func (b *builder) boot() []byte {
	s := make([]byte, 512)
	copy(s, "\xeb\x58\x90-FVE-FS-")
	le.PutUint16(s[11:], uint16(b.o.Sector))
	s[13], s[21] = 8, 0xF8
	copy(s[71:], "NO NAME    FAT32   ")
	at := 160
	if b.o.ToGo {
		copy(s[3:], "MSWIN4.1")
		at = 424
	}
	guid := "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	if b.o.EOW {
		guid = "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8"
	}
	copy(s[at:], guid)
	for i, off := range b.meta {
		le.PutUint64(s[at+16+8*i:], uint64(off))
	}
	s[510], s[511] = 0x55, 0xAA
	return s
}

// metadata is one copy: its header, entries, and checksum.
func (b *builder) metadata() []byte {
	entries := b.entries()
	m := make([]byte, 64+48, copySize)
	copy(m, "-FVE-FS-")
	size := (len(m) + len(entries) + 15) / 16 * 16
	le.PutUint16(m[8:], uint16(size/16))
	le.PutUint16(m[10:], 2)
	le.PutUint16(m[12:], b.o.State)
	le.PutUint16(m[14:], Encrypted)
	le.PutUint64(m[16:], uint64(b.o.Sealed))
	le.PutUint32(m[28:], uint32(b.o.Header/int64(b.o.Sector)))
	for i, off := range b.meta {
		le.PutUint64(m[32+8*i:], uint64(off))
	}
	le.PutUint64(m[56:], uint64(b.backup))
	head := m[64:]
	le.PutUint32(head, uint32(48+len(entries)))
	le.PutUint32(head[4:], 1)
	le.PutUint32(head[8:], 48)
	le.PutUint32(head[12:], uint32(48+len(entries)))
	for i := range 16 {
		head[16+i] = byte(i)
	}
	le.PutUint32(head[32:], b.nonces)
	le.PutUint16(head[36:], b.o.Method)
	le.PutUint16(head[38:], b.o.Method)
	le.PutUint64(head[40:], 0x01DC000000000000)
	m = append(m, entries...)
	m = append(m, make([]byte, size-len(m))...)
	check := make([]byte, 8)
	le.PutUint16(check, 8)
	le.PutUint16(check[2:], 2)
	le.PutUint32(check[4:], crc32.ChecksumIEEE(m))
	return append(m, check...)
}

// entry is one of the metadata.
func entry(purpose, kind uint16, value ...[]byte) []byte {
	b := bytes.Join(append([][]byte{make([]byte, 8)}, value...), nil)
	le.PutUint16(b, uint16(len(b)))
	le.PutUint16(b[2:], purpose)
	le.PutUint16(b[4:], kind)
	le.PutUint16(b[6:], 1)
	return b
}

// key is an entry that holds one.
func key(method uint16, k []byte) []byte {
	return entry(0, 1, le.AppendUint32(nil, uint32(method)), k)
}

// sealed is an entry with a key that another one encrypts.
func (b *builder) sealed(purpose uint16, with []byte, method uint16, k []byte) []byte {
	b.nonces++
	nonce := le.AppendUint32(le.AppendUint64(nil, 0x01DC000000000000), b.nonces)
	c, err := aes.NewCipher(with)
	if err != nil {
		b.t.Fatal(err)
	}
	mac, data := ccm(c, nonce, key(method, k))
	return entry(purpose, 5, nonce, mac, data)
}

const inCCM = 0x2003 // the method of keys that are in a box

func (b *builder) entries() []byte {
	master := b.random(32)
	all := entry(7, 2, utf16le(Description+"\x00"))
	protector := func(kind uint16, inner ...[]byte) {
		head := append(b.random(16), make([]byte, 12)...)
		head[0] = byte(kind >> 8)
		le.PutUint16(head[26:], kind)
		all = append(all, entry(2, 8, append([][]byte{head}, inner...)...)...)
		if kind == 0x0200 {
			b.bek = append(make([]byte, 48), entry(6, 9, head[:16], make([]byte, 8), entry(0, 2, utf16le("ExternalKey\x00")), key(0x2002, startupKey))...)
			le.PutUint32(b.bek, uint32(len(b.bek)))
			le.PutUint32(b.bek[4:], 1)
			le.PutUint32(b.bek[8:], 48)
			le.PutUint32(b.bek[12:], uint32(len(b.bek)))
			copy(b.bek[16:], head[:16])
		}
	}
	stretched := func(kind uint16, name string, secret []byte) {
		salt := b.random(16)
		protector(kind, entry(0, 2, utf16le(name+"\x00")), entry(0, 3, le.AppendUint32(nil, 0x1000), salt, b.sealed(0, b.random(32), inCCM, b.random(32))),
			b.sealed(0, stretch(secret, salt), inCCM, master))
	}
	if b.o.TPM {
		protector(0x0100, entry(0, 6, b.random(300)), b.sealed(0, b.random(32), inCCM, master))
	}
	if b.o.Startup {
		protector(0x0200, entry(0, 2, utf16le("ExternalKey\x00")), entry(0, 4, le.AppendUint32(nil, 0x2002)), b.sealed(0, startupKey, inCCM, master))
	}
	if b.o.Recovery {
		stretched(0x0800, "DiskPassword", hashRecovery())
	}
	if b.o.Password {
		stretched(0x2000, "Password", hashPassword(cmp.Or(b.o.Text, Password)))
	}
	if b.o.Clear {
		k := b.random(32)
		protector(0, key(0x2000, k), b.sealed(0, k, inCCM, master))
	}
	all = append(all, b.sealed(3, master, b.o.Method, b.cipher.key)...)
	place := le.AppendUint64(le.AppendUint64(nil, uint64(b.backup)), uint64(b.o.Header))
	return append(all, entry(15, 15, place)...)
}

var startupKey = bytes.Repeat([]byte("BEK!"), 8)

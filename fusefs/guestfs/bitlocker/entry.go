package bitlocker

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// Entries: each a size, what it is for, what kind of value it has, and the value, which
// may have entries in it.
const (
	entryHeader = 8

	forMasterKey   = 2
	forVolumeKey   = 3
	forDescription = 7
	forHeader      = 15

	isKey         = 1
	isText        = 2
	isStretched   = 3
	isEncrypted   = 5
	isMasterKey   = 8
	isExternalKey = 9
	isPlace       = 15

	maxProtectors = 64 // that are kept
)

// entry is one of the metadata or of a startup key.
type entry struct {
	purpose, kind uint16
	value         []byte
}

// split returns the entries in b. What follows the last is zeros.
func split(b []byte) (all []entry, err error) {
	for len(b) >= entryHeader {
		n := int(le.Uint16(b))
		if n == 0 {
			break
		}
		if n < entryHeader || n > len(b) {
			return all, fmt.Errorf("entry %d of them has %d bytes, %d are left", len(all), n, len(b))
		}
		all = append(all, entry{le.Uint16(b[2:]), le.Uint16(b[4:]), b[entryHeader:n]})
		b = b[n:]
	}
	return all, nil
}

// box is a key that another key encrypts.
type box struct {
	nonce [12]byte
	mac   [16]byte
	data  []byte
}

func (e entry) box() (box, bool) {
	if e.kind != isEncrypted || len(e.value) < 28 {
		return box{}, false
	}
	return box{[12]byte(e.value), [16]byte(e.value[12:]), e.value[28:]}, true
}

// Protections of the master key.
const (
	byClear    = 0x0000
	byTPM      = 0x0100
	byStartup  = 0x0200
	byTPMPIN   = 0x0500
	byRecovery = 0x0800
	byPassword = 0x2000
)

var protections = map[uint16]string{byClear: "clear key", byTPM: "TPM", byStartup: "startup key", 0x0300: "TPM and startup key",
	byTPMPIN: "TPM and PIN", 0x0700: "TPM, PIN and startup key", byRecovery: "recovery password", byPassword: "password"}

// protector is one way to the master key.
type protector struct {
	guid  [16]byte
	kind  uint16
	salt  []byte // of what is stretched
	clear []byte // the key itself
	box   box    // the master key
}

const masterKeyHead = 28

// protector reads an entry with a master key. ok is false for what has none that can be used.
func (e entry) protector() (p protector, ok bool, err error) {
	if len(e.value) < masterKeyHead {
		return p, false, fmt.Errorf("a key protector has %d bytes", len(e.value))
	}
	p.guid, p.kind = [16]byte(e.value), le.Uint16(e.value[26:])
	inner, err := split(e.value[masterKeyHead:])
	if err != nil {
		return p, false, fmt.Errorf("in a key protector: %w", err)
	}
	for _, in := range inner {
		switch {
		case in.kind == isKey && len(in.value) == 4+32:
			p.clear = in.value[4:]
		case in.kind == isStretched && len(in.value) >= 20:
			p.salt = in.value[4:20]
		case in.kind == isEncrypted:
			p.box, ok = in.box()
		}
	}
	return p, ok, nil
}

// entries takes what is needed of the metadata's.
func (h *Header) entries(b []byte) error {
	all, err := split(b)
	if err != nil {
		return err
	}
	h.keys, h.Protectors, h.Suspended, h.fvek = nil, nil, false, box{}
	for _, e := range all {
		switch {
		case e.purpose == forMasterKey && e.kind == isMasterKey:
			p, ok, err := e.protector()
			if err != nil {
				return err
			}
			name := protections[p.kind]
			if name == "" {
				name = fmt.Sprintf("a protector of kind %#x", p.kind)
			}
			if len(h.Protectors) < maxProtectors {
				h.Protectors = append(h.Protectors, name)
			}
			if ok && len(h.keys) < maxProtectors {
				h.keys = append(h.keys, p)
			}
			h.Suspended = h.Suspended || ok && p.kind == byClear && p.clear != nil
		case e.purpose == forVolumeKey:
			h.fvek, _ = e.box()
		case e.kind == isPlace && e.purpose == forHeader && len(e.value) >= 16:
			h.backup = extent{int64(le.Uint64(e.value)), int64(le.Uint64(e.value[8:]))}
		case e.kind == isText && e.purpose == forDescription:
			h.Description = text(e.value)
		}
	}
	if h.fvek.data == nil {
		return fmt.Errorf("they have no key of the volume")
	}
	return nil
}

// text decodes UTF-16.
func text(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, le.Uint16(b))
	}
	s, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return s
}

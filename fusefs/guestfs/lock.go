package guestfs

import (
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/luks"
)

// family is a kind of encryption.
type family struct {
	kind, name string // as blkid(8) calls it, and people
	prefix     string // of the names of what its volumes hold
	uuidAt     int64  // where the UUID stands as text; 0: nowhere
	wrong      error  // what a key is that opens nothing
	key, tool  string // advice: which keys open it, what else does
}

var (
	byLUKS = &family{kind: "crypto_LUKS", name: "LUKS", prefix: "luks-", uuidAt: 168, wrong: luks.ErrWrongKey, key: adviceKey, tool: adviceLUKS}
	byBit  = &family{kind: "BitLocker", name: "BitLocker", prefix: "bitlocker-", wrong: bitlocker.ErrWrongKey, key: adviceBitKey, tool: adviceBit}
)

// lock is the header of an encrypted volume. What unlock finds is what fits and open take.
type lock interface {
	describe() (uuid, label, variant string, notes []string)

	// unlock tries a passphrase, or the content of a key file. One that opens nothing
	// is the family's error.
	unlock(secret []byte, l luks.Limits) (any, error)
	// open gives the content; opens tells by little whether the key does.
	opens(key any) bool
	open(key any) (content, error)
}

// content is what lies in an encrypted volume.
type content interface {
	io.ReaderAt
	Size() int64
}

type luksLock struct{ h *luks.Header }

func (l luksLock) describe() (uuid, label, variant string, notes []string) {
	return l.h.UUID, l.h.Label, fmt.Sprintf("LUKS %d", l.h.Version), l.h.Notes
}

func (l luksLock) unlock(secret []byte, limits luks.Limits) (any, error) {
	return l.h.Unlock(secret, limits)
}

func (l luksLock) opens(key any) bool {
	k, ok := key.(luks.VolumeKey)
	return ok && l.h.Fits(k)
}

func (l luksLock) open(key any) (content, error) { return l.h.Open(key.(luks.VolumeKey)) }

type bitLock struct{ h *bitlocker.Header }

func (l bitLock) describe() (uuid, label, variant string, notes []string) {
	variant = "BitLocker"
	if l.h.ToGo {
		variant += " To Go"
	}
	notes = l.h.Notes
	if l.h.Suspended {
		notes = append([]string{"its protection is suspended: whoever has the disk can read it"}, notes...)
	}
	return l.h.GUID, l.h.Description, variant, notes
}

func (l bitLock) unlock(secret []byte, _ luks.Limits) (any, error) { return l.h.Unlock(secret) }

func (l bitLock) opens(key any) bool {
	k, ok := key.(bitlocker.MasterKey)
	return ok && l.h.Fits(k)
}

func (l bitLock) open(key any) (content, error) { return l.h.Open(key.(bitlocker.MasterKey)) }

// lockOf reads the header of an encrypted volume; nil: it is none. A second header of LUKS is
// looked for where keys are given, and no reader takes the volume as it is.
func (l *layers) lockOf(v *Volume) *crypt {
	switch {
	case luks.Probe(v.r) || l.g.o.Keys != nil && !v.formatted() && luks.ProbeSecond(v.r, v.Size):
		h, err := luks.ReadHeader(v.r, v.Size)
		if err != nil {
			return &crypt{family: byLUKS, err: err}
		}
		return &crypt{family: byLUKS, lock: luksLock{h}}
	case bitlocker.Probe(v.r):
		h, err := bitlocker.ReadHeader(v.r, v.Size)
		if err != nil {
			return &crypt{family: byBit, err: err}
		}
		c := &crypt{family: byBit, lock: bitLock{h}, err: h.Refused()}
		if h.Suspended && c.err == nil {
			if key, err := h.UnlockClear(); err == nil {
				c.clear = key
			}
		}
		return c
	}
	return nil
}

package ntfs

import (
	"bytes"
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// memory is an image in memory that a test changes.
type memory struct {
	t testing.TB
	b []byte
	v *volume // as it was before
}

// load reads an image, and what our reader knows of it.
func load(t testing.TB, image string) *memory {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return loadBytes(t, b)
}

func loadBytes(t testing.TB, b []byte) *memory {
	t.Helper()
	fsys, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &memory{t, b, fsys.(*volume)}
}

// copied is the same image, to be changed on its own.
func (m *memory) copied() *memory { return &memory{m.t, bytes.Clone(m.b), m.v} }

func (m *memory) open() (*volume, error) {
	fsys, err := Format.Open(bytes.NewReader(m.b), int64(len(m.b)), tree.Options{})
	if err != nil {
		return nil, err
	}
	return fsys.(*volume), nil
}

func (m *memory) mustOpen() *volume {
	m.t.Helper()
	v, err := m.open()
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}

// find returns the number of a file by its path's names.
func (m *memory) find(names ...string) uint64 {
	m.t.Helper()
	ino := m.v.root
	for _, name := range names {
		var err error
		if ino, err = m.v.Lookup(ino, name); err != nil {
			m.t.Fatal(err)
		}
	}
	return ino
}

// guarded changes a record or block, and renews its update sequence.
func (m *memory) guarded(at, size int64, magic string, change func(b []byte)) {
	m.t.Helper()
	b := m.b[at : at+size]
	if why := fixup(b, magic); why != "" {
		m.t.Fatal(why)
	}
	change(b)
	renew(b)
}

// renew does what fixup undoes.
func renew(b []byte) {
	at, count := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	for i := 1; i < count && i*stride <= len(b) && at+2*i+2 <= len(b); i++ {
		end := b[i*stride-2 : i*stride]
		copy(b[at+2*i:], end)
		copy(end, b[at:at+2])
	}
}

// record changes the record of a file.
func (m *memory) record(ino uint64, change func(b []byte)) {
	m.t.Helper()
	at, _, err := m.v.place(int64(ino&numberMask) * m.v.boot.record)
	if err != nil {
		m.t.Fatal(err)
	}
	m.guarded(at, m.v.boot.record, "FILE", change)
}

// attribute changes the first attribute of a kind of a file's record.
func (m *memory) attribute(ino uint64, k kind, change func(a []byte)) {
	m.t.Helper()
	m.record(ino, func(b []byte) {
		for at := int(le.Uint16(b[20:])); at+8 < len(b); at += int(le.Uint32(b[at+4:])) {
			if kind(le.Uint32(b[at:])) == k {
				change(b[at : at+int(le.Uint32(b[at+4:]))])
				return
			}
			if kind(le.Uint32(b[at:])) == kindEnd {
				break
			}
		}
		m.t.Fatalf("record %d has no attribute %#x", ino&numberMask, k)
	})
}

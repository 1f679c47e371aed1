package registry

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

var le = binary.LittleEndian

const (
	headSize = 4096    // of the base block, in front of all cells
	maxCell  = 1 << 20 // bytes that are read of one
	maxKeys  = 1 << 17 // below one key
	maxData  = 16 << 20
	maxDepth = 512 // of a path, as Windows has it
	nowhere  = 1<<32 - 1
)

// Hive is an open file of the registry. It may be used from several goroutines.
type Hive struct {
	r    io.ReaderAt
	size int64
	root uint32

	// Dirty: changes may lie in the logs beside the file.
	Dirty bool
}

// Open reads the base block. A *tree.CorruptError: it is none.
func Open(r io.ReaderAt, size int64) (*Hive, error) {
	b := make([]byte, headSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			return nil, corrupt("the registry file", 0, "it has %d bytes", size)
		}
		return nil, err
	}
	sum := uint32(0)
	for i := 0; i < 508; i += 4 {
		sum ^= le.Uint32(b[i:])
	}
	switch sum {
	case 0:
		sum = 1
	case 1<<32 - 1:
		sum = 1<<32 - 2
	}
	switch {
	case string(b[:4]) != "regf":
		return nil, corrupt("the registry file", 0, "it does not begin as one")
	case sum != le.Uint32(b[508:]):
		return nil, corrupt("the registry file", 0, "its checksum is %#x, not %#x", le.Uint32(b[508:]), sum)
	case le.Uint32(b[20:]) != 1:
		return nil, &tree.UnsupportedError{What: "the registry file", Why: fmt.Sprintf("it is of version %d", le.Uint32(b[20:]))}
	}
	return &Hive{r: r, size: size, root: le.Uint32(b[36:]), Dirty: le.Uint32(b[4:]) != le.Uint32(b[8:])}, nil
}

func corrupt(what string, at int64, why string, args ...any) error {
	return &tree.CorruptError{What: what, Why: fmt.Sprintf(why, args...), At: at}
}

// cell reads at most n bytes of a cell that is in use.
func (h *Hive) cell(at uint32, n int) ([]byte, error) {
	off := headSize + int64(at)
	head := make([]byte, 4)
	if at == nowhere || at%8 != 0 || off+4 > h.size {
		return nil, corrupt("a cell of the registry", off, "it lies beyond the file, or none can be there")
	}
	if err := readFull(h.r, head, off); err != nil {
		return nil, err
	}
	size := -int64(int32(le.Uint32(head))) - 4
	if size < 4 || off+4+size > h.size {
		return nil, corrupt("a cell of the registry", off, "it is not in use, or has %d bytes", size)
	}
	b := make([]byte, min(size, int64(n)))
	return b, readFull(h.r, b, off+4)
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return corrupt("the registry", at, "its file ends before %d bytes there", len(b))
	}
	return fmt.Errorf("registry at %d: %w", at, err)
}

// Key is a key of the registry.
type Key struct {
	Name  string
	h     *Hive
	at    uint32
	keys  uint32 // where the list of them is, and how many
	nkeys uint32

	values, nvalues uint32
}

// Flags of names: one byte for a character (of Latin-1), not two.
const (
	keyNameShort   = 0x20
	valueNameShort = 0x01
)

const (
	keyHead   = 76
	valueHead = 20
)

func (h *Hive) key(at uint32) (*Key, error) {
	b, err := h.cell(at, keyHead+1024)
	if err != nil {
		return nil, err
	}
	if len(b) < keyHead || string(b[:2]) != "nk" || keyHead+int(le.Uint16(b[72:])) > len(b) {
		return nil, corrupt("a key of the registry", headSize+int64(at), "it is none, or its name is cut short")
	}
	name := decode(b[keyHead:][:le.Uint16(b[72:])], le.Uint16(b[2:])&keyNameShort != 0)
	return &Key{Name: name, h: h, at: at, nkeys: le.Uint32(b[20:]), keys: le.Uint32(b[28:]), nvalues: le.Uint32(b[36:]), values: le.Uint32(b[40:])}, nil
}

func decode(b []byte, short bool) string {
	if !short {
		return wtf8.Decode(b[:len(b)&^1])
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// Root returns the topmost key.
func (h *Hive) Root() (*Key, error) { return h.key(h.root) }

// Find returns the key at a path below the root, its names parted by backslashes. An
// fs.ErrNotExist where there is none.
func (h *Hive) Find(path string) (*Key, error) {
	k, err := h.Root()
	if err != nil {
		return nil, err
	}
	names := strings.Split(path, `\`)
	if len(names) > maxDepth {
		return nil, fmt.Errorf("registry key %.100s...: %w", path, fs.ErrNotExist)
	}
	for _, name := range names {
		if k, err = k.child(name); err != nil {
			return nil, fmt.Errorf("registry key %s: %w", path, err)
		}
	}
	return k, nil
}

// child finds a key below k. One that is damaged is an error only if the one that is
// sought is not found among the others.
func (k *Key) child(name string) (*Key, error) {
	var damage error
	for c, err := range k.Keys() {
		if err != nil {
			damage = err
			continue
		}
		if strings.EqualFold(c.Name, name) {
			return c, nil
		}
	}
	if damage == nil {
		damage = fs.ErrNotExist
	}
	return nil, damage
}

// Keys yields the keys below k. An error is of one key, or the last.
func (k *Key) Keys() iter.Seq2[*Key, error] {
	return func(yield func(*Key, error) bool) {
		if k.nkeys == 0 {
			return
		}
		n := 0
		b, err := k.h.cell(k.keys, maxCell)
		if err != nil {
			yield(nil, err)
			return
		}
		if len(b) < 4 || string(b[:2]) != "ri" {
			k.h.list(k.keys, &n, yield)
			return
		}
		for e := b[4:]; len(e) >= 4 && n < maxKeys && (len(b)-len(e))/4 <= int(le.Uint16(b[2:])); e = e[4:] {
			if !k.h.list(le.Uint32(e), &n, yield) {
				return
			}
		}
	}
}

// list yields the keys of a list of one of three kinds; n counts all.
func (h *Hive) list(at uint32, n *int, yield func(*Key, error) bool) bool {
	b, err := h.cell(at, 4+8*(1<<16))
	if err != nil {
		return yield(nil, err)
	}
	width := 8
	kind := ""
	if len(b) >= 4 {
		kind = string(b[:2])
	}
	switch kind {
	case "lf", "lh":
	case "li":
		width = 4
	default:
		return yield(nil, corrupt("a list of registry keys", headSize+int64(at), "it is none"))
	}
	count := int(le.Uint16(b[2:]))
	for e := b[4:]; count > 0 && len(e) >= width; count, e = count-1, e[width:] {
		if *n++; *n > maxKeys {
			yield(nil, corrupt("a list of registry keys", headSize+int64(at), "it has more than %d", maxKeys))
			return false
		}
		k, err := h.key(le.Uint32(e))
		if !yield(k, err) {
			return false
		}
	}
	return true
}

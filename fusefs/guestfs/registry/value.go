package registry

import (
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// Types of values.
const (
	String = 1 // REG_SZ: UTF-16, with a zero at its end
	Binary = 3
	Number = 4 // REG_DWORD: 32 bits, the lowest byte first
)

const (
	maxValues   = 1 << 16 // of one key
	segment     = 16344   // bytes of the pieces in which large data lie
	dataInPlace = 1 << 31 // of a size: the data are where their place would be
)

// Value is a value of a key.
type Value struct {
	Name string // "" of the key's own
	Type uint32
	h    *Hive
	size uint32
	at   uint32
	data [4]byte // where they lie in place
}

// Values yields the values of k. An error is of one value, or the last.
func (k *Key) Values() iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		if k.nvalues == 0 {
			return
		}
		b, err := k.h.cell(k.values, 4*maxValues)
		if err != nil {
			yield(Value{}, err)
			return
		}
		for n := k.nvalues; n > 0 && len(b) >= 4; n, b = n-1, b[4:] {
			v, err := k.h.value(le.Uint32(b))
			if !yield(v, err) {
				return
			}
		}
	}
}

func (h *Hive) value(at uint32) (Value, error) {
	b, err := h.cell(at, valueHead+1<<15)
	if err != nil {
		return Value{}, err
	}
	if len(b) < valueHead || string(b[:2]) != "vk" || valueHead+int(le.Uint16(b[2:])) > len(b) {
		return Value{}, corrupt("a value of the registry", headSize+int64(at), "it is none, or its name is cut short")
	}
	v := Value{h: h, Type: le.Uint32(b[12:]), size: le.Uint32(b[4:]), at: le.Uint32(b[8:])}
	v.Name = decode(b[valueHead:][:le.Uint16(b[2:])], le.Uint16(b[16:])&valueNameShort != 0)
	copy(v.data[:], b[8:12])
	return v, nil
}

// Size is how many bytes the value has, as it says itself.
func (v Value) Size() int { return int(v.size &^ dataInPlace) }

// Data reads the value, at most 16 MiB.
func (v Value) Data() ([]byte, error) {
	size := v.Size()
	switch {
	case v.size&dataInPlace != 0 && size <= 4:
		return v.data[:size], nil
	case v.size&dataInPlace != 0, size > maxData:
		return nil, corrupt("the value "+v.Name+" of the registry", headSize+int64(v.at), "it has %d bytes", size)
	case size == 0:
		return nil, nil
	case size > segment:
		if b, err := v.h.cell(v.at, 8); err == nil && len(b) == 8 && string(b[:2]) == "db" {
			return v.pieces(le.Uint32(b[4:]), int(le.Uint16(b[2:])), size)
		}
	}
	b, err := v.h.cell(v.at, size)
	if err == nil && len(b) < size {
		err = corrupt("the value "+v.Name+" of the registry", headSize+int64(v.at), "%d of its %d bytes are there", len(b), size)
	}
	return b, err
}

// pieces reads data that lie in several cells.
func (v Value) pieces(list uint32, count, size int) ([]byte, error) {
	b, err := v.h.cell(list, 4*count)
	if err != nil {
		return nil, err
	}
	var all []byte
	for ; len(b) >= 4 && len(all) < size; b = b[4:] {
		p, err := v.h.cell(le.Uint32(b), min(segment, size-len(all)))
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	if len(all) < size {
		return nil, corrupt("the value "+v.Name+" of the registry", headSize+int64(list), "%d of its %d bytes are there", len(all), size)
	}
	return all, nil
}

// Value finds a value by its name, in any case, and reads it: ok is false where there is
// none. One that is damaged is an error only if the one that is sought is not found.
func (k *Key) Value(name string) (data []byte, ok bool, err error) {
	var damage error
	for v, err := range k.Values() {
		if err != nil {
			damage = err
			continue
		}
		if strings.EqualFold(v.Name, name) {
			data, err = v.Data()
			return data, err == nil, err
		}
	}
	return nil, false, damage
}

// Text decodes the data of a String.
func Text(data []byte) string {
	s, _, _ := strings.Cut(wtf8.Decode(data[:len(data)&^1]), "\x00")
	return s
}

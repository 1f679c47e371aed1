package treetest

import (
	"encoding/binary"
	"maps"
	"slices"
)

const hiveHead = 4096

// Hive is a file of the registry of Windows that is being made: cells are put into its one bin.
type Hive struct{ b []byte }

// NewHive returns an empty one.
func NewHive() *Hive { return &Hive{make([]byte, hiveHead+32)} }

// Cell adds one that is in use and returns its place.
func (w *Hive) Cell(content []byte) uint32 {
	at := uint32(len(w.b) - hiveHead)
	size := (4 + len(content) + 7) &^ 7
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(-size))
	w.b = append(w.b, content...)
	w.b = append(w.b, make([]byte, size-4-len(content))...)
	return at
}

// Key adds a key with a list of keys and one of values, at places that other cells have.
func (w *Hive) Key(name string, keys uint32, nkeys int, values uint32, nvalues int, security uint32) uint32 {
	b := make([]byte, 76)
	copy(b, "nk")
	binary.LittleEndian.PutUint16(b[2:], 0x20)
	binary.LittleEndian.PutUint32(b[16:], 1<<32-1)
	binary.LittleEndian.PutUint32(b[20:], uint32(nkeys))
	binary.LittleEndian.PutUint32(b[28:], keys)
	binary.LittleEndian.PutUint32(b[32:], 1<<32-1)
	binary.LittleEndian.PutUint32(b[36:], uint32(nvalues))
	binary.LittleEndian.PutUint32(b[40:], values)
	binary.LittleEndian.PutUint32(b[44:], security)
	binary.LittleEndian.PutUint32(b[48:], 1<<32-1)
	binary.LittleEndian.PutUint16(b[72:], uint16(len(name)))
	return w.Cell(append(b, name...))
}

// Value adds a value whose data lie in a cell.
func (w *Hive) Value(name string, kind uint32, size uint32, at uint32) uint32 {
	b := make([]byte, 20)
	copy(b, "vk")
	binary.LittleEndian.PutUint16(b[2:], uint16(len(name)))
	binary.LittleEndian.PutUint32(b[4:], size)
	binary.LittleEndian.PutUint32(b[8:], at)
	binary.LittleEndian.PutUint32(b[12:], kind)
	binary.LittleEndian.PutUint16(b[16:], 1)
	return w.Cell(append(b, name...))
}

// List adds a list of keys of a kind, so many bytes for each.
func (w *Hive) List(kind string, width int, places ...uint32) uint32 {
	b := append([]byte(kind), byte(len(places)), byte(len(places)>>8))
	for _, at := range places {
		b = binary.LittleEndian.AppendUint32(b, at)
		b = append(b, make([]byte, width-4)...)
	}
	return w.Cell(b)
}

// Security adds what keys must name for Windows.
func (w *Hive) Security() uint32 {
	b := make([]byte, 20+20)
	copy(b, "sk")
	at := uint32(len(w.b) - hiveHead)
	binary.LittleEndian.PutUint32(b[4:], at)
	binary.LittleEndian.PutUint32(b[8:], at)
	binary.LittleEndian.PutUint32(b[12:], 1)
	binary.LittleEndian.PutUint32(b[16:], 20)
	return w.Cell(b)
}

// Bytes ends the bin and writes the base block.
func (w *Hive) Bytes(root uint32) []byte {
	rest := 4096 - len(w.b)%4096
	free := make([]byte, rest)
	binary.LittleEndian.PutUint32(free, uint32(rest))
	b := append(w.b, free...)
	copy(b[hiveHead:], "hbin")
	binary.LittleEndian.PutUint32(b[hiveHead+8:], uint32(len(b)-hiveHead))
	copy(b, "regf")
	binary.LittleEndian.PutUint32(b[4:], 7)
	binary.LittleEndian.PutUint32(b[8:], 7)
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint32(b[24:], 5)
	binary.LittleEndian.PutUint32(b[32:], 1)
	binary.LittleEndian.PutUint32(b[36:], root)
	binary.LittleEndian.PutUint32(b[40:], uint32(len(b)-hiveHead))
	binary.LittleEndian.PutUint32(b[44:], 1)
	SealHive(b)
	return b
}

// SealHive sets the checksum of the base block right.
func SealHive(b []byte) {
	sum := uint32(0)
	for i := 0; i < 508; i += 4 {
		sum ^= binary.LittleEndian.Uint32(b[i:])
	}
	binary.LittleEndian.PutUint32(b[508:], sum)
}

// MountedDevices is a hive SYSTEM that says which drives there are: devices by names as
// Windows has them (\DosDevices\C:).
func MountedDevices(devices map[string][]byte) []byte {
	w := NewHive()
	security := w.Security()
	var values []byte
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		data := devices[name]
		values = binary.LittleEndian.AppendUint32(values, w.Value(name, 3, uint32(len(data)), w.Cell(data)))
	}
	key := w.Key("MountedDevices", 1<<32-1, 0, w.Cell(values), len(devices), security)
	root := w.Key("ROOT", w.List("lf", 8, key), 1, 1<<32-1, 0, security)
	binary.LittleEndian.PutUint32(w.b[hiveHead+key+4+16:], root) // what lies above it
	return w.Bytes(root)
}

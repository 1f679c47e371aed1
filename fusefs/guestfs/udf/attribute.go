package udf

import (
	"fmt"
	"time"
)

// Kinds of extended attributes that are kept in an entry: ECMA-167 4/14.10.
const (
	attributeTimes  = 5
	attributeDevice = 12
	attributesHead  = 24 // of all together
	attributeHead   = 12 // of each
)

// attribute finds one that ECMA-167 defines; nil where there is none. What is behind one
// that is cut short is not looked at.
func (e *entry) attribute(kind uint32) []byte {
	b := e.attributes
	if len(b) < attributesHead || le.Uint16(b) != tagAttributes {
		return nil
	}
	for b = b[attributesHead:]; len(b) >= attributeHead; {
		length := le.Uint32(b[8:])
		if length < attributeHead || int64(length) > int64(len(b)) {
			return nil
		}
		if le.Uint32(b) == kind && b[4] == 1 {
			return b[:length]
		}
		b = b[length:]
	}
	return nil
}

// device returns the numbers of one.
func (e *entry) device() (major, minor uint32, err error) {
	b := e.attribute(attributeDevice)
	if len(b) < 24 {
		return 0, 0, corrupt(fmt.Sprintf("device %d", inoOf(e.ref, e.block)), e.at, "its numbers are missing")
	}
	return le.Uint32(b[16:]), le.Uint32(b[20:]), nil
}

// creation is when a file was made, where the entry is of the form that has no field
// for it.
func (e *entry) creation() time.Time {
	const first = 1 // of the times that may be there
	b := e.attribute(attributeTimes)
	if len(b) < 20+12 || le.Uint32(b[16:])&first == 0 {
		return time.Time{}
	}
	return timestamp(b[20:])
}

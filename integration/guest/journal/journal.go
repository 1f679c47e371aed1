// Package journal is the form of the records that the test guest's writer keeps,
// and how they are examined after a restore.
package journal

import (
	"fmt"
	"hash/crc32"
	"strings"
)

// Size is the length of a record in bytes.
const Size = 128

// Record is record n, the first of which is 1.
func Record(n uint64) []byte {
	text := fmt.Sprintf("%012d ", n)
	pad := fmt.Sprintf("%d.", n*2654435761)
	text += strings.Repeat(pad, Size/len(pad)+1)
	text = text[:Size-10]
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// Parse returns the number of the last record of a journal, 0 for an empty one. Records
// that are missing, out of order or wrong are an error; a last one that is torn
// (zeros, or cut short) counts as not written.
func Parse(b []byte) (uint64, error) {
	var last uint64
	for n := uint64(1); len(b) > 0; n++ {
		if len(b) < Size || string(b[:Size]) != string(Record(n)) {
			if len(b) > Size || whole(b) {
				return last, fmt.Errorf("record %d of %d is %q", n, int(n)+len(b)/Size, b[:min(len(b), Size)])
			}
			return last, nil
		}
		last, b = n, b[Size:]
	}
	return last, nil
}

// whole tells whether b is a record of some number.
func whole(b []byte) bool {
	var n uint64
	_, err := fmt.Sscanf(string(b), "%d ", &n)
	return err == nil && string(b) == string(Record(n))
}

package blockstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// damaged is one way to damage a file: it returns the new content, nil for none.
type damaged struct {
	name string
	do   func(b, other []byte, r *rand.Rand) []byte
}

// flips damages one bit in each of several parts of a file, given as shares.
func flips(parts ...float64) (ways []damaged) {
	for _, part := range parts {
		ways = append(ways, damaged{fmt.Sprintf("flipped bit at %.2f", part), func(b, _ []byte, r *rand.Rand) []byte {
			at := min(int(part*float64(len(b))), len(b)-1)
			b[at] ^= 1 << r.IntN(8)
			return b
		}})
	}
	return ways
}

// flipFrom damages a bit so far from the beginning, or from the end where at is negative.
func flipFrom(name string, at int) damaged {
	return damaged{"flipped bit in the " + name, func(b, _ []byte, r *rand.Rand) []byte {
		b[(at+len(b))%len(b)] ^= 1 << r.IntN(8)
		return b
	}}
}

var generalWays = append(flips(0, 0.2, 0.45, 0.7, 1),
	damaged{"emptied", func([]byte, []byte, *rand.Rand) []byte { return []byte{} }},
	damaged{"cut in half", func(b, _ []byte, _ *rand.Rand) []byte { return b[:len(b)/2] }},
	damaged{"cut by a byte", func(b, _ []byte, _ *rand.Rand) []byte { return b[:len(b)-1] }},
	damaged{"first page zeroed", func(b, _ []byte, _ *rand.Rand) []byte { clear(b[:min(4096, len(b))]); return b }},
	damaged{"some page zeroed", func(b, _ []byte, r *rand.Rand) []byte {
		at := r.IntN(len(b)/4096+1) * 4096
		clear(b[at:min(at+4096, len(b))])
		return b
	}},
	damaged{"garbage", func(b, _ []byte, r *rand.Rand) []byte {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	damaged{"longer", func(b, _ []byte, _ *rand.Rand) []byte { return append(b, "more"...) }},
	damaged{"replaced by another of its kind", func(_, other []byte, _ *rand.Rand) []byte { return other }},
	damaged{"removed", func([]byte, []byte, *rand.Rand) []byte { return nil }},
)

// packWays damage what only packs have.
var packWays = []damaged{
	{"two records swapped", swapRecords},
	flipFrom("version of the header", 8), flipFrom("copy of VAULT", 100),
	flipFrom("footer", -64-20), flipFrom("version in the trailer", -64+32), flipFrom("trailer", -64),
}

// recordFlips damages each field of the first record's header, and its payload.
func recordFlips() (ways []damaged) {
	for name, at := range map[string]int{"magic": 0, "kind": 4, "codec": 5, "seal": 6, "reserved byte": 7, "ordinal": 8,
		"stored length": 12, "content length": 16, "ID": 30, "checksum": 52, "payload": 60} {
		ways = append(ways, damaged{"flipped bit in a record's " + name, func(b, _ []byte, r *rand.Rand) []byte {
			b[int(entriesOfPack(b)[0].Offset)+at] ^= 1 << r.IntN(8)
			return b
		}})
	}
	slices.SortFunc(ways, func(a, b damaged) int { return strings.Compare(a.name, b.name) })
	return ways
}

func entriesOfPack(b []byte) []pack.Entry {
	h, err := pack.ReadHeader(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	entries, err := pack.ReadFooter(bytes.NewReader(b), int64(len(b)), h.ID)
	if err != nil {
		panic(err)
	}
	return entries
}

// swapRecords swaps two records of equal length; where none are, it copies one
// over the beginning of another.
func swapRecords(b, _ []byte, _ *rand.Rand) []byte {
	entries := entriesOfPack(b)
	for i, e := range entries {
		for _, f := range entries[i+1:] {
			if e.Length == f.Length {
				x, y := b[e.Offset:e.End()], b[f.Offset:f.End()]
				tmp := bytes.Clone(x)
				copy(x, y)
				copy(y, tmp)
				return b
			}
		}
	}
	n := min(entries[0].Length, entries[1].Length)
	copy(b[entries[0].Offset:], b[entries[1].Offset:entries[1].Offset+n])
	return b
}

// What a segment has where, from its end: a trailer of 136 bytes, the fan-out,
// the points, the packs, and entries from byte 16 on.
var segmentWays = []damaged{
	flipFrom("version of the header", 8), flipFrom("version of the trailer", -136+48), flipFrom("first entry's ID", 20),
	flipFrom("first entry's pack", 16+32), flipFrom("first entry's offset", 16+36), flipFrom("first entry's length", 16+40),
	flipFrom("trailer's count", -136+24), flipFrom("MAC of entries", -136+64), flipFrom("MAC", -136+96), flipFrom("end", -3),
	flipFrom("fan-out", -136-4), flipFrom("points", -136-200),
}

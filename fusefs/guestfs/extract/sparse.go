package extract

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Sparse files in tar archives are as GNU tar writes them since 1.15.92 (format 1.0, in its manual under "Storing
// Sparse Files"): names and sizes are records of PAX, and a map of the data lies before it. GNU tar, bsdtar and
// the libraries of Go and Python read that.

const (
	// mostParts bounds the map of a file: some readers take no more than 1 MiB of it.
	mostParts = 20_000
	// leastHoles is what holes must add up to, in bytes, to be worth the map.
	leastHoles = 4096

	tarBlock = 512
)

// dataOf returns the parts of a file that hold data, in whole blocks of tar: GNU tar begins to read each at
// one. Where there are too many, those that lie closest are one; where it is not known, or holes save
// nothing, all of it is data.
func dataOf(content tree.File, size int64) []tree.Extent {
	var parts []tree.Extent
	add := func(e tree.Extent, gap int64) {
		if n := len(parts) - 1; n >= 0 && e.Off-(parts[n].Off+parts[n].Len) <= gap {
			parts[n].Len = e.Off + e.Len - parts[n].Off
			return
		}
		parts = append(parts, e)
	}
	gap := int64(0)
	for e, err := range content.Extents() {
		if err != nil {
			return whole(size)
		}
		end := min(e.Off+e.Len+padding(e.Off+e.Len), size)
		if e.Off &^= tarBlock - 1; e.Off >= end {
			continue
		}
		e.Len = end - e.Off
		for add(e, gap); len(parts) > mostParts; {
			gap = max(2*gap, leastHoles)
			all := parts
			parts = parts[:0]
			for _, e := range all {
				add(e, gap)
			}
		}
	}
	data := int64(0)
	for _, e := range parts {
		data += e.Len
	}
	if size-data < leastHoles {
		return whole(size)
	}
	return parts
}

// sparse writes the header of a file with holes and the map of its data, which is to follow.
func (t *tarArchive) sparse(h *tar.Header, parts []tree.Extent) error {
	var blocks strings.Builder
	data := int64(0)
	entries := parts
	if n := len(parts); n == 0 || parts[n-1].Off+parts[n-1].Len < h.Size {
		entries = append(parts[:n:n], tree.Extent{Off: h.Size}) // the hole that ends the file
	}
	fmt.Fprintf(&blocks, "%d\n", len(entries))
	for _, e := range entries {
		fmt.Fprintf(&blocks, "%d\n%d\n", e.Off, e.Len)
		data += e.Len
	}
	blocks.Write(make([]byte, padding(int64(blocks.Len()))))

	// The standard library reads these records and writes none: they have another name until it has.
	const prefix = "GNU.sparse."
	free := fmt.Sprintf("%0*x", len(prefix), rand.Uint64()>>(64-4*len(prefix)))
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	for key, value := range map[string]string{"major": "1", "minor": "0", "name": h.Name, "realsize": fmt.Sprint(h.Size)} {
		h.PAXRecords[free+key] = value
	}
	dir, base := path.Split(h.Name)
	h.Name, h.Size = path.Join(dir, "GNUSparseFile.0", base), int64(blocks.Len())+data
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(h); err != nil {
		return err
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	t.owed = padding(data)
	for _, b := range [][]byte{bytes.ReplaceAll(header.Bytes(), []byte(free), []byte(prefix)), []byte(blocks.String())} {
		if _, err := t.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// settle ends an entry that was written past the tar.Writer.
func (t *tarArchive) settle() error {
	if t.owed == 0 {
		return nil
	}
	_, err := t.out.Write(make([]byte, t.owed))
	t.owed = 0
	return err
}

// padding is how much is missing to whole blocks.
func padding(n int64) int64 { return -n & (tarBlock - 1) }

package ntfs

import "fmt"

// maxVCN bounds the number of a cluster within a file: 2^63 bytes of the smallest clusters.
const maxVCN = 1<<63/512 - 1

// hole stands in a run for clusters that were never written.
const hole = -1

// run is a stretch of a file: count clusters from vcn on lie at lcn of the
// volume, or nowhere (hole).
type run struct{ vcn, lcn, count int64 }

// decodeRuns decodes mapping pairs: each a byte with the lengths of two numbers,
// the count of clusters and the distance from the place of the run before.
// They must be for the clusters first to last of the file, and lie below
// clusters on the volume.
func decodeRuns(pairs []byte, first, last, clusters int64) ([]run, error) {
	runs := make([]run, 0, 4)
	vcn, lcn := first, int64(0)
	for i := 0; i < len(pairs) && pairs[i] != 0; {
		countLen, placeLen := int(pairs[i]&15), int(pairs[i]>>4)
		i++
		if countLen == 0 || countLen > 8 || placeLen > 8 || i+countLen+placeLen > len(pairs) {
			return nil, fmt.Errorf("run %d of it cannot be decoded", len(runs))
		}
		r := run{vcn: vcn, lcn: hole, count: signed(pairs[i : i+countLen])}
		if r.count <= 0 || r.count > last-vcn+1 {
			return nil, fmt.Errorf("run %d of it has %d clusters, %d are left", len(runs), r.count, last-vcn+1)
		}
		i += countLen
		if placeLen > 0 {
			lcn += signed(pairs[i : i+placeLen])
			if lcn < 0 || lcn >= clusters || r.count > clusters-lcn {
				return nil, fmt.Errorf("run %d of it is at clusters %d to %d of %d", len(runs), lcn, lcn+r.count, clusters)
			}
			r.lcn = lcn
			i += placeLen
		}
		runs = append(runs, r)
		vcn += r.count
	}
	if vcn != last+1 {
		return nil, fmt.Errorf("its runs end at cluster %d and not at %d", vcn, last+1)
	}
	return runs, nil
}

// signed is a little-endian number in two's complement of up to eight bytes.
func signed(b []byte) (v int64) {
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | int64(b[i])
	}
	shift := 64 - 8*len(b)
	return v << shift >> shift
}

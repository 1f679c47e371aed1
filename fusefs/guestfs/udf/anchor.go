package udf

import (
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	recognition    = 32768 // where the volume recognition sequence begins
	maxRecognition = 64    // structures of it
	anchorBlock    = 256
	minAnchor      = 32
)

// blockSizes are those that a UDF can have, the likely ones first.
var blockSizes = []int64{2048, 512, 4096, 1024, 8192, 16384, 32768}

// recognize reads the sequence that says what a volume is: UDF by NSR02 or NSR03, ISO
// 9660 as well by CD001. Where blocks are larger than 2048 bytes, each has one structure.
func recognize(r io.ReaderAt) (udf, bridge bool) {
	for _, step := range []int64{2048, 4096, 8192, 16384, 32768} {
		b := make([]byte, 7)
	sequence:
		for i := range int64(maxRecognition) {
			if tree.ReadFull(r, b, recognition+i*step) != nil {
				break
			}
			switch string(b[1:6]) {
			case "NSR02", "NSR03":
				udf = true
			case "CD001":
				bridge = true
			case "BEA01", "BOOT2", "CDW02":
			case "TEA01":
				break sequence
			default:
				break sequence
			}
		}
		if udf {
			break
		}
	}
	return udf, bridge
}

// extent is a part of the volume in bytes and blocks, as descriptors tell it.
type extent struct{ length, block uint32 }

func extentOf(b []byte) extent { return extent{le.Uint32(b), le.Uint32(b[4:])} }

// anchor says where the descriptors of the volume are.
type anchor struct {
	block         int64 // bytes
	main, reserve extent
}

// findAnchor tries the places that an anchor may have, for each size of blocks: block
// 256, the last one, that less 256, and 512 of a disc that was not closed.
func findAnchor(r io.ReaderAt, size int64) (anchor, error) {
	b := make([]byte, 512)
	for _, bs := range blockSizes {
		blocks := size / bs
		for _, at := range []int64{anchorBlock, blocks - 1, blocks - 1 - anchorBlock, blocks - anchorBlock, 2 * anchorBlock} {
			if at < minAnchor || at >= blocks || at > 1<<32-1 || tree.ReadFull(r, b, at*bs) != nil || checkTag(b, tagAnchor, uint32(at)) != nil {
				continue
			}
			return anchor{bs, extentOf(b[16:]), extentOf(b[24:])}, nil
		}
	}
	return anchor{}, &tree.CorruptError{What: "the volume", Why: "it has no anchor", At: 256 * 2048}
}

package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Disk is a drive of the machine, as its guest sees it.
type Disk struct {
	Name       string  // vda, sdb, nvme0n1, sr0, fd0: made of its bus and its place among the drives on such
	Node       string  // of QEMU's block graph, the topmost; empty for an empty drive
	QDev       string  // the device's path in QEMU's tree of objects; empty where the drive has none
	Device     string  // QEMU's own name of the drive; often empty
	Size       int64   // bytes
	Format     string  // driver of the topmost layer: raw, qcow2, ...
	Filename   string  // of the topmost layer, as QEMU knows it; that of a disk that stands Apart is its whole description
	Apart      string  // why Filename and Format do not tell what the disk holds; empty: they do
	Chain      []Layer // all layers, topmost first; one image and the images that back it
	Serial     string  // empty where it was given none
	Bus        string  // virtio, scsi, ide, usb, nvme, floppy, or QEMU's name of the device
	BootIndex  int     // -1: none
	Shareable  bool    // other machines may write to it at the same time
	ReadOnly   bool    // the guest may not write
	Transient  bool    // what is written vanishes with QEMU
	Logical    int     // sector size in bytes, as the guest sees it
	Physical   int     // likewise
	IOThread   string  // QEMU's path of the thread that serves it; empty: the main loop
	Bitmaps    []Bitmap
	LeftOut    string // why it is not backed up unless asked for; empty: it is
	Impossible bool   // it cannot be backed up even where it is asked for

	persists bool // bitmaps can be kept in its image
}

// Layer is one image of a chain.
type Layer struct {
	Driver   string
	Filename string
	Size     int64 // virtual size in bytes
}

// Bitmap is a dirty bitmap on a disk's topmost node.
type Bitmap struct {
	Name         string `json:"name"`
	Count        int64  `json:"count"`       // bytes marked dirty
	Granularity  int64  `json:"granularity"` // bytes
	Recording    bool   `json:"recording"`
	Busy         bool   `json:"busy"`
	Persistent   bool   `json:"persistent"`
	Inconsistent bool   `json:"inconsistent"`
}

// Identity is text that stays the same as long as the disk is made of the same files
// in the same formats. An external snapshot, a merged chain and a disk that was
// moved change it; what is written does not, nor does a new size of the topmost layer.
func (d *Disk) Identity() string {
	h := sha256.New()
	for i, l := range d.Chain {
		size := l.Size
		if i == 0 {
			size = 0
		}
		fmt.Fprintf(h, "%q %q %d\n", l.Driver, l.Filename, size)
	}
	return "qemu-" + hex.EncodeToString(h.Sum(nil)[:16])
}

func (d *Disk) bitmap(name string) *Bitmap {
	for i := range d.Bitmaps {
		if d.Bitmaps[i].Name == name && name != "" {
			return &d.Bitmaps[i]
		}
	}
	return nil
}

// image is QEMU's ImageInfo.
type image struct {
	Filename    string `json:"filename"`
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"`
	Backing     *image `json:"backing-image"`
	Specific    struct {
		Data struct {
			Compat string `json:"compat"`
		} `json:"data"`
	} `json:"format-specific"`
}

const maxChain = 256 // layers; QEMU itself gives up before

func (i *image) chain() []Layer {
	var list []Layer
	for ; i != nil && len(list) < maxChain; i = i.Backing {
		list = append(list, Layer{i.Format, plainName(i.Filename), i.VirtualSize})
	}
	return list
}

// plainName is the file's name where QEMU describes a file by its whole tree of
// options, which may change without the file.
func plainName(name string) string {
	text, ok := strings.CutPrefix(name, "json:")
	if !ok {
		return name
	}
	var tree struct {
		Filename string          `json:"filename"`
		File     json.RawMessage `json:"file"`
	}
	for range 8 {
		if json.Unmarshal([]byte(text), &tree) != nil {
			return name
		}
		if tree.Filename != "" {
			return tree.Filename
		}
		if tree.File == nil {
			return name
		}
		text, tree.File = string(tree.File), nil
	}
	return name
}

// transient tells whether the topmost layer is one that QEMU or libvirt made to
// be thrown away: a drive with snapshot=on, a <transient/> disk.
func transient(chain []Layer) bool {
	if len(chain) < 2 {
		return false
	}
	_, file, _ := cutLast(chain[0].Filename, "/")
	suffix, temporary := strings.CutPrefix(file, "vl.")
	return temporary && len(suffix) == 6 || strings.Contains(file, ".TRANSIENT")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

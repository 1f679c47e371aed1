package ntfs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// Tags of reparse points ([MS-FSCC] 2.1.2.1).
const (
	tagMountPoint = 0xA0000003
	tagSymlink    = 0xA000000C
	tagLxSymlink  = 0xA000001D
	tagLxSocket   = 0x80000023
	tagLxFIFO     = 0x80000024
	tagLxChar     = 0x80000025
	tagLxBlock    = 0x80000026
	tagWOF        = 0x80000017
	tagAppLink    = 0x8000001B
	tagCloud      = 0x9000001A
	cloudMask     = 0xFFFF0FFF // its fourth digit is the provider's
)

// elsewhere says of other tags what they mean: that the content is not, or not
// as it is, in the file.
var elsewhere = map[uint32]string{
	0x80000013: "its content lies in the store of Windows' deduplication",
	0x80000007: "its content lies in the single-instance store",
	0x80000006: "its content was moved to other storage (HSM2)",
	0xC0000004: "its content was moved to other storage (HSM)",
	tagCloud:   "its content is in the cloud and not on the disk",
	0x9000001C: "it is a placeholder of a projected file system (ProjFS)",
	0x8000001E: "its content was moved to the cloud (Azure File Sync)",
	0x80000018: "its content may lie in another layer of a container (WCI)",
	0x90001018: "its content may lie in another layer of a container (WCI)",
	0x80000014: "it is a special file of the NFS server",
	0x80000015: "its content is in the cloud and not on the disk (OneDrive of Windows 8)",
	0x80000021: "its content is in the cloud and not on the disk (OneDrive)",
	0x90000027: "its content was moved to the cloud (Azure File Sync)",
	0x80000008: "its content lies in a WIM file",
	0x8000000A: "its content lies on another machine (DFS)",
	0x80000009: "its content lies on a shared volume of a cluster (CSV)",
	0xA0000027: "its content may lie in another layer of a container (WCI)",
	0xA0000028: "its content lies in a composite image (CIM)",
}

// adviceWindows is what to do about content that is not in the file.
const adviceWindows = "attach the disk to a Windows that knows it"

const (
	maxReparse    = 16 << 10 // [MS-FSCC] 2.1.2
	reparseHeader = 8
)

// special is what a file is beyond its content.
type special struct {
	mode    uint32 // the S_IFMT bits
	target  string // of a link
	tag     uint32 // of its reparse point, 0 for none
	blocked string // why its content cannot be given, or ""
	packed  bool   // its content is compressed by WOF
	method  wof.Method
}

// special tells what kind of file an inode is.
func (v *volume) special(n *inode, dosAttributes uint32) (special, error) {
	p := special{mode: unix.S_IFREG}
	if n.dir {
		p.mode = unix.S_IFDIR
	}
	if len(n.parts(kindReparse, "")) == 0 {
		if dosAttributes&attrSystem != 0 && !n.dir {
			v.interix(n, &p)
		}
		return p, nil
	}
	b, err := v.value(n, kindReparse, "", maxReparse+reparseHeader)
	if err != nil {
		return p, err
	}
	if len(b) < reparseHeader {
		return p, &tree.CorruptError{What: n.String(), Why: fmt.Sprintf("its reparse point has %d bytes", len(b)), At: n.at}
	}
	p.tag = le.Uint32(b)
	if why := p.parse(b[reparseHeader:], dosAttributes); why != "" {
		return p, &tree.CorruptError{What: fmt.Sprintf("the reparse point of %s", n), Why: why, At: n.at}
	}
	return p, nil
}

// parse reads what follows the header of a reparse point, and returns what is
// wrong with it, or "".
func (p *special) parse(b []byte, dosAttributes uint32) (wrong string) {
	switch p.tag {
	case tagMountPoint:
		return p.link(b, 8)
	case tagSymlink:
		return p.link(b, 12)
	case tagLxSymlink:
		if len(b) <= 4 {
			return "it has no target"
		}
		return p.leadsTo(string(b[4:]))
	case tagLxSocket:
		p.mode = unix.S_IFSOCK
	case tagLxFIFO:
		p.mode = unix.S_IFIFO
	case tagLxChar:
		p.mode = unix.S_IFCHR
	case tagLxBlock:
		p.mode = unix.S_IFBLK
	case tagWOF:
		return p.overlay(b)
	case tagAppLink: // what starts an app, without content
	default:
		p.blocked = blocked(p.tag, dosAttributes)
	}
	return ""
}

// overlay reads how the content of a file is compressed by WOF.
func (p *special) overlay(b []byte) (wrong string) {
	var err error
	p.method, err = wof.ParseReparse(b)
	var unknown *wof.UnknownError
	switch {
	case err == nil:
		p.packed = true
	case errors.Is(err, wof.ErrWIM) || errors.As(err, &unknown):
		p.blocked = fmt.Sprintf("%v (reparse point %#x): %s", err, p.tag, adviceWindows)
	default:
		return err.Error()
	}
	return ""
}

// blocked says why the content behind a tag cannot be given.
func blocked(tag, dosAttributes uint32) string {
	known := tag
	if tag&cloudMask == tagCloud {
		if dosAttributes&(attrOffline|attrRecallOnOpen|attrRecallOnRead) == 0 {
			return "" // it was fetched
		}
		known = tagCloud
	}
	if why, ok := elsewhere[known]; ok {
		return fmt.Sprintf("%s (reparse point %#x): %s", why, tag, adviceWindows)
	}
	return fmt.Sprintf("it is behind a reparse point of an unknown kind (%#x): %s", tag, adviceWindows)
}

// link reads the target of a symbolic link or junction: names begin after so many bytes.
func (p *special) link(b []byte, names int) string {
	if len(b) < names {
		return fmt.Sprintf("it has %d bytes", len(b))
	}
	at, n := int(le.Uint16(b)), int(le.Uint16(b[2:])) // the substitute name
	if n == 0 {
		at, n = int(le.Uint16(b[4:])), int(le.Uint16(b[6:])) // the one to print
	}
	if names+at+n > len(b) {
		return fmt.Sprintf("its target is at %d to %d of %d bytes", at, at+n, len(b)-names)
	}
	return p.leadsTo(slashed(wtf8.Decode(b[names+at : names+at+n])))
}

func (p *special) leadsTo(target string) string {
	if target == "" || strings.Contains(target, "\x00") {
		return fmt.Sprintf("its target is %q", target)
	}
	p.mode, p.target = unix.S_IFLNK, target
	return ""
}

// slashed turns a target of Windows into a path: doc.go says how.
func slashed(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	for _, prefix := range []string{"/??/", "//?/"} {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		if share, ok := strings.CutPrefix(rest, "UNC/"); ok {
			return "//" + share
		}
		return "/" + rest
	}
	if len(s) >= 2 && s[1] == ':' {
		return "/" + s
	}
	return s
}

// What Interix, and ntfs-3g after it, write into system files.
const (
	interixLink  = "IntxLNK\x01"
	interixBlock = "IntxBLK\x00"
	interixChar  = "IntxCHR\x00"
)

// interix recognizes links and devices of Interix by their content. A file that
// cannot be read is none.
func (v *volume) interix(n *inode, p *special) {
	b, err := v.value(n, kindData, "", maxReparse)
	if err != nil || len(b) < len(interixLink) {
		return
	}
	switch magic, rest := string(b[:len(interixLink)]), b[len(interixLink):]; {
	case magic == interixLink:
		p.leadsTo(wtf8.Decode(rest))
	case magic == interixBlock && len(rest) == 16:
		p.mode = unix.S_IFBLK
	case magic == interixChar && len(rest) == 16:
		p.mode = unix.S_IFCHR
	}
}

// device returns the numbers of a device, of Interix or WSL.
func (v *volume) device(n *inode, p special, wsl linux) (major, minor uint32) {
	if p.mode != unix.S_IFCHR && p.mode != unix.S_IFBLK {
		return 0, 0
	}
	if p.tag != 0 {
		return wsl.major, wsl.minor
	}
	b, err := v.value(n, kindData, "", maxReparse)
	if err != nil || len(b) < 24 {
		return 0, 0
	}
	return uint32(le.Uint64(b[8:])), uint32(le.Uint64(b[16:]))
}

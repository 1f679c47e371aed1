package ntfs

import (
	"bytes"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	restartHeader = 30
	restartArea   = 16
	restartClean  = 2      // flag: the volume was unmounted
	noClient      = 0xFFFF // nobody has the journal open
	minPage       = 512
	maxPage       = 64 << 10
	defaultPage   = 4 << 10
)

// restart is what one of the two restart pages at the beginning of $LogFile says.
type restart struct {
	lsn   uint64
	clean bool
	page  int64 // where the other one lies
}

// journal tells from the newer of the two restart pages whether $LogFile still has something to
// be applied, and says why the files may be older than the journal.
func (v *volume) journal() (tree.Journal, string) {
	n, err := v.inode(logRecord)
	if err != nil {
		return tree.NotReplayed, "the journal ($LogFile) cannot be read: " + err.Error()
	}
	s, err := v.stream(n, kindData, "")
	if err != nil {
		return tree.NotReplayed, "the journal ($LogFile) cannot be read: " + err.Error()
	}
	head := make([]byte, defaultPage)
	if _, err := s.ReadAt(head, 0); err != nil && err != io.EOF {
		return tree.NotReplayed, "the journal ($LogFile) cannot be read: " + err.Error()
	}
	if bytes.Count(head, []byte{0xFF}) == len(head) {
		return tree.Clean, "" // as ntfs-3g and mkntfs leave it
	}
	first, ok := readRestart(s, 0)
	other := int64(defaultPage)
	if ok {
		other = first.page
	}
	if second, have := readRestart(s, other); have && (!ok || second.lsn > first.lsn) {
		first, ok = second, true
	}
	switch {
	case !ok:
		return tree.NotReplayed, "the journal ($LogFile) has no valid beginning; what it holds was not applied"
	case first.clean:
		return tree.Clean, ""
	}
	return tree.NotReplayed, "the journal ($LogFile) was in use and was not replayed: names, sizes and places of files " +
		"that changed last may be as before, or damaged"
}

func readRestart(s *stream, at int64) (r restart, ok bool) {
	b := make([]byte, restartHeader)
	if _, err := s.ReadAt(b, at); err != nil {
		return r, false
	}
	r.page = int64(le.Uint32(b[16:]))
	if !power(r.page) || r.page < minPage || r.page > maxPage {
		return r, false
	}
	b = make([]byte, r.page)
	if n, _ := s.ReadAt(b, at); n < len(b) || fixup(b, "RSTR") != "" {
		return r, false
	}
	area := int(le.Uint16(b[24:]))
	if area+restartArea > len(b) {
		return r, false
	}
	b = b[area:]
	r.lsn = le.Uint64(b)
	r.clean = le.Uint16(b[12:]) == noClient || le.Uint16(b[14:])&restartClean != 0
	return r, true
}

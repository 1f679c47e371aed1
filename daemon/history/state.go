package history

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// presence says whether something is at a path.
type presence int

const (
	unreadable presence = iota
	absent
	present
)

// state is what a point says of a path.
type state struct {
	is      presence
	err     error // why it is unreadable, or its content; why it is absent, where that is not plain
	renamed string

	meta
	at      guestfs.Place
	content *content // of a file that can be opened
	sum     string   // of the content; "" where it is not known
	same    bool     // as the last content that could be read, by comparing them
	names   [sha256.Size]byte
	entries int

	needs *needs // nil: they are not known
}

func (s *state) word() string {
	switch s.is {
	case unreadable:
		return "unreadable"
	case absent:
		return "absent"
	}
	return s.kind()
}

// tells says whether two states that differ in nothing are one version.
func (s *state) tells(t *state) bool {
	if s.is != t.is || (s.err == nil) != (t.err == nil) {
		return false
	}
	if s.err == nil || s.err.Error() == t.err.Error() {
		return true
	}
	// Damage of the vault names the point.
	return errors.As(s.err, new(*blockstore.CorruptError)) && errors.As(t.err, new(*blockstore.CorruptError))
}

// look finds out what a point says. Errors are part of it.
func (t *timeline) look(ctx context.Context, p *blockstore.Point) *state {
	l := t.open(t.v, p)
	s, err := t.find(l)
	if err == nil && s.is == present {
		err = t.fill(ctx, l, s)
	}
	switch {
	case err != nil:
		s = &state{err: err}
	case s.is == absent:
		t.seek(ctx, l, s)
	}
	s.needs = l.needs()
	return s
}

// find resolves the path.
func (t *timeline) find(l *look) (*state, error) {
	view, err := l.view(t.o.Volume)
	if err != nil {
		return nil, err
	}
	at, err := view.Resolve(t.o.Path)
	if circle := errors.Is(err, syscall.ELOOP); circle || errors.Is(err, fs.ErrNotExist) && !guestfs.IsUnreachable(err) {
		if link, lerr := view.ResolveLink(t.o.Path); lerr == nil { // a link that leads nowhere
			s := &state{is: present, at: link, err: errors.New("it leads nowhere")}
			if circle {
				s.err = errors.New("it leads in a circle")
			}
			s.meta, err = metaOf(link)
			return s, err
		}
		if !circle {
			return &state{is: absent}, nil
		}
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return &state{is: absent, err: err}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &state{is: present, at: at}
	s.meta, err = metaOf(at)
	return s, err
}

// fill looks at what is in a file or folder.
func (t *timeline) fill(ctx context.Context, l *look, s *state) (err error) {
	switch s.Mode & typeMask {
	case typeDir:
		s.names, s.entries, err = namesOf(ctx, s.at)
		return err
	case typeFile:
	default:
		return nil
	}
	if s.content, err = contentOf(l, s.at); err != nil {
		s.err = err // there it is, all the same
		return nil
	}
	if err := t.compare(ctx, s); err != nil {
		s.content, s.err = nil, err
		return nil
	}
	return s.content.note()
}

// compare finds the checksum of a content: that of the last version if it is the same.
func (t *timeline) compare(ctx context.Context, s *state) (err error) {
	if b := t.seen; b != nil && b.content != nil && (t.o.NoSums || s.content.alike(b.content)) {
		same, err := equal(ctx, b.content, s.content)
		if err != nil {
			return err
		}
		if same {
			s.sum, s.same = b.sum, true
		}
	}
	if s.sum == "" && !t.o.NoSums {
		s.sum, err = s.content.sum(ctx)
	}
	return err
}

// differs tells whether the content is another than before, as far as both are known.
func (s *state) differs(before *state) bool {
	switch {
	case s.content == nil || before.content == nil || s.same:
		return false
	case s.sum == "" || before.sum == "":
		return true // they were compared
	}
	return s.sum != before.sum
}

// maxEntries bounds the folders whose names are told apart.
const maxEntries = 1 << 20

// namesOf sums up the names in a folder, whatever their order.
func namesOf(ctx context.Context, at guestfs.Place) (sum [sha256.Size]byte, n int, err error) {
	for c, err := range at.Children() {
		if err != nil && c.Name == "" {
			return sum, n, err
		}
		if err := ctx.Err(); err != nil {
			return sum, n, err
		}
		h := sha256.New()
		put(h, c.Name, int64(c.Type))
		for i, b := range h.Sum(nil) {
			sum[i] ^= b
		}
		n++
	}
	return sum, n, nil
}

// seek looks, in the folder where it was, for what a file that is absent now is called. A name
// that it had before, too, is not what it is called now.
func (t *timeline) seek(ctx context.Context, l *look, s *state) {
	b := t.seen
	if b == nil || b.is != present || s.err != nil {
		return
	}
	view, err := l.view(t.o.Volume)
	if err != nil {
		return
	}
	folder, err := view.Resolve(path.Dir(b.at.Path))
	if err != nil || folder.Volume.Name != b.at.Volume.Name {
		return
	}
	n := 0
	for c, err := range folder.Children() {
		if n++; err != nil && c.Name == "" || n > maxEntries || ctx.Err() != nil {
			return
		}
		at, err := c.Place()
		if err != nil || at.Ino != b.Ino || c.Name == b.at.Name() || b.hadAlso(c.Name) {
			continue
		}
		m, err := metaOf(at)
		if err == nil && m.sameInode(&b.meta) && (!m.Btime.IsZero() || t.sameAs(ctx, l, at, b)) {
			s.renamed = at.Path
		}
		return
	}
}

// hadAlso tells whether the file had another name in its folder already.
func (s *state) hadAlso(name string) bool {
	if s.Nlink < 2 || s.Mode&typeMask == typeDir {
		return false
	}
	at, err := s.at.Beside(name)
	return err == nil && at.Ino == s.Ino
}

// sameAs compares the content of a file with one from before.
func (t *timeline) sameAs(ctx context.Context, l *look, at guestfs.Place, b *state) bool {
	c, err := contentOf(l, at)
	if err != nil || b.content == nil {
		return false
	}
	same, err := equal(ctx, b.content, c)
	return same && err == nil
}

// describe fills in what is there; asked is the path that was asked for.
func (s *state) describe(v *api.FileVersion, asked string) {
	v.Size, v.UID, v.GID, v.Inode = s.Size, s.UID, s.GID, s.Ino
	v.Mode, v.Volume = fmt.Sprintf("%04o", s.Mode&0o7777), s.at.Volume.Name
	v.Modified = api.Moment(s.Mtime)
	v.SHA256, v.Entries = s.sum, s.entries
	v.Target = strings.ToValidUTF8(s.target, "�")
	if !strings.EqualFold(s.at.Path, strings.ReplaceAll(asked, `\`, "/")) {
		v.Real = strings.ToValidUTF8(s.at.Path, "�")
	}
}

// isDamage tells errors of content that is damaged, in the vault or in the guest.
func isDamage(err error) bool {
	return errors.As(err, new(*blockstore.CorruptError)) || errors.As(err, new(*tree.CorruptError))
}

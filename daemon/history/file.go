package history

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// FileOptions of [File].
type FileOptions struct {
	Volume string // in which the path is meant; "": the guest's root
	Path   string // links are followed

	Keys *guestfs.Keys // open encrypted volumes; may be nil

	// NoSums: versions are told apart without their checksums, so that a file that
	// changes often need not be read as a whole.
	NoSums bool

	// Progress is told how many points are done; may be nil.
	Progress func(done, total int64)
}

// File tells what became of a path over points of one machine, which are given oldest
// first. Points that cannot be read are versions that say so; the only errors are those
// of ctx, a *guestfs.UnreadableError where all of them are locked (encrypted, and no key was
// given that fits), and a *guestfs.NoVolumeError where none of them has the volume.
func File(ctx context.Context, v *blockstore.Vault, points []*blockstore.Point, o FileOptions) (*api.FileHistory, error) {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if !strings.HasPrefix(o.Path, `\`) {
		o.Path = path.Clean("/" + o.Path)
	}
	t := &timeline{run: newRun(v, o.Keys), v: v, o: o}
	h := &api.FileHistory{Volume: o.Volume, Path: o.Path, Points: len(points), Versions: []api.FileVersion{}}
	for i, p := range points {
		o.Progress(int64(i), int64(len(points)))
		t.count(p)
		if err := t.next(ctx, p); err != nil {
			return nil, err
		}
	}
	o.Progress(int64(len(points)), int64(len(points)))
	switch only := t.seen == nil && !t.other; {
	case only && t.locked != nil && t.none == nil:
		return nil, t.locked
	case only && t.none != nil && t.locked == nil:
		return nil, t.none
	}
	if len(points) > 0 {
		h.Machine = points[len(points)-1].MachineName
	}
	h.Versions = append(h.Versions, t.versions...)
	h.Cost = t.cost()
	return h, nil
}

// timeline goes from point to point.
type timeline struct {
	*run
	v        *blockstore.Vault
	o        FileOptions
	versions []api.FileVersion

	now  *state // of the last point; nil: there was none
	seen *state // the last that was not unreadable

	locked error // of a point that is unreadable since a key is missing
	none   error // of a point that has no such volume
	other  bool  // one is for another reason
}

// next adds what a point says.
func (t *timeline) next(ctx context.Context, p *blockstore.Point) error {
	if t.now != nil && t.now.needs != nil {
		same, err := t.now.needs.hold(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if same && err == nil { // an error is met again by whoever reads
			t.extend(p)
			return nil
		}
	}
	s := t.look(ctx, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	changes := t.changes(s)
	if t.now != nil && len(changes) == 0 && s.tells(t.now) {
		t.extend(p)
	} else {
		t.versions = append(t.versions, s.version(p, t.o.Path, changes))
	}
	t.now = s
	var shut *guestfs.UnreadableError
	var lacks *guestfs.NoVolumeError
	switch {
	case s.is != unreadable:
		t.seen = s
	case errors.As(s.err, &shut) && shut.Locked:
		t.locked = s.err
	case errors.As(s.err, &lacks):
		t.none = s.err
	default:
		t.other = true
	}
	return nil
}

// extend counts a point to the last version.
func (t *timeline) extend(p *blockstore.Point) {
	last := &t.versions[len(t.versions)-1]
	last.Last = at(p)
	last.Points++
}

func at(p *blockstore.Point) api.VersionPoint {
	return api.VersionPoint{ID: string(p.ID), Time: api.At(p.Time)}
}

// changes of s against the last point that could be read.
func (t *timeline) changes(s *state) []string {
	before := t.seen
	switch {
	case before == nil || s.is == unreadable || s.is == absent && before.is == absent:
		return []string{}
	case before.is == absent:
		return []string{changeCreated}
	case s.is == absent:
		return []string{changeRemoved}
	case before.kind() != s.kind():
		return []string{changeType}
	}
	list := []string{}
	if s.differs(before) {
		list = append(list, changeContent)
	}
	if s.names != before.names {
		list = append(list, changeNames)
	}
	return append(list, before.meta.changes(&s.meta)...)
}

// version describes s as it was first seen.
func (s *state) version(p *blockstore.Point, asked string, changes []string) api.FileVersion {
	v := api.FileVersion{State: s.word(), Changes: changes, First: at(p), Last: at(p), Points: 1}
	if s.err != nil {
		v.Error, v.Damaged = s.err.Error(), isDamage(s.err)
	}
	v.Renamed = s.renamed
	if s.is == present {
		s.describe(&v, asked)
	}
	return v
}

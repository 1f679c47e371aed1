package service

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/history"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

var _ api.Timeline = (*Service)(nil)

// GuestHistory tells what became of a path over the points of a machine. What the caller unlocked at one of
// them is open at all.
func (s *Service) GuestHistory(ctx context.Context, q api.HistoryQuery, progress func(done, total int64)) (h api.FileHistory, err error) {
	if strings.ContainsRune(q.Path, 0) {
		return h, invalidf("no name of a guest holds a zero byte")
	}
	err = s.acrossPoints(ctx, q.Vault, q.Machine, func(ctx context.Context, v *blockstore.Vault) error {
		h, err = HistoryOf(ctx, v, q, s.unlocked(ctx, v, q.Machine), progress)
		return err
	})
	return h, err
}

// HistoryOf tells what became of a path over the points of a machine in a vault. Keys, which may be nil, open
// encrypted volumes.
func HistoryOf(ctx context.Context, v *blockstore.Vault, q api.HistoryQuery, keys *guestfs.Keys, progress func(done, total int64)) (api.FileHistory, error) {
	points, unread, err := pointsBetween(ctx, v, q.Machine, q.Since, q.Until)
	if err != nil {
		return api.FileHistory{}, err
	}
	if len(points) == 0 {
		return api.FileHistory{}, fmt.Errorf("machine %s has no point in that time: %w", q.Machine, blockstore.ErrNotFound)
	}
	h, err := history.File(ctx, v, points, history.FileOptions{Volume: q.Volume, Path: q.Path, NoSums: q.NoSums, Keys: keys, Progress: progress})
	if err != nil {
		return api.FileHistory{}, err
	}
	if h.Warnings = []string{}; unread != nil {
		h.Warnings = append(h.Warnings, unread.Error())
	}
	return *h, nil
}

// DiffOf calls fn for each path that two places in guests of a vault do not have alike.
func DiffOf(ctx context.Context, v *blockstore.Vault, q api.DiffQuery, keys *guestfs.Keys, fn func(api.FileDiff) error, progress func(done int64)) (api.FilesDiff, error) {
	var sides [2]history.Side
	for i, at := range []api.GuestAt{q.A, q.B} {
		p, err := FindPoint(ctx, v, at.PointRef)
		if err != nil {
			return api.FilesDiff{}, err
		}
		sides[i] = history.Side{Point: p, Volume: at.Volume, Path: at.Path}
	}
	d, err := history.Diff(ctx, v, sides[0], sides[1], history.DiffOptions{Content: q.Content, Keys: keys, Progress: progress}, func(f *api.FileDiff) error { return fn(*f) })
	var not *history.NotThereError
	if errors.As(err, &not) {
		err = Hinted(err, nearby(not, q))
	}
	if err != nil {
		return api.FilesDiff{}, err
	}
	d.A, d.B = string(sides[0].Point.ID), string(sides[1].Point.ID)
	return *d, nil
}

// nearby says what there is where something was not found.
func nearby(e *history.NotThereError, q api.DiffQuery) string {
	at := q.A
	if len(e.Lacking) == 2 || e.Lacking[0].Path == q.B.Path {
		at = q.B
	}
	var names []string
	for _, n := range e.Names {
		if printableName(n) {
			names = append(names, n)
		}
	}
	if near := Closest(e.Name, names); near != "" {
		return fmt.Sprintf("did you mean %s?", path.Join(e.Folder, near))
	}
	switch {
	case e.Folder == "" || len(e.Lacking) == 2:
		word := path.Base(strings.ReplaceAll(at.Path, `\`, "/"))
		return fmt.Sprintf("`holdfast find %s@all --name '%s'` finds files by their names", at.Machine, strings.ReplaceAll(word, "'", `'\''`))
	case len(names) == 0:
		return fmt.Sprintf("%s of %s@%s is empty", e.Folder, at.Machine, at.Point)
	}
	more := ""
	if n := len(names) - mostNearby; n > 0 {
		names, more = names[:mostNearby], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s of %s@%s holds %s%s", e.Folder, at.Machine, at.Point, strings.Join(names, ", "), more)
}

// mostNearby is how many names a hint lists.
const mostNearby = 12

// printableName tells names that can be shown as they are.
func printableName(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// GuestDiff calls fn for each path that two places do not have alike. What the caller unlocked is open.
func (s *Service) GuestDiff(ctx context.Context, q api.DiffQuery, fn func(api.FileDiff) error, progress func(done int64)) (d api.FilesDiff, err error) {
	if strings.ContainsRune(q.A.Path+q.B.Path, 0) {
		return d, invalidf("no name of a guest holds a zero byte")
	}
	err = s.acrossPoints(ctx, q.A.Vault, q.A.Machine, func(ctx context.Context, v *blockstore.Vault) error {
		d, err = DiffOf(ctx, v, q, s.unlocked(ctx, v, q.A.Machine, q.B.Machine), fn, progress)
		return err
	})
	return d, err
}

// unlocked are the keys of what the caller unlocked; nil: nothing.
func (s *Service) unlocked(ctx context.Context, v *blockstore.Vault, machines ...string) *guestfs.Keys {
	caller, _ := api.CallerOf(ctx)
	return s.files.guests.unlocked(v, caller.Name, machines...)
}

// acrossPoints calls do with a vault, in its turn, until somebody needs the vault alone. A panic of a reader is an error.
func (s *Service) acrossPoints(ctx context.Context, vault, machine string, do func(context.Context, *blockstore.Vault) error) error {
	if err := s.files.enter(ctx); err != nil {
		return err
	}
	defer s.files.leave()
	return s.lasting(ctx, vault, func(ctx context.Context, v *blockstore.Vault) error {
		return s.survived(func() error { return do(ctx, v) }, "machine", machine)
	})
}

// pointsBetween are the points of a machine, by its name or id, within bounds of time to the second, as points are
// shown, oldest first. unread says which points of the vault cannot be read.
func pointsBetween(ctx context.Context, v *blockstore.Vault, machine string, since, until *api.Time) (points []*blockstore.Point, unread, err error) {
	all, unread := v.Points(ctx)
	of, _, err := PointsOf(ctx, v, all, machine)
	if err != nil {
		return nil, unread, errors.Join(err, unread)
	}
	for _, p := range of {
		at := api.At(p.Time)
		if (since == nil || !at.Before(api.At(since.Time).Time)) && (until == nil || !at.After(until.Time)) {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, (*blockstore.Point).Compare)
	return points, unread, nil
}

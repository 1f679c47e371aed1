package main

import (
	"context"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// guestRef is MACHINE@POINT:PATH or MACHINE@POINT:VOLUME:PATH.
type guestRef struct {
	point  pointRef
	volume string // "": the guest's root
	path   string
}

// endOfTime is what follows the last colon of a time that is written with colons.
var endOfTime = regexp.MustCompile(`^[0-9.]+(Z|[+-].*)?$`)

// parseGuestRef reads where something lies in a guest. Without a path it is the root. A single
// letter is a drive of Windows.
func parseGuestRef(s string) (r guestRef, err error) {
	r.path = "/"
	head := s
	for _, slash := range []string{":/", `:\`} {
		if i := strings.Index(s, slash); i >= 0 && i < len(head) {
			head, r.path = s[:i], s[i+1:]
		}
	}
	parts := strings.Split(strings.TrimSuffix(head, ":"), ":")
	point := parts[0]
	for parts = parts[1:]; len(parts) > 0 && endOfTime.MatchString(parts[0]); parts = parts[1:] {
		point += ":" + parts[0]
	}
	if len(parts) > 0 && !strings.ContainsAny(parts[0], `/\`) {
		r.volume, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 {
		r.path = "/" + strings.Join(parts, ":") + strings.TrimSuffix(r.path, "/")
	}
	if len(r.volume) == 1 && strings.ContainsAny(strings.ToLower(r.volume), "abcdefghijklmnopqrstuvwxyz") {
		r.volume, r.path = "", r.volume+":"+r.path
	}
	if !strings.Contains(point, "@") {
		return r, usagef("%q names no recovery point", s).hinted("write MACHINE@POINT:PATH, for example web1@latest:/etc")
	}
	r.point, err = parsePointRef(point)
	return r, err
}

// guests opens the guests of one vault, each once.
type guests struct {
	ctx  context.Context
	v    pointVault
	open map[pointRef]*guestfs.Guest

	k     *console
	keys  *guestfs.Keys // of encrypted volumes; nil: none yet
	given bool          // by the command line, so that nobody is asked
	asked int
}

// withGuests opens the vault that the command line names for do.
func withGuests(c *cli.Context, k *console, do func(g *guests) error) error {
	path, err := k.vaultPath(c)
	if err != nil {
		return err
	}
	keys, err := k.guestKeys(c)
	if err != nil {
		return err
	}
	read := func(v pointVault) error {
		return do(&guests{ctx: c.Context, v: v, open: map[pointRef]*guestfs.Guest{}, k: k, keys: keys, given: keys != nil})
	}
	if w := k.reader(c.Context, path); w != nil {
		defer w.close()
		return k.through(c.Context, w, path, purposeOf(c), func(ctx context.Context, v *far.Vault) error {
			c.Context = ctx
			return read(v)
		})
	}
	v, err := openVault(c.Context, k, path)
	if err != nil {
		return err
	}
	defer v.Close()
	return read(ownVault{fusefs.FromVault(v), v})
}

func (g *guests) guest(ref pointRef) (*guestfs.Guest, error) {
	if g.open[ref] == nil {
		p, err := g.v.Find(g.ctx, ref)
		if err != nil {
			return nil, err
		}
		g.open[ref] = fusefs.OpenGuest(g.v, p, guestfs.Options{Keys: g.keys})
	}
	return g.open[ref], nil
}

// view is the tree in which the path of r is meant.
func (g *guests) view(r guestRef) (*guestfs.View, error) {
	guest, err := g.guest(r.point)
	if err != nil {
		return nil, err
	}
	if r.volume == "" {
		return guest.Root()
	}
	v, err := guest.Volume(r.volume)
	if err != nil {
		return nil, err
	}
	return v.View(), nil
}

// find resolves r; follow says whether to follow a link that is its last name.
func (g *guests) find(r guestRef, follow bool) (at guestfs.Place, err error) {
	err = g.unlocked(g.ctx, r.point, func() error {
		w, err := g.view(r)
		if err != nil {
			return err
		}
		if follow {
			at, err = w.Resolve(r.path)
		} else {
			at, err = w.ResolveLink(r.path)
		}
		return err
	})
	return at, err
}

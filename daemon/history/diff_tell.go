package history

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// step counts a path that is compared.
func (d *differ) step(ctx context.Context) error {
	d.total.Compared++
	d.o.Progress(d.total.Compared)
	return ctx.Err()
}

// hold keeps a difference until all are known, or tells it at once.
func (d *differ) hold(ctx context.Context, h held) error {
	if d.plain {
		return d.out(ctx, &h)
	}
	if len(d.held) >= maxHeld {
		return errHeld
	}
	d.held = append(d.held, h)
	return nil
}

// tell tells what was held, sorted.
func (d *differ) tell(ctx context.Context) error {
	d.implied()
	d.held = slices.DeleteFunc(d.held, func(h held) bool { return h.gone })
	slices.SortStableFunc(d.held, func(x, y held) int { return comparePaths(x.rel, y.rel) })
	for i := range d.held {
		if err := d.out(ctx, &d.held[i]); err != nil {
			return err
		}
	}
	return nil
}

// comparePaths orders paths as a walk meets them: a folder's content before whatever
// follows the folder.
func comparePaths(x, y string) int {
	return strings.Compare(strings.ReplaceAll(x, "/", "\x00"), strings.ReplaceAll(y, "/", "\x00"))
}

// out counts and tells one difference.
func (d *differ) out(ctx context.Context, h *held) error {
	n := map[string]*int64{"added": &d.total.Added, "removed": &d.total.Removed, "changed": &d.total.Changed, "metadata": &d.total.Metadata,
		"moved": &d.total.Moved, "replaced": &d.total.Replaced, "unreadable": &d.total.Unreadable}
	*n[h.Change]++
	if h.x != nil {
		h.Text, h.Binary = d.lines(ctx, h.x, h.y)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f := h.FileDiff
	*h = held{} // of many, what was told is not needed again
	return d.emit(&f)
}

// one describes what one side has.
func (d *differ) one(change string, n *node) api.FileDiff {
	f := api.FileDiff{Change: change, Path: text(n.path()), Details: []string{}}
	if change == "removed" {
		f.Before = facts(n)
	} else {
		f.After = facts(n)
	}
	return f
}

// described describes what both sides have.
func (d *differ) described(change string, a, b *node, details []string) held {
	h := held{FileDiff: api.FileDiff{Change: change, Path: text(b.path()), Details: details, Before: facts(a), After: facts(b)}, rel: b.rel}
	if d.o.Content && a.is(typeFile) && slices.Contains(details, changeContent) {
		h.x, h.y = a, b
	}
	return h
}

// maxText is how long texts are that are compared line by line.
const maxText = 1 << 20

// lines compares two texts; true: they are none, or too long.
func (d *differ) lines(ctx context.Context, a, b *node) (string, bool) {
	var both [2][]byte
	for i, n := range []*node{a, b} {
		if n.Size > maxText || ctx.Err() != nil {
			return "", true
		}
		c, err := contentOf(n.t.look, n.at)
		if err != nil {
			return "", true
		}
		both[i] = make([]byte, c.size)
		if err := c.read(both[i], 0); err != nil || bytes.IndexByte(both[i], 0) >= 0 {
			return "", true
		}
	}
	names := [2]string{}
	for i, n := range []*node{a, b} {
		names[i] = text(n.path())
		if !n.Mtime.IsZero() {
			names[i] += "\t" + n.Mtime.UTC().Format("2006-01-02 15:04:05.000000000 -0700")
		}
	}
	return unified(names[0], names[1], both[0], both[1]), false
}

// facts are what a side says of a node.
func facts(n *node) *api.FileFacts {
	return &api.FileFacts{Type: n.kind(), Size: n.Size, Mode: fmt.Sprintf("%04o", n.Mode&0o7777), UID: n.UID, GID: n.GID,
		Target: text(n.target), Modified: api.Moment(n.Mtime)}
}

// text is a name as it can be told.
func text(s string) string { return strings.ToValidUTF8(s, "�") }

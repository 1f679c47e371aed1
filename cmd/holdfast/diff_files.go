package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// diffFilesOptions are two places in guests.
type diffFilesOptions struct {
	a, b    guestRef
	content bool
	json    bool
	quiet   bool
}

// namesFiles tells whether a word names a place in a guest, not only a point.
func namesFiles(word string) (guestRef, bool, error) {
	r, err := parseGuestRef(word)
	if err != nil {
		return r, false, err
	}
	return r, r.volume != "" || r.path != "/" || strings.HasSuffix(word, ":/") || strings.HasSuffix(word, ":"), nil
}

// fileRefs reads two words of which one at least names a place in a guest. The other may
// be a point: the same place there.
func fileRefs(words []string) (a, b guestRef, named bool, err error) {
	a, inA, err := namesFiles(words[0])
	if err != nil {
		return a, b, false, err
	}
	b, inB, err := namesFiles(words[1])
	if err != nil {
		return a, b, false, err
	}
	if inA && !inB {
		b.volume, b.path = a.volume, a.path
	}
	if inB && !inA {
		a.volume, a.path = b.volume, b.path
	}
	return a, b, inA || inB, nil
}

// diffFiles prints how the files of two points differ.
func diffFiles(ctx context.Context, k *console, t api.Timeline, vault string, o diffFilesOptions) error {
	q := api.DiffQuery{Content: o.content}
	for at, r := range map[*api.GuestAt]guestRef{&q.A: o.a, &q.B: o.b} {
		*at = api.GuestAt{Vault: vault, PointRef: r.point, Volume: r.volume, Path: r.path}
	}
	var w filesWriter = &filesText{k, o.quiet}
	if o.json {
		w = &filesJSON{w: bufio.NewWriter(k.out)}
	}
	var damaged error
	var total api.FilesDiff
	tell := func(f api.FileDiff) error {
		if f.Damaged {
			damaged = &damagedError{"not all could be compared: some of it is damaged"}
		}
		if f.Change == "unreadable" {
			k.warn(toldOf(f.Path, f.Error))
		}
		return errors.Join(w.file(&f), k.failed())
	}
	err := k.measure("files", false, o.quiet, func(set func(done, total int64)) (err error) {
		total, err = t.GuestDiff(ctx, q, tell, func(n int64) { set(n, 0) })
		return err
	})
	if err != nil {
		return err
	}
	o.sayMissing(k, total.Missing)
	return errors.Join(w.end(&total), damaged)
}

// sayMissing tells that only one of the points has the path: of it as a whole it is said then, and of
// a slip of the pen as well.
func (o *diffFilesOptions) sayMissing(k *console, missing string) {
	there, not, change := o.a, o.b, "removed"
	switch missing {
	case "":
		return
	case "a":
		there, not, change = o.b, o.a, "added"
	}
	k.say("note: %s is not in %s@%s, so that all of it in %s@%s is told as %s", oneLine(not.path), not.point.Machine, not.point.Point,
		there.point.Machine, there.point.Point, change)
}

// filesWriter prints differences as they are found.
type filesWriter interface {
	file(*api.FileDiff) error
	end(*api.FilesDiff) error
}

// filesText prints for people.
type filesText struct {
	k     *console
	quiet bool // without the numbers
}

func (t *filesText) file(f *api.FileDiff) error {
	line := fmt.Sprintf("%-10s  %s", f.Change, oneLine(f.Path))
	if f.From != "" {
		line = fmt.Sprintf("%-10s  %s -> %s", f.Change, oneLine(f.From), oneLine(f.Path))
	}
	if words := diffWords(f); words != "" {
		line += "  (" + words + ")"
	}
	t.k.printf("%s\n", line)
	if f.Text != "" {
		t.k.printf("%s", f.Text)
	}
	return nil
}

// oneLine keeps a name that a guest made up to its line.
func oneLine(name string) string { return endsOfLines.Replace(name) }

var endsOfLines = strings.NewReplacer("\n", "�", "\t", "�")

// diffWords say how a path differs.
func diffWords(f *api.FileDiff) string {
	var words []string
	if f.Before != nil && f.After == nil || f.Before == nil && f.After != nil {
		facts := f.After
		if facts == nil {
			facts = f.Before
		}
		if facts.Type == "file" {
			return formatSize(facts.Size)
		}
		return facts.Type
	}
	for _, d := range f.Details {
		switch d {
		case "type":
			d = f.Before.Type + " -> " + f.After.Type
		case "content":
			if f.Before.Size != f.After.Size {
				d += fmt.Sprintf(" %s -> %s", formatSize(f.Before.Size), formatSize(f.After.Size))
			}
			if f.Binary {
				d += ", no text or too long to show"
			}
		case "mode":
			d += " " + f.Before.Mode + " -> " + f.After.Mode
		case "owner":
			d += fmt.Sprintf(" %d:%d -> %d:%d", f.Before.UID, f.Before.GID, f.After.UID, f.After.GID)
		case "target":
			d += " " + oneLine(f.Before.Target) + " -> " + oneLine(f.After.Target)
		}
		words = append(words, d)
	}
	if f.Error != "" {
		words = append(words, oneLine(f.Error))
	}
	return strings.Join(words, ", ")
}

func (t *filesText) end(d *api.FilesDiff) error {
	if d.Added+d.Removed+d.Changed+d.Metadata+d.Moved+d.Replaced+d.Unreadable == 0 {
		t.k.printf("no file differs\n")
	}
	if d.MovesLost {
		t.k.say("so much differs that files that were moved are shown as removed and added")
	}
	if t.quiet {
		return nil
	}
	t.k.say("%d added, %d removed, %d changed, %d in metadata, %d moved, %d replaced, %d unreadable; %d of %s read", d.Added, d.Removed,
		d.Changed, d.Metadata, d.Moved, d.Replaced, d.Unreadable, d.Cost.Blocks, count(int(d.Cost.DiskBlocks), "block"))
	return nil
}

// filesJSON prints one object. Errors of writing are the bufio.Writer's.
type filesJSON struct {
	w     *bufio.Writer
	files int
}

func (j *filesJSON) begin() {
	if j.files == 0 {
		fmt.Fprint(j.w, "{\n  \"files\": [")
	}
}

func (j *filesJSON) file(f *api.FileDiff) error {
	j.begin()
	b, err := json.Marshal(f)
	fmt.Fprintf(j.w, "%s\n    %s", comma(j.files), b)
	j.files++
	return err
}

func (j *filesJSON) end(d *api.FilesDiff) error {
	j.begin()
	b, err := json.MarshalIndent(d, "  ", "  ")
	fmt.Fprintf(j.w, "],\n  \"total\": %s\n}\n", b)
	return errors.Join(err, j.w.Flush())
}

package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// maxTroubles is how many are known at a time; what comes beyond is not told.
const maxTroubles = 10_000

// soon is how far ahead it is told that a vault is full.
const soon = 14 * 24 * time.Hour

// trouble is something that is wrong now.
type trouble struct {
	Note
	Job bool `json:"job,omitempty"` // of a job: it is over when one of its kind went well
}

// key names a trouble for as long as it is the same, whatever numbers, times and ids its text holds.
func (t *trouble) key() string {
	words := strings.Fields(t.Text)
	for i, w := range words {
		if strings.ContainsAny(w, "0123456789") {
			words[i] = "#"
		}
	}
	text := strings.Join(words, " ")
	if t.Kind == RPO || t.Kind == Full {
		text = "" // one of each kind for an object
	}
	return strings.Join([]string{t.Kind, t.Object, text}, "\x00")
}

// ofStatus are the troubles that a status shows.
func ofStatus(s *api.Status) (all []trouble) {
	add := func(kind, object, format string, args ...any) {
		if len(all) < maxTroubles {
			all = append(all, trouble{Note: Note{Kind: kind, Object: object, Text: fmt.Sprintf(format, args...), Since: s.Time.Time}})
		}
	}
	for i := range s.Vaults {
		ofVault(&s.Vaults[i], s.Time.Time, add)
	}
	for _, m := range s.Machines {
		if len(m.Reasons) > 0 {
			add(RPO, "machine "+m.Name, "%s", strings.Join(m.Reasons, "; "))
		}
		for _, w := range m.Warnings {
			if !strings.Contains(w, "its last backup") { // the job itself tells
				add(Warning, "machine "+m.Name, "%s", w)
			}
		}
	}
	for _, vm := range s.VMs {
		add(RPO, "VM "+vm.Label(), "nobody protects it")
	}
	return all
}

func ofVault(v *api.VaultStatus, now time.Time, add func(kind, object, format string, args ...any)) {
	object := "vault " + v.Name
	if v.Name == "" {
		object = "vault " + v.Path
	}
	told := true
	switch {
	case v.Problem != "":
		add(Failure, object, "it cannot be read: %s", v.Problem)
	case v.Harmed > 0:
		add(Damage, object, "%d points are damaged; `holdfast check --data` lists what", v.Harmed)
	case v.Clock != "":
		add(Failure, object, "nothing is removed: %s", v.Clock)
	default:
		told = false
	}
	if v.Size > 0 && v.Problem == "" {
		switch f := v.Forecast; {
		case v.Free < v.Floor:
			add(Full, object, "it is full: no backup begins")
			told = true
		case f != nil && f.Early != nil && f.Early.Sub(now) < soon:
			add(Full, object, "it may be full as early as %s", f.Early.Format(time.DateOnly))
			told = true
		}
	}
	if v.AtRisk && !told {
		add(Failure, object, "%s", strings.Join(v.Reasons, "; "))
	}
	for _, w := range v.Warnings {
		if !strings.Contains(w, "it may be full") {
			add(Warning, object, "%s", w)
		}
	}
}

// jobObject is what jobs of one kind are about.
func jobObject(j *api.Job) string {
	if j.Machine != "" {
		return fmt.Sprintf("%s of machine %s", j.Kind, j.Machine)
	}
	return fmt.Sprintf("%s of vault %s", j.Kind, j.Vault)
}

// ofJob are the troubles that a job that is over shows; none where it went well. A person who
// cancels knows.
func ofJob(j *api.Job) (all []trouble) {
	note := Note{Kind: Failure, Object: jobObject(j)}
	if j.Ended != nil {
		note.Since = j.Ended.Time
	}
	damaged := j.Error != nil && (j.Error.Exit == 4 || strings.Contains(j.Error.Kind, "damaged"))
	switch j.State {
	case api.JobFailed, api.JobInterrupted:
		if note.Text = "it was interrupted"; j.State == api.JobFailed {
			note.Text = "it failed"
		}
		if j.Error != nil {
			note.Text, note.Hint = note.Text+": "+j.Error.Detail, j.Error.Hint
		}
		if damaged {
			note.Kind = Damage
		}
		all = append(all, trouble{note, true})
	case api.JobWarnings:
		if note.Kind = Warning; damaged {
			note.Kind = Damage
		}
		for _, w := range j.Warnings[:min(len(j.Warnings), 20)] {
			note.Text = w
			all = append(all, trouble{note, true})
		}
	}
	return all
}

// said is what a receiver was told.
type said struct {
	trouble
	At time.Time `json:"at"` // last
}

// plan returns what a receiver of some kinds is to be told now: what is wrong and was not told, or
// long ago, and what is over; and what it was told once that is done. Before a status was seen, nothing that it
// would show is taken to be over.
func plan(active map[string]*trouble, told map[string]said, kinds []string, seen bool, now time.Time, repeat time.Duration) (notes []Note, then map[string]said) {
	wants := func(kind string) bool { return len(kinds) == 0 || slices.Contains(kinds, kind) }
	then = make(map[string]said, len(told))
	bad := map[string]bool{} // objects that something is wrong with, warnings apart
	for _, t := range active {
		bad[t.Object] = bad[t.Object] || t.Kind != Warning
	}
	for key, s := range told {
		_, lasts := active[key]
		switch {
		case lasts, !s.Job && !seen:
			then[key] = s
		case wants(Recovery) && s.Kind != Warning && !bad[s.Object]:
			n := s.Note
			n.Kind, n.Hint = Recovery, ""
			notes = append(notes, n)
		}
	}
	for key, t := range active {
		if !wants(t.Kind) {
			continue
		}
		again := repeat
		if t.Kind == Failure || t.Kind == Damage {
			again = min(again, 24*time.Hour)
		}
		if s, known := then[key]; known && now.Sub(s.At) < again && !s.At.After(now) {
			continue
		}
		n := t.Note
		if s, known := then[key]; known {
			n.Since = s.Since
		}
		notes = append(notes, n)
		then[key] = said{trouble{n, t.Job}, now}
	}
	slices.SortFunc(notes, func(a, b Note) int {
		return strings.Compare(a.Object+"\x00"+a.Text, b.Object+"\x00"+b.Text)
	})
	return notes, then
}

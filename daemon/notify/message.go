package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Message is what a receiver is told: one thing, or several at once.
type Message struct {
	Host  string    `json:"host"`
	Time  time.Time `json:"time"`
	Title string    `json:"title"`
	Text  string    `json:"text"` // lines
	Notes []Note    `json:"notes"`
}

// Note is one thing that somebody is told.
type Note struct {
	Kind   string    `json:"kind"`
	Object string    `json:"object"` // machine web1, vault main, VM db
	Text   string    `json:"text"`
	Hint   string    `json:"hint,omitempty"`
	Since  time.Time `json:"since"`
}

const (
	// maxLines is how many notes a message spells out, and maxText how long each may be.
	maxLines = 50
	maxText  = 500
)

// compose makes a message of notes, what is worst first.
func compose(host string, now time.Time, notes []Note) Message {
	notes = slices.Clone(notes)
	order := []string{Damage, Failure, RPO, Full, Warning, Recovery}
	slices.SortStableFunc(notes, func(a, b Note) int { return slices.Index(order, a.Kind) - slices.Index(order, b.Kind) })
	m := Message{Host: host, Time: now.UTC().Truncate(time.Second), Notes: notes}
	var b strings.Builder
	for i, n := range notes {
		if i == maxLines {
			fmt.Fprintf(&b, "... and %d more: `holdfast status` lists all\n", len(notes)-i)
			m.Notes = notes[:i]
			break
		}
		fmt.Fprintf(&b, "%s\n", n.line())
		if n.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", clean(n.Hint))
		}
	}
	m.Text = b.String()
	m.Title = fmt.Sprintf("Holdfast on %s: %s", clean(host), clean(notes[0].line()))
	if len(notes) > 1 {
		m.Title = fmt.Sprintf("Holdfast on %s: %s, and %d more", clean(host), clean(notes[0].line()), len(notes)-1)
	}
	if r := []rune(m.Title); len(r) > 200 {
		m.Title = string(r[:200]) + "..."
	}
	return m
}

func (n Note) line() string {
	words := clean(n.Object + ": " + n.Text)
	if n.Kind == Recovery {
		words = "over: " + words
	}
	return words
}

// clean makes one line of text that may hold what a guest or a server named.
func clean(text string) string {
	text = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text), "?")
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText]) + "..."
	}
	return text
}

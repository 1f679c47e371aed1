package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

func unknownCommand(l *line, commands []*cli.Command, word string) error {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	full := strings.Join(append(l.path, word), " ")
	e := usagef("there is no command %q", full)
	if s := closest(word, names); s != "" {
		return e.hinted("did you mean `holdfast %s`?", strings.Join(append(l.path, s), " "))
	}
	return e
}

func unknownFlag(l *line, flags []cli.Flag, name string) error {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	e := usagef("there is no flag --%s", name)
	if len(l.path) > 0 {
		e = usagef("%s has no flag --%s", strings.Join(l.path, " "), name)
	}
	if s := closest(name, names); s != "" {
		return e.hinted("did you mean --%s?", s)
	}
	return e
}

// wrongValue is the library's error about a flag's value in our words.
func wrongValue(flags []cli.Flag, err error) error {
	text := strings.Replace(err.Error(), "for flag -", "for flag --", 1)
	name, _, _ := strings.Cut(text[strings.LastIndex(text, "--")+2:], ":")
	if _, ok := findFlag(flags, name).(*cli.DurationFlag); ok {
		text = strings.TrimSuffix(text, ": parse error")
		return usagef("%s: write a time with its unit, for example 5s or 10m", text)
	}
	return usagef("%s", text)
}

// closest returns the name that word was probably meant to be, "" where none is
// near: one that begins with word, else the one that the fewest slips lead to.
func closest(word string, names []string) string {
	if len(word) > 100 {
		return "" // no slip, and slow to compare
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, n := range names {
		if len(word) > 1 && strings.HasPrefix(n, word) {
			return n
		}
		if d := slips(strings.ToLower(word), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// slips counts the letters to insert, drop, replace or swap with a neighbour
// that make b of a (the distance of Damerau and Levenshtein, where no
// letter is edited twice).
func slips(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

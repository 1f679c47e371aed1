package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/service"
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
	if s := service.Closest(word, names); s != "" {
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
	if s := service.Closest(name, names); s != "" {
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

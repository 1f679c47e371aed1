package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

const tour = `A tour:
  holdfast vault create /srv/vault && export HOLDFAST_VAULT=/srv/vault
  holdfast backup web1 --disk vda=/vms/web1.qcow2,format=qcow2
  holdfast restore web1@latest --to /vms/restored/
`

// printHelp explains l's command, or the whole program where none is named.
func printHelp(w io.Writer, app *cli.App, l *line) {
	switch {
	case l.command == nil:
		programHelp(w, app)
	case len(l.command.Subcommands) > 0:
		groupHelp(w, l)
	default:
		commandHelp(w, l)
	}
}

func programHelp(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, "holdfast: %s\n\nUsage: holdfast COMMAND [ARGUMENTS] [--flags]\n\n%s", app.Usage, tour)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	category := ""
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if c.Category != category {
			category = c.Category
			fmt.Fprintf(t, "\n%s:\n", category)
		}
		listCommand(t, c, "")
	}
	t.Flush()
	fmt.Fprint(w, "\nOn every command:\n")
	listFlags(w, append(append([]cli.Flag{}, app.Flags...), helpFlag()))
	fmt.Fprint(w, `
POINT is latest, a point's id (it begins with p), a time such as 2026-11-22T22-00-05Z,
or the beginning of either. Flags may stand before and after the arguments; -- ends them.

Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 4 damaged data,
5 vault, machine or target busy, 6 not found, 7 vault full, 8 refused by a lock,
role or missing key, 130 interrupted.

`+"`holdfast COMMAND --help`"+` says more about each command.
`)
}

func listCommand(w io.Writer, c *cli.Command, above string) {
	if len(c.Subcommands) == 0 {
		fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace(above+c.Name+" "+c.ArgsUsage), c.Usage)
	}
	for _, sub := range c.Subcommands {
		listCommand(w, sub, above+c.Name+" ")
	}
}

func groupHelp(w io.Writer, l *line) {
	name := strings.Join(l.path, " ")
	fmt.Fprintf(w, "holdfast %s: %s\n\nUsage: holdfast %s COMMAND [ARGUMENTS] [--flags]\n\n", name, l.command.Usage, name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range l.command.Subcommands {
		listCommand(t, c, name+" ")
	}
	t.Flush()
}

// commandHelp explains one command. Its examples are in UsageText, one a line.
func commandHelp(w io.Writer, l *line) {
	c := l.command
	name := strings.Join(l.path, " ")
	usage := strings.TrimSpace(name + " " + c.ArgsUsage)
	fmt.Fprintf(w, "holdfast %s: %s\n\nUsage: holdfast %s [--flags]\n\n%s\n\nExample:\n", name, c.Usage, usage, strings.TrimSpace(c.Description))
	for _, example := range strings.Split(strings.TrimSpace(c.UsageText), "\n") {
		fmt.Fprintf(w, "  %s\n", strings.TrimSpace(example))
	}
	fmt.Fprint(w, "\nFlags:\n")
	listFlags(w, append(append([]cli.Flag{}, c.Flags...), helpFlag()))
}

// helpFlag is only shown: arrange understands it everywhere.
func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "explain the command"}
}

// helpWidth is what a line of help has room for, in columns; flagColumn is as far to the right as
// what a flag means begins: a longer flag has a line of its own.
const (
	helpWidth  = 120
	flagColumn = 36
)

func listFlags(w io.Writer, flags []cli.Flag) {
	var left, right []string
	column := 0
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		placeholder, usage := flagUsage(d.GetUsage())
		var names []string
		for _, n := range f.Names() {
			names = append(names, strings.Repeat("-", min(len(n), 2))+n)
		}
		flag := "  " + strings.TrimSpace(strings.Join(names, ", ")+" "+placeholder) + "  "
		left, right = append(left, flag), append(right, usage)
		if len(flag) <= flagColumn {
			column = max(column, len(flag))
		}
	}
	for i, flag := range left {
		if len(flag) > column {
			fmt.Fprintln(w, strings.TrimRight(flag, " "))
			flag = ""
		}
		for _, words := range linesOf(right[i], helpWidth-column) {
			fmt.Fprintf(w, "%-*s%s\n", column, flag, words)
			flag = ""
		}
	}
}

// linesOf breaks a text between words into lines of at most width columns, as far as its words are
// no longer than that.
func linesOf(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// flagUsage splits the name of the value, which stands between backquotes, from a
// usage text. A text that begins with it and a colon does not repeat it.
func flagUsage(usage string) (placeholder, text string) {
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return "", usage
	}
	placeholder, after, _ := strings.Cut(rest, "`")
	if text, ok := strings.CutPrefix(after, ": "); ok && before == "" {
		return placeholder, text
	}
	return placeholder, before + placeholder + after
}

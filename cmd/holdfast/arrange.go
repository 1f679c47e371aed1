package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart.
type line struct {
	command *cli.Command // nil: none was named
	path    []string     // names of the command and of those above it
	flags   []string     // each --name or --name=value
	args    []string
	help    bool // asked for with --help or `help`
}

// words is l in the only order that the library parses: commands, flags, then
// the arguments behind a --.
func (l *line) words(program string) []string {
	w := append([]string{program}, l.path...)
	w = append(w, l.flags...)
	return append(append(w, "--"), l.args...)
}

// arrange takes the words after the program's name apart, so that flags may
// stand before the command, behind it and among its arguments; -- ends them.
// Whatever is not known is a usage error with a suggestion.
func arrange(app *cli.App, words []string) (*line, error) {
	l := &line{}
	commands := app.Commands
	var named []flagUse
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case w == "--":
			l.args = append(l.args, words...)
			words = nil
		case shortFlags(l.command, w) != nil:
			words = append(shortFlags(l.command, w), words...)
		case len(w) > 1 && w[0] == '-':
			use, rest, err := takeFlag(app, l, w, words)
			if err != nil {
				return l, err
			}
			words = rest
			named = append(named, use)
		case len(commands) > 0 && !l.help && w == "help":
			l.help = true
		case len(commands) > 0:
			c := findCommand(commands, w)
			if c == nil {
				return l, unknownCommand(l, commands, w)
			}
			l.command, commands = c, c.Subcommands
			l.path = append(l.path, c.Name)
		default:
			l.args = append(l.args, w)
		}
	}
	if c := findCommand(commands, "list"); c != nil && len(l.path) > 0 && !l.help {
		l.command = c // what a group does when it is not told
		l.path = append(l.path, c.Name)
	}
	return l, l.settle(app, named)
}

// flagUse is a flag as it was written.
type flagUse struct {
	name, value string
	valued      bool // written as --name=value, or taken with its value
}

// shortFlags takes apart what are several flags of one letter, -la for -l -a; nil if w is not.
func shortFlags(c *cli.Command, w string) (each []string) {
	if c == nil || len(w) < 3 || w[0] != '-' || w[1] == '-' || findFlag(c.Flags, w[1:]) != nil {
		return nil
	}
	for _, letter := range w[1:] {
		f := findFlag(c.Flags, string(letter))
		if f == nil || valueFlag(f) {
			return nil
		}
		each = append(each, "-"+string(letter))
	}
	return each
}

// takeFlag reads the flag w and, where it takes a value that does not follow
// an =, the word after it.
func takeFlag(app *cli.App, l *line, w string, rest []string) (flagUse, []string, error) {
	name, value, valued := strings.Cut(strings.TrimLeft(w, "-"), "=")
	use := flagUse{name, value, valued}
	if valued || !takesValue(app, l.command, name) {
		return use, rest, nil
	}
	if len(rest) == 0 {
		return use, rest, usagef("flag --%s needs a value", name)
	}
	if len(rest[0]) > 1 && rest[0][0] == '-' && (rest[0][1] < '0' || rest[0][1] > '9') { // -8KiB is a value
		return use, rest, usagef("flag --%s needs a value, and %s looks like a flag", name, rest[0]).
			hinted("a value that begins with - is written --%s=VALUE", name)
	}
	return flagUse{name, rest[0], true}, rest[1:], nil
}

// settle holds the flags that were named against those that the command has.
func (l *line) settle(app *cli.App, named []flagUse) error {
	flags := app.Flags
	if l.command != nil {
		flags = l.command.Flags
	}
	for _, use := range named {
		switch {
		case use.name == "help" || use.name == "h":
			l.help = true
		case findFlag(flags, use.name) == nil && !l.help:
			return unknownFlag(l, flags, use.name)
		case use.valued:
			l.flags = append(l.flags, "--"+use.name+"="+use.value)
		default:
			l.flags = append(l.flags, "--"+use.name)
		}
	}
	return nil
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

// takesValue tells whether the flag called name takes a value: as c declares
// it or, where c has no such flag or is not known yet, as any command does. A test
// holds all of them to one answer.
func takesValue(app *cli.App, c *cli.Command, name string) bool {
	if c != nil {
		if f := findFlag(c.Flags, name); f != nil {
			return valueFlag(f)
		}
	}
	for _, c := range leaves(app.Commands) {
		if f := findFlag(c.Flags, name); f != nil {
			return valueFlag(f)
		}
	}
	return false
}

func valueFlag(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

// leaves returns the commands that do something themselves.
func leaves(commands []*cli.Command) []*cli.Command {
	var all []*cli.Command
	for _, c := range commands {
		if len(c.Subcommands) == 0 {
			all = append(all, c)
		}
		all = append(all, leaves(c.Subcommands)...)
	}
	return all
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestAWrongCommandLineIsExplained(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, says string }{
		{"daemon --restart-when-idle --stop-when-idle", "exclude each other"},
		{"daemon --within 1h", "--within is a time for --stop-when-idle"},
		{"daemon --stop-when-idle --within 0s", "--within is a time for --stop-when-idle"},
		{"bakcup", "did you mean `holdfast backup`?"},
		{"vault creat /x", "did you mean `holdfast vault create`?"},
		{"xyzzy", `there is no command "xyzzy"`},
		{"points --jsno", "did you mean --json?"},
		{"points --frobnicate", "points has no flag --frobnicate"},
		{"--jsn points", "did you mean --json?"},
		{"restore web1@latest --form raw", "did you mean --format?"},
		{"points --vault", "flag --vault needs a value"},
		{"points --vault --json", "--json looks like a flag"},
		{"points --json=perhaps", "perhaps"},
		{"points a b", `unexpected argument "b"`},
		{"point show", "MACHINE@POINT is missing"},
		{"point show web1", "names no recovery point"},
		{"point show web1@", "names no recovery point"},
		{"volumes web1@latest:/etc", "\"web1@latest:/etc\" names a file of a guest, and here a whole recovery point is meant"},
		{"volumes web1@2026-11-22T22:00:05Z:/", "write web1@2026-11-22T22:00:05Z; `holdfast ls web1@2026-11-22T22:00:05Z:/` and its like are for files"},
		{"volumes web1:/etc", "write web1@latest;"},
		{"point show @latest", "the name of a machine is empty"},
		{"diff web1@latest", "MACHINE@B is missing"},
		{"mount", "MOUNTPOINT is missing"},
		{"mount /x --group no-such-group", "there is no group"},
		{"mount /x --cache 1KB", "write KiB"},
		{"backup web1", "no vault is named"},
		{"protect web1", "give one of --libvirt"},
		{"protect web1 --qmp /x --disk vda=/y", "give one of --libvirt"},
		{"protect web1 --libvirt x --qga /y", "--qga goes with --qmp"},
		{"protect web1 --libvirt qemu:///system/", "no name of a domain"},
		{"protect web1 --disk vda", "write NAME=IMAGE"},
		{"protect --disk vda=/x", "NAME is missing"},
		{"protect ../x --qmp /x", "machine name"},
		{"protect web1 --qmp /x --consistency perfect", "choose crash, filesystem or application"},
		{"protect web1 --qmp /x --otherwise fail", "goes with --consistency"},
		{"protect web1 --qmp /x --consistency crash --otherwise perhaps", "choose fail or fall-back"},
		{"protect web1 --qmp /x --exclude a/b", "disk name"},
		{"protect web1 --qmp /x --freeze-timeout 1h", "at most 5m"},
		{"hold", "name a machine, or give --all"},
		{"hold web1 --all --for 1h", "name a machine, or give --all"},
		{"hold web1", "--for is missing"},
		{"hold web1 --for 1000h", "at most 720h"},
		{"hold web1 --for 1h --release", "--release goes with neither"},
		{"machine rename web1", "NEW-NAME is missing"},
		{"machine rename web1 a/b", "machine name"},
		{"unprotect", "MACHINE is missing"},
		{"doctor", "MACHINE is missing"},
		{"backup web1 --disk vda", "write NAME=IMAGE"},
		{"backup web1 --disk vda=", "write NAME=IMAGE"},
		{"backup web1 --disk ../vda=/x", "disk name"},
		{"backup web1 --disk a=/x --acceleration 0", "choose 1 to"},
		{"backup web1 --disk a=/x --acceleration one", "--acceleration"},
		{"backup web1 --disk a=/x --memory lots", "--memory"},
		{"backup web1 --disk a=/x --memory 0", "--memory is 0"},
		{"backup web1 --disk a=/x --min-free 5%", "--min-free"},
		{"backup web1 --disk a=/x --wait soon", "--wait"},
		{"backup web1 --disk a=/x --wait 5", `"5" for flag --wait: write a time with its unit, for example 5s`},
		{"backup web1 --disk a=/x --wait 5s --no-wait", "exclude each other"},
		{"vault create", "PATH is missing"},
		{"vault create /x --vault /y", "named twice"},
		{"vault create /x --block-size 100000", "power of two"},
		{"vault create /x --block-size 8KiB", "power of two"},
		{"vault create /x --like /y --block-size 64KiB", "leave --block-size out"},
		{"restore web1@latest", "--to /vms/restored/"},
		{"restore web1@latest --to x --format vmdk", "use raw or qcow2"},
		{"restore web1@latest --to x --disk vda=y", "exclude each other"},
		{"restore web1@latest --disk vdb --disk vda=y", "some disks have a target"},
		{"restore web1@latest --disk vda= --to x", "names no target"},
		{"restore web1@latest --disk vda --disk vda --to x", "named twice"},
		{"restore web1@latest --to x --mode rw", "in octal"},
		{"restore web1@latest --to x --owner no-such-user", "there is no user"},
		{"restore web1@latest --to - --json", "standard output"},
		{"thaw", "thaw --leftovers"},
		{"thaw --leftovers --qga /x", "give one of"},
		{"thaw --qga=", "--qga is empty"},
		{"thaw --libvirt qemu:///system/", "names no domain"},
		{"completion ksh", "choose bash, zsh or fish"},
		{"points", "no vault is named"},
		{"check", "HOLDFAST_VAULT"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			o := newShell(t).must(exitUsage, strings.Fields(test.line)...)
			o.says(t, test.says)
			if o.out != "" {
				t.Errorf("standard output has %q", o.out)
			}
			if !strings.HasPrefix(o.err, "error: ") || !strings.Contains(o.err, "\nhint: ") {
				t.Errorf("not an error with a hint: %s", o.err)
			}
		})
	}
}

func TestHostileNamesAreRefusedWithAClearWord(t *testing.T) {
	t.Parallel()
	names := []string{"../x", "a b", "a\x1b[2Jb", "a\nb", "a/b", "..", ".", "latest", "", "é", "a\x00b", strings.Repeat("a", 10000), "$(reboot)", "a;b"}
	for _, name := range names {
		for _, words := range [][]string{
			{"backup", "--disk", "vda=/x", "--", name},
			{"backup", "web1", "--disk", name + "=/x"},
			{"point", "show", "--", name + "@latest"},
			{"restore", "--to", "x", "--", name + "@latest"},
			{"restore", "web1@latest", "--disk=" + name, "--to", "x"},
			{"diff", "--", "web1@latest", name + "@latest"},
		} {
			o := newShell(t).must(exitUsage, words...)
			if strings.ContainsAny(o.err, "\x1b\x00") || len(o.err) > 500 {
				t.Errorf("%.40q: the message obeys the name, or is long: %.600q", words, o.err)
			}
		}
	}
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	t.Parallel()
	app := newApp(&console{})
	for _, c := range leaves(app.Commands) {
		path, args := wordsFor(app, c)
		var flags []string // one word each
		var apart []string // values as words of their own
		for _, f := range c.Flags {
			name := "--" + f.Names()[0]
			if valueFlag(f) {
				flags = append(flags, name+"=1")
				apart = append(apart, name, "1")
			} else {
				flags = append(flags, name)
				apart = append(apart, name)
			}
		}
		want := fmt.Sprint((&line{path: path, flags: flags, args: args}).words("holdfast"))
		for _, words := range [][]string{
			join(path, flags, args), join(path, args, flags), join(flags, path, args),
			join(path, apart, args), join(path, args, apart), join(apart, path, args),
			join(path, apart, []string{"--"}, args),
			join(path, args[:len(args)/2], apart, args[len(args)/2:]),
		} {
			l, err := arrange(app, words)
			if err != nil {
				t.Fatalf("%v: %v", words, err)
			}
			if got := fmt.Sprint(l.words("holdfast")); got != want {
				t.Errorf("%v\n was put as %s\n      want %s", words, got, want)
			}
		}
	}
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }

// wordsFor returns the words that name c, and as many arguments as it takes.
func wordsFor(app *cli.App, c *cli.Command) (path, args []string) {
	var find func(commands []*cli.Command, above []string)
	find = func(commands []*cli.Command, above []string) {
		for _, at := range commands {
			names := append(slices.Clone(above), at.Name)
			if at == c {
				path = names
			}
			find(at.Subcommands, names)
		}
	}
	find(app.Commands, nil)
	for i := range strings.Fields(c.ArgsUsage) {
		args = append(args, fmt.Sprintf("argument%d", i))
	}
	return path, args
}

func TestAFlagTakesAValueOnEveryCommandOrOnNone(t *testing.T) {
	t.Parallel()
	takes := map[string]bool{}
	for _, c := range leaves(newApp(&console{}).Commands) {
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				if before, known := takes[name]; known && before != valueFlag(f) {
					t.Errorf("--%s of %s differs from that of other commands", name, c.Name)
				}
				takes[name] = valueFlag(f)
			}
		}
	}
}

func TestWhatFollowsTwoDashesIsNeverAFlag(t *testing.T) {
	t.Parallel()
	newShell(t).must(exitUsage, "points", "--", "--json").says(t, `machine name "--json"`)
	newShell(t).must(exitUsage, "points", "--", "-h").says(t, `machine name "-h"`)
}

func TestAMachineMayBeCalledLikeACommandOrAFlag(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, name := range []string{"help", "points", "json", "vault", "h", "show"} {
		o := s.must(exitNotFound, "points", name, "--vault", t.TempDir()+"/none")
		o.says(t, "is the vault's disk mounted?")
	}
}

func TestEveryCommandIsExplainedWithAnExample(t *testing.T) {
	t.Parallel()
	app := newApp(&console{})
	for _, c := range leaves(app.Commands) {
		path, _ := wordsFor(app, c)
		o := newShell(t).must(exitDone, append(path, "--help")...)
		for _, text := range []string{c.Usage, "Usage: holdfast " + strings.Join(path, " "), "Example:\n  holdfast ", "--vault PATH", "--quiet"} {
			o.says(t, text)
		}
		for _, f := range c.Flags {
			o.says(t, "--"+f.Names()[0])
		}
		if strings.TrimSpace(c.Description) == "" {
			t.Errorf("%v is not described", path)
		}
		for i, l := range strings.Split(o.out, "\n") {
			if len([]rune(l)) > helpWidth {
				t.Errorf("%v: line %d of the help is long: %s", path, i+1, l)
			}
		}
		if again := newShell(t).must(exitDone, append([]string{"help"}, path...)...); again.out != o.out {
			t.Errorf("help %v says something else", path)
		}
	}
}

func TestTheProgramExplainsItself(t *testing.T) {
	t.Parallel()
	o := newShell(t).must(exitDone, "--help")
	for _, text := range []string{"A tour:", "backup MACHINE", "Exit codes:", "vault create PATH"} {
		o.says(t, text)
	}
	if bare := newShell(t).must(exitUsage); bare.err != o.out || bare.out != "" {
		t.Error("without a command, the help does not go to standard error")
	}
	newShell(t).must(exitUsage, "vault").says(t, "rebuild-index")
	newShell(t).must(exitDone, "--version").says(t, "holdfast ")
	newShell(t).must(exitDone, "-v").says(t, "holdfast ")
	newShell(t).must(exitDone, "version", "--json").says(t, `"version": `)
}

func FuzzACommandLineIsPutInOrderOrRefused(f *testing.F) {
	for _, s := range []string{"points --json", "--vault x points -- --json", "vault create /x --block-size=1", "help backup", "-", "--", "--=", "-=x", "backup web1 --disk", "points -h"} {
		f.Add(s)
	}
	app := newApp(&console{})
	f.Fuzz(func(t *testing.T, text string) {
		l, err := arrange(app, strings.Split(text, " "))
		if err != nil {
			return
		}
		again, err := arrange(app, l.words("holdfast")[1:])
		if l.command == nil {
			return
		}
		if err != nil || !slices.Equal(again.words(""), l.words("")) {
			t.Errorf("%q is put as %q, and that as %q, %v", text, l.words(""), again.words(""), err)
		}
	})
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// completeWord is the hidden first word with which the scripts of completion ask
// what fits: the words before the cursor follow, the last one being the one to
// complete. One answer a line; none lets the shell offer files.
const completeWord = "__complete"

// completePatience bounds the look into the vault: who presses Tab does not wait.
const completePatience = 2 * time.Second

func complete(ctx context.Context, k *console, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	for _, w := range candidates(ctx, k, newApp(k), before, last) {
		fmt.Fprintln(k.out, w)
	}
}

func candidates(ctx context.Context, k *console, app *cli.App, before []string, last string) []string {
	t := readTyped(app, before)
	flags := app.Flags
	if t.command != nil {
		flags = t.command.Flags
	}
	switch {
	case t.valueOf != "":
		return filter(flagValues[t.valueOf], last)
	case strings.HasPrefix(last, "-") && !t.noFlags:
		if name, value, ok := strings.Cut(last, "="); ok {
			var full []string
			for _, v := range filter(flagValues[strings.TrimLeft(name, "-")], value) {
				full = append(full, name+"="+v)
			}
			return full
		}
		names := []string{"--help"}
		for _, f := range flags {
			names = append(names, "--"+f.Names()[0])
		}
		return filter(names, last)
	case len(t.commands) > 0:
		names := []string{}
		for _, c := range t.commands {
			if !c.Hidden {
				names = append(names, c.Name)
			}
		}
		return filter(names, last)
	case t.command != nil:
		return t.argument(ctx, k, last)
	}
	return nil
}

// flagValues are the values of flags that have few.
var flagValues = map[string][]string{
	"format":      {"raw", "qcow2"},
	"consistency": {"crash", "filesystem", "application"},
	"otherwise":   {"fail", "fall-back"},
	"build":       {"few", "all", "none"},
	"role":        roleNames,
	"kind":        jobKinds,
	"state":       jobStates,
	"block-size":  {"16KiB", "32KiB", "64KiB", "128KiB", "256KiB", "512KiB", "1MiB"},
}

// typed is what stands before the word to complete.
type typed struct {
	command  *cli.Command   // nil: none yet
	commands []*cli.Command // that can come next
	args     int            // arguments of the command so far
	valueOf  string         // flag whose value comes next
	noFlags  bool           // -- was typed
	vault    string
	state    string // folder of what this host remembers
	keys     keyFiles
	machines []string // of the vault, once it was read
	policies []string
}

func readTyped(app *cli.App, words []string) *typed {
	t := &typed{commands: app.Commands}
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			t.noFlags = true
		case len(w) > 1 && w[0] == '-' && !t.noFlags:
			name, value, valued := strings.Cut(strings.TrimLeft(w, "-"), "=")
			if !valued && takesValue(app, t.command, name) {
				if i++; i == len(words) {
					t.valueOf = name
					return t
				}
				value = words[i]
			}
			switch name {
			case "vault":
				t.vault = value
			case "state-dir":
				t.state = value
			case "passphrase-file":
				t.keys.passphrase = value
			case "identity":
				t.keys.identities = append(t.keys.identities, value)
			}
		case len(t.commands) > 0:
			if c := findCommand(t.commands, w); c != nil {
				t.command, t.commands = c, c.Subcommands
			}
		default:
			t.args++
		}
	}
	return t
}

// argument offers what the command's next argument can be, by the name that
// its usage gives to it.
func (t *typed) argument(ctx context.Context, k *console, last string) []string {
	usage := strings.Fields(t.command.ArgsUsage)
	if last := len(usage) - 1; t.args > last && last >= 0 && strings.Contains(usage[last], "...") {
		t.args = last // it can be given again and again
	}
	if t.args >= len(usage) {
		return nil
	}
	switch name := strings.Trim(usage[t.args], "[]"); {
	case name == "bash|zsh|fish":
		return filter(strings.Split(name, "|"), last)
	case name == "ROLE":
		return filter(roleNames, last)
	case name == "JOB":
		return filter(t.jobs(ctx, k), last)
	case name == "MACHINE":
		names := machineNames(t.points(ctx, k), "")
		return filter(append(names, t.machines...), last)
	case name == "POLICY":
		t.points(ctx, k)
		return filter(t.policies, last)
	case strings.HasPrefix(name, "MACHINE..."):
		t.points(ctx, k)
		return filter(t.machines, last)
	case strings.HasPrefix(name, "MACHINE:"):
		return t.pathsOfAll(ctx, k, last)
	case strings.HasPrefix(name, "MACHINE@") && strings.Contains(name, "PATH") && strings.Contains(last, ":"):
		if machine, rest, ok := strings.Cut(last, "@"+allPoints+":"); ok && t.command.Name == "find" {
			words := t.pathsOfAll(ctx, k, machine+":"+rest)
			for i, w := range words {
				words[i] = machine + "@" + allPoints + strings.TrimPrefix(w, machine)
			}
			return words
		}
		return t.guestPaths(ctx, k, last)
	case strings.HasPrefix(name, "MACHINE"):
		points := t.points(ctx, k)
		machine, ref, chosen := strings.Cut(last, "@")
		if !chosen {
			return filter(machineNames(points, "@"), last)
		}
		// Times are what people choose by; ids are offered once their p is typed.
		words := []string{machine + "@latest"}
		if t.command.Name == "find" {
			words = append(words, machine+"@"+allPoints)
		}
		for _, p := range points {
			if p.MachineName == machine && strings.HasPrefix(ref, "p") {
				words = append(words, machine+"@"+string(p.ID))
			} else if p.MachineName == machine {
				words = append(words, machine+"@"+p.Label())
			}
		}
		return filter(words, last)
	}
	return nil
}

func machineNames(points []*blockstore.Point, suffix string) []string {
	var names []string
	for _, p := range points {
		names = append(names, p.MachineName+suffix)
	}
	return names
}

// points are those of the vault that is named, none if it cannot be read in time.
func (t *typed) points(ctx context.Context, k *console) []*blockstore.Point {
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	if w := k.reader(ctx, t.path(k)); w != nil {
		defer w.close()
		return t.farPoints(ctx, w)
	}
	v := t.open(ctx, k)
	if v == nil {
		return nil
	}
	defer v.Close()
	points, _ := v.Points(ctx) // what cannot be read cannot be offered
	machines, _ := v.Machines(ctx)
	for _, m := range machines {
		t.machines = append(t.machines, m.Name)
	}
	policies, _ := v.Policies(ctx)
	for _, p := range policies {
		t.policies = append(t.policies, p.Name)
	}
	if t.command != nil && (t.command.Name == "undelete" || t.command.Name == "empty") {
		points, _ = v.Trash(ctx)
	}
	return points
}

// farPoints is points where a daemon tells of them.
func (t *typed) farPoints(ctx context.Context, w *worker) (points []*blockstore.Point) {
	machines, _ := w.Machines(ctx, w.vault) // what is not told cannot be offered
	for _, m := range machines {
		t.machines = append(t.machines, m.Name)
	}
	policies, _ := w.Policies(ctx, w.vault)
	for _, p := range policies {
		t.policies = append(t.policies, p.Name)
	}
	told, _ := w.Points(ctx, w.vault, "")
	if t.command != nil && (t.command.Name == "undelete" || t.command.Name == "empty") {
		trash, _ := w.Trash(ctx, w.vault)
		told = nil
		for _, p := range trash {
			told = append(told, p.Point)
		}
	}
	for _, p := range told {
		points = append(points, &blockstore.Point{ID: blockstore.PointID(p.ID), MachineName: p.Machine, Time: p.Time.Time})
	}
	return points
}

// path is that of the vault that is named; "" where none is.
func (t *typed) path(k *console) string {
	path, _ := k.usualVault(t.vault)
	return path
}

// open opens the vault that is named; nil if that cannot be done without asking.
func (t *typed) open(ctx context.Context, k *console) *blockstore.Vault {
	path := t.path(k)
	if path == "" {
		return nil
	}
	keys, err := k.unlocker(ctx, t.keys)
	if err != nil {
		return nil
	}
	keys.Ask = nil // nobody answers while completing
	v, err := blockstore.Open(ctx, path, blockstore.Options{Unlock: keys})
	if err != nil {
		return nil
	}
	return v
}

// pathsOfAll offers machines, and then what their latest points hold.
func (t *typed) pathsOfAll(ctx context.Context, k *console, last string) []string {
	machine, rest, chosen := strings.Cut(last, ":")
	if !chosen {
		return filter(machineNames(t.points(ctx, k), ":"), last)
	}
	words := t.guestPaths(ctx, k, machine+"@latest:"+rest)
	for i := range words {
		words[i] = machine + strings.TrimPrefix(words[i], machine+"@latest")
	}
	return words
}

// mostPaths is how many entries of a folder are looked at.
const mostPaths = 5000

// guestPaths offers what a guest's folder holds; folders end with a slash.
func (t *typed) guestPaths(ctx context.Context, k *console, last string) (words []string) {
	folder := last[:strings.LastIndexAny(last, "/:")+1]
	ref, err := parseGuestRef(folder)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	if w := k.reader(ctx, t.path(k)); w != nil {
		defer w.close()
		k.through(ctx, w, t.path(k), "complete "+last, func(ctx context.Context, v *far.Vault) error {
			words = pathsIn(ctx, k, v, ref, folder, last)
			return nil
		})
		return words
	}
	v := t.open(ctx, k)
	if v == nil {
		return nil
	}
	defer v.Close()
	return pathsIn(ctx, k, ownVault{fusefs.FromVault(v), v}, ref, folder, last)
}

func pathsIn(ctx context.Context, k *console, v pointVault, ref guestRef, folder, last string) []string {
	g := &guests{ctx: ctx, v: v, open: map[pointRef]*guestfs.Guest{}, k: k, given: true}
	at, err := g.find(ref, true)
	if err != nil {
		return nil
	}
	if strings.HasSuffix(folder, ":") {
		folder += "/"
	}
	var words []string
	for c, err := range at.Children() {
		if err != nil || ctx.Err() != nil || len(words) == mostPaths {
			break
		}
		word := folder + c.Name
		if c.Type == 0o040000 {
			word += "/"
		}
		if strings.HasPrefix(word, last) && printable(word) == word {
			words = append(words, word)
		}
	}
	return filter(words, last)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/service"
)

// newApp returns the commands of the program, all writing to k. Nothing is
// shared between two apps.
func newApp(k *console) *cli.App {
	app := &cli.App{
		Name:  "holdfast",
		Usage: "backups of virtual machines that you can mount, and restore at once",
		Commands: []*cli.Command{
			group("Vault", vaultCommand(k)),
			group("Back up", discoverCommand(k)), group("Back up", protectCommand(k)), group("Back up", backupCommand(k)),
			group("Machines", machinesCommand(k)), group("Machines", machineCommand(k)), group("Machines", unprotectCommand(k)), group("Machines", holdCommand(k)),
			group("Machines", doctorCommand(k)),
			group("Policies", policyCommand(k)), group("Policies", applyCommand(k)), group("Policies", pruneCommand(k)),
			group("Look", statusCommand(k)), group("Look", pointsCommand(k)), group("Look", pointCommand(k)), group("Look", diffCommand(k)), group("Look", mountCommand(k)),
			group("Look", reportCommand(k)), group("Look", ignoreCommand(k)), group("Look", testNotifyCommand(k)),
			group("Restore", restoreCommand(k)),
			group("Files", volumesCommand(k)), group("Files", lsCommand(k)), group("Files", catCommand(k)), group("Files", cpCommand(k)),
			group("Files", tarCommand(k)), group("Files", findFilesCommand(k)), group("Files", catalogueCommand(k)), group("Files", historyCommand(k)),
			group("Jobs", jobsCommand(k)), group("Jobs", jobCommand(k)),
			group("Care", checkCommand(k)), group("Care", trashCommand(k)), group("Care", sweepCommand(k)), group("Care", thawCommand(k)),
			group("Access", grantCommand(k)), group("Access", grantsCommand(k)), group("Access", revokeCommand(k)), group("Access", tokenCommand(k)), group("Access", auditCommand(k)),
			group("Service", daemonCommand(k)), group("Service", configCommand(k)),
			group("Program", versionCommand(k)), group("Program", completionCommand(k)), group("Program", manCommand(k)),
		},
		Flags:                     commonFlags(),
		Writer:                    k.out,
		ErrWriter:                 k.err,
		ExitErrHandler:            func(*cli.Context, error) {},
		DisableSliceFlagSeparator: true, // IMAGE,format=qcow2 is one value
		HideHelp:                  true,
		HideVersion:               true,
	}
	for _, c := range leaves(app.Commands) {
		c.Before = func(c *cli.Context) error {
			if c.IsSet("wait") && c.Bool("no-wait") {
				return usagef("--wait and --no-wait exclude each other")
			}
			k.verbose, k.quiet = c.Bool("verbose"), c.Bool("quiet")
			return k.keyFilesOf(c)
		}
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return wrongValue(c.Flags, err) }
	}
	return app
}

// group puts c and what is under it into a group of the help. Every
// command knows the flags that work everywhere.
func group(category string, c *cli.Command) *cli.Command {
	c.Category = category
	hideHelp(c)
	for _, leaf := range leaves([]*cli.Command{c}) {
		for _, f := range commonFlags() {
			if findFlag(leaf.Flags, f.Names()[0]) == nil {
				leaf.Flags = append(leaf.Flags, f)
			}
		}
	}
	return c
}

// hideHelp keeps the library's own help, a variable that all apps would share,
// out of c and what is under it.
func hideHelp(c *cli.Command) {
	c.HideHelp = true
	for _, sub := range c.Subcommands {
		hideHelp(sub)
	}
}

// run obeys a command line, without the program's name, and returns the exit
// code.
func run(ctx context.Context, k *console, words []string) int {
	if len(words) > 0 && words[0] == completeWord {
		complete(ctx, k, words[1:])
		return exitDone
	}
	if len(words) == 1 && slices.Contains([]string{"--version", "-version", "-v", "-V"}, words[0]) {
		words = []string{"version"}
	}
	for {
		code, err := runOnce(ctx, k, words)
		if k.came.CompareAndSwap(true, false) && err != nil && service.Explain(err).Exit == exitBusy {
			k.say("note: the daemon that owns the vault answers now: it does the work")
			continue
		}
		return cmp.Or(code, k.report(err))
	}
}

// runOnce runs a command. The code is that of what is no error, and needs no report.
func runOnce(ctx context.Context, k *console, words []string) (code int, err error) {
	app := newApp(k)
	l, err := arrange(app, words)
	if err == nil && l.help {
		printHelp(k.out, app, l)
		return exitDone, nil
	}
	if err == nil && (l.command == nil || len(l.command.Subcommands) > 0) {
		printHelp(k.err, app, l)
		return exitUsage, nil
	}
	if err == nil {
		err = app.RunContext(ctx, l.words(app.Name))
	}
	return exitDone, leaving(ctx, withUsage(err, l), "nothing was changed")
}

// withUsage points at the help of the command that was used wrongly, where
// nothing better was said.
func withUsage(err error, l *line) error {
	var usage *usageError
	if errors.As(err, &usage) && usage.hint == "" {
		usage.hint = fmt.Sprintf("`%s --help` shows how it is used", strings.Join(append([]string{"holdfast"}, l.path...), " "))
	}
	return err
}

// printf writes a result. That it could not be written is reported in the end.
func (k *console) printf(format string, args ...any) {
	k.write(printable(fmt.Sprintf(format, args...)))
}

// path writes the name of a file, and end behind it: byte by byte, so that other programs find
// the file by it, but to a terminal, which would obey what a guest wrote.
func (k *console) path(name, end string) {
	if k.outTerm {
		name = strings.NewReplacer("\n", "�", "\t", "�").Replace(printable(name))
	}
	k.write(name + end)
}

func (k *console) write(s string) {
	if k.failed() != nil {
		return
	}
	_, err := io.WriteString(k.out, s)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = err
}

// failed is why results could not be written, nil while all of them were.
func (k *console) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

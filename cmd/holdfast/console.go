package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// console is where a command writes: results to out, everything else to err.
// Its methods are safe for concurrent use.
type console struct {
	out, err io.Writer
	in       io.Reader // a person's answers; nil: nobody can be asked
	getenv   func(string) string
	exit     func(int)      // ends the process; nil: it is not to be ended
	terminal bool           // err is a terminal
	outTerm  bool           // out is one
	local    *time.Location // for --local

	verbose, quiet bool // as the command line says

	// dial reaches the daemon that listens at a socket; nil: no daemon is asked.
	dial func(socket string) (ops api.Operations, close func(), err error)

	// reached is set once a daemon answered; came when one did that had not, for whose vault the
	// command waits as if there were none.
	reached, came atomic.Bool

	// locked tells whether this user may not open a vault, so that a daemon is asked; nil: may always.
	locked func(vault string) bool

	work int      // binary logarithm of the cost of new passphrases; 0: the default
	keys keyFiles // what the command line says of keys
	// unlock opens the vault, once a command began to; only for its own goroutine.
	unlock *blockstore.Unlocker
	// ask asks a person for a secret; nil: nobody is there. guard keeps the
	// memory of this process from others, before a secret is in it; nil: does not.
	ask   func(ctx context.Context, prompt string) (string, error)
	guard func() error

	mu       sync.Mutex
	meter    *meter // that is drawing, nil: none
	warnings int    // that were printed
	lost     error  // why a result could not be written
	second   func() // before a second signal ends the process, nil: nothing
	hungUp   func() // when a hang-up is signalled; nil: it ends the command
}

// newConsole returns the console of this process.
func newConsole() *console {
	k := &console{
		guard: keepFromDumps, locked: lockedAway, dial: dialDaemon,
		out: os.Stdout, err: os.Stderr, getenv: os.Getenv, exit: os.Exit, local: time.Local,
		outTerm:  term.IsTerminal(int(os.Stdout.Fd())),
		terminal: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
	if k.terminal && term.IsTerminal(int(os.Stdin.Fd())) {
		k.in = os.Stdin
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err == nil && term.IsTerminal(int(os.Stderr.Fd())) {
		tty.Close()
		k.ask = askTerminal
	}
	return k
}

// say prints a line for people beside the results.
func (k *console) say(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.meter != nil {
		k.meter.clear()
	}
	fmt.Fprintf(k.err, "%s\n", printable(fmt.Sprintf(format, args...)))
}

// verbosely says beside the results who does what: to a person, or where somebody asked for it.
func (k *console) verbosely(format string, args ...any) {
	if k.verbose || k.terminal && !k.quiet {
		k.say("note: "+format, args...)
	}
}

// warn prints a warning; a command that warned and did what it was asked ends
// with exitWarnings.
func (k *console) warn(text string) {
	k.say("warning: %s", text)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.warnings++
}

func (k *console) warned() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.warnings > 0
}

// onSecondSignal has do called before a second signal ends the process, until
// the function that it returns is called.
func (k *console) onSecondSignal(do func()) (undo func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.second = do
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.second = nil
	}
}

// onHangup has do called when a hang-up is signalled, which ends nothing then, until the
// function that it returns is called.
func (k *console) onHangup(do func()) (undo func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hungUp = do
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.hungUp = nil
	}
}

// hangup does what is to be done then, and tells whether that is anything.
func (k *console) hangup() bool {
	k.mu.Lock()
	do := k.hungUp
	k.mu.Unlock()
	if do != nil {
		do()
	}
	return do != nil
}

// secondSignal does what is to be done then, nothing where nobody asked.
func (k *console) secondSignal() {
	k.mu.Lock()
	do := k.second
	k.mu.Unlock()
	if do != nil {
		do()
	}
}

// json prints v as the result.
func (k *console) json(v any) error {
	e := json.NewEncoder(k.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns; the first row names them. right lists the
// columns that are aligned to the right.
func (k *console) table(rows [][]string, right ...int) error {
	width := map[int]int{}
	for _, row := range rows {
		for c := range row {
			row[c] = oneLine(row[c]) // a name with an end of line in it must not look like a row
		}
		for _, c := range right {
			width[c] = max(width[c], len(row[c]))
		}
	}
	out := bufio.NewWriterSize(k.out, 64<<10) // a tabwriter writes each cell by itself
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for c, n := range width {
			row[c] = strings.Repeat(" ", n-len(row[c])) + row[c]
		}
		fmt.Fprintln(w, printable(strings.Join(row, "\t")))
	}
	return errors.Join(w.Flush(), out.Flush())
}

// printable is s with what a terminal would obey made visible, tabs and ends
// of lines apart: texts may hold names that come from a guest or a
// damaged vault.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '�'
		}
		return r
	}, s)
}

// moment writes t for people: in UTC, or as the clock on the wall shows it.
func (k *console) moment(t time.Time, local bool) string {
	if local {
		return t.In(k.local).Format("2006-01-02 15:04:05 -0700")
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

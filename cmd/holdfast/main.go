// Command holdfast backs up virtual machines into a vault, shows the recovery
// points in it and restores from them.
//
// There is one file per command: a constructor that declares its flags, an
// action that fills a struct, and a function that does the work without the
// command line library. Around them: arrange.go puts the words in order,
// explain.go turns errors into words and exit codes, console.go and meter.go
// are all that writes. JSON.md describes what programs may rely on.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == guardWord {
		os.Exit(beGuard())
	}
	os.Exit(untilSignalled(os.Args[1:]))
}

// untilSignalled runs the command with a context that the first signal ends, so
// that it can leave things in order; a second one kills, after the little that a
// command may have to do even then.
func untilSignalled(words []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	k := newConsole()
	deaf := signal.Ignored(os.Interrupt) // as who was started by a script, in the background
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for first := true; ; {
			select {
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP && k.hangup():
				case first:
					first = false
					cancel()
				default:
					k.secondSignal()
					if s == os.Interrupt && deaf {
						os.Exit(exitInterrupted)
					}
					signal.Reset()
					syscall.Kill(os.Getpid(), s.(syscall.Signal)) // as if it had never been caught
					return
				}
			case <-ended:
				return
			}
		}
	}()
	code := run(ctx, k, words)
	close(ended)
	<-watched
	return code
}

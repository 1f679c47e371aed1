package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// errStillBusy is why a daemon is not waited for any longer.
var errStillBusy = errors.New("the time that was given is over; the daemon goes on")

// restartWhenIdle has a daemon end as soon as it is idle, so that it is started again. The
// configuration is read first: a daemon that could not start again is left alone.
func restartWhenIdle(ctx context.Context, k *console, path string) error {
	conf, err := daemon.ReadConfig(path, k.getenv)
	if err != nil {
		return service.Hinted(fmt.Errorf("the daemon is left as it is: %w", err), "`holdfast config check` says what is wrong; then ask again")
	}
	waits, err := daemon.AskRestart(ctx, conf.Run)
	switch {
	case err != nil:
		return fmt.Errorf("restart the daemon when it is idle: %w", err)
	case len(waits) == 0:
		k.printf("the daemon was idle: it ended, and is started again\n")
	default:
		k.printf("the daemon goes on as it is, and is restarted when it is idle; it waits for:\n  %s\n", strings.Join(waits, "\n  "))
	}
	return nil
}

// stopWhenIdle has a daemon begin nothing more, and waits until it has ended.
func stopWhenIdle(ctx context.Context, k *console, path string, within time.Duration) error {
	conf, err := daemon.ReadConfig(path, k.getenv)
	if err != nil {
		return err
	}
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, within, errStillBusy)
		defer cancel()
	}
	err = daemon.AskStop(ctx, conf.Run, func(waits []string) {
		k.say("waiting for: %s", strings.Join(waits, "; "))
	})
	if err != nil {
		return fmt.Errorf("stop the daemon when it is idle: %w", err)
	}
	k.printf("the daemon has ended\n")
	return nil
}

// successor asks the program that has this one's place by now whether it accepts a configuration.
func successor(path string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		program = strings.TrimSuffix(program, " (deleted)")
		cmd := exec.CommandContext(ctx, program, "config", "check", path)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == exitWarnings {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s config check %s: %w: %s", program, path, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
}

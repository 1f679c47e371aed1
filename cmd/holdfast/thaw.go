package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// byHand is what a person can do when the agent does not.
const byHand = "restart qemu-guest-agent in the guest, and try again; a Linux guest may also obey Alt-SysRq-J (`virsh send-key DOMAIN KEY_LEFTALT KEY_SYSRQ KEY_J`, `sendkey alt-sysrq-j` in QEMU's monitor); a reset thaws it for certain"

func thawCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "thaw",
		Usage: "let a guest write again that a backup left frozen",
		Description: `With --leftovers: thaws every guest that a backup on this host froze and, since it and its guard were
killed, did not thaw. With --qga or --libvirt: thaws one guest, whoever froze it. It reads no
configuration and opens no vault. Thawing a guest that is not frozen does no harm. Every backup
and the start of the daemon thaw leftovers by themselves.`,
		UsageText: `holdfast thaw --leftovers
holdfast thaw --qga /run/web1/qga.sock
holdfast thaw --libvirt qemu:///system/web1`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "leftovers", Usage: "thaw what is noted in this host's journal of freezes"},
			&cli.StringFlag{Name: "qga", Usage: "`SOCKET`: the guest's agent is behind this Unix socket"},
			&cli.StringFlag{Name: "libvirt", Usage: "`[URI/]DOMAIN`: the guest is this domain of libvirt"},
			jsonFlag(), stateFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			at, leftovers, err := thawTarget(c)
			if err != nil {
				return err
			}
			if !leftovers {
				return thawOne(c.Context, k, at, c.Bool("json"), thawTimes{thawQuiet, quiesce.ThawPatience})
			}
			state, err := k.stateDir(c)
			if err != nil {
				return err
			}
			return thawLeftovers(c.Context, k, freezesIn(state), c.Bool("json"))
		},
	}
}

// thawTarget says what is to be thawed: leftovers or the guest at a Reach.
func thawTarget(c *cli.Context) (at quiesce.Reach, leftovers bool, err error) {
	ways := 0
	for _, name := range []string{"leftovers", "qga", "libvirt"} {
		if !c.IsSet(name) {
			continue
		}
		ways++
		if name != "leftovers" && c.String(name) == "" {
			return at, false, usagef("--%s is empty", name)
		}
	}
	if ways != 1 {
		return at, false, usagef("give one of --leftovers, --qga SOCKET and --libvirt DOMAIN").
			hinted("`holdfast thaw --leftovers` thaws what backups on this host left frozen")
	}
	at.QGA = c.String("qga")
	if domain := c.String("libvirt"); domain != "" {
		at.URI, at.Domain = splitDomain(domain)
		if at.Domain == "" {
			return at, false, usagef("--libvirt %q names no domain", domain).hinted("write [URI/]DOMAIN, for example qemu:///system/web1")
		}
	}
	return at, c.Bool("leftovers"), nil
}

// splitDomain takes [URI/]DOMAIN apart: what holds :// begins with a URI, which ends
// with its last slash.
func splitDomain(s string) (uri, domain string) {
	if i := strings.LastIndex(s, "/"); i >= 0 && strings.Contains(s, "://") {
		return s[:i], s[i+1:]
	}
	return "", s
}

// thawTimes are how long is tried to thaw a guest, and after how long it is said that this goes on.
type thawTimes struct{ quiet, most time.Duration }

// thawQuiet is after how long a person should hear what is waited for.
const thawQuiet = 2 * time.Second

func thawOne(ctx context.Context, k *console, at quiesce.Reach, asJSON bool, times thawTimes) error {
	waiting := fmt.Sprintf("waiting for the guest agent at %s, for %v at most", at, times.most)
	uri := k.libvirtAt(at)
	if at.Domain != "" {
		if _, err := exec.LookPath("virsh"); err != nil {
			return service.Hinted(fmt.Errorf("thaw domain %s of libvirt at %s: %w", at.Domain, uri, err), "install virsh (package libvirt-clients), or name the agent's socket: --qga SOCKET")
		}
		waiting = fmt.Sprintf("waiting for libvirt at %s to thaw %s, for %v at most", uri, at.Domain, times.most)
	}
	n := 0
	err := k.whileSlow(times.quiet, waiting, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, times.most)
		defer cancel()
		n, err = quiesce.Thaw(ctx, at)
		return err
	})
	switch {
	case errors.Is(err, quiesce.ErrNoLibvirt):
		return service.Hinted(fmt.Errorf("libvirt at %s: %w", uri, err),
			"start it (`systemctl start libvirtd`, or virtqemud.socket) and try again; or go by it: --qga SOCKET, of the agent, lies below /run/libvirt/qemu/channel or /var/lib/libvirt/qemu/channel/target")
	case err == nil:
	case errors.Is(err, quiesce.ErrGone):
		return service.Hinted(err, "is it running? Then the name, the URI or the path is another one")
	case errors.Is(err, quiesce.ErrBusy):
		return service.Hinted(err, "end the program that holds the agent's socket (`ss -xp` shows it); libvirt holds those of its domains: use --libvirt")
	default:
		return service.Hinted(err, byHand)
	}
	if asJSON {
		return k.json(api.Thaw{Guests: []api.ThawedGuest{{Reach: at.String(), Outcome: string(quiesce.Thawed), Filesystems: n}}})
	}
	if n == 0 {
		k.printf("the guest at %s is not frozen\n", at)
		return nil
	}
	k.printf("thawed the guest at %s: %s had been frozen\n", at, count(n, "file system"))
	return nil
}

// libvirtAt is the URI at which virsh finds libvirt, as far as that is known.
func (k *console) libvirtAt(at quiesce.Reach) string {
	return cmp.Or(at.URI, k.getenv("VIRSH_DEFAULT_CONNECT_URI"), k.getenv("LIBVIRT_DEFAULT_URI"), "its usual URI (--libvirt URI/DOMAIN names one)")
}

// whileSlow does something, and says what is waited for when that takes longer than a while.
func (k *console) whileSlow(quiet time.Duration, text string, do func() error) error {
	over := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		select {
		case <-over:
		case <-time.After(quiet):
			k.say("%s", text)
		}
	})
	defer telling.Wait()
	defer close(over)
	return do()
}

func thawLeftovers(ctx context.Context, k *console, dir string, asJSON bool) error {
	var list []quiesce.Leftover
	waiting := fmt.Sprintf("waiting for guests that were left frozen to answer, for %v each at most", quiesce.ThawPatience)
	err := k.whileSlow(thawQuiet, waiting, func() (err error) {
		list, err = quiesce.ThawLeftovers(ctx, dir)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		err = k.json(describeThaw(list))
	} else {
		showThaw(k, list)
	}
	return errors.Join(err, thawOutcome(list))
}

// thawLeft thaws what earlier backups left frozen, before a command that works with
// machines, and tells of it. It does not keep that command from its work, nor for long.
func thawLeft(ctx context.Context, k *console, dir string) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, err := quiesce.ThawLeftovers(ctx, dir)
	if err != nil {
		k.warn(fmt.Sprintf("guests that were left frozen: %v", err))
	}
	for _, l := range list {
		switch l.Outcome {
		case quiesce.Thawed:
			k.say("note: an earlier backup had left the guest of %s frozen since %s; it is thawed now", nameOf(l), k.moment(l.Entry.Time, false))
		case quiesce.Failed:
			k.warn(fmt.Sprintf("the guest of %s may still be frozen, since an earlier backup: %v; `holdfast thaw --leftovers` tries for longer", nameOf(l), l.Err))
		}
	}
}

// thawOutcome is the error of a list in which not everything is thawed.
func thawOutcome(list []quiesce.Leftover) error {
	var failed, going []string
	for _, l := range list {
		switch l.Outcome {
		case quiesce.Failed:
			failed = append(failed, nameOf(l))
		case quiesce.Going:
			going = append(going, nameOf(l))
		}
	}
	switch {
	case len(failed) > 0:
		return service.Hinted(fmt.Errorf("may still be frozen: %s", strings.Join(failed, ", ")), byHand)
	case len(going) > 0:
		return service.Hinted(fmt.Errorf("%s: %w", strings.Join(going, ", "), quiesce.ErrGoing),
			"a backup that goes on, or its guard, takes care of it; with --qga or --libvirt it is thawed all the same")
	}
	return nil
}

func showThaw(k *console, list []quiesce.Leftover) {
	if len(list) == 0 {
		k.printf("no guest was left frozen\n")
	}
	for _, l := range list {
		switch l.Outcome {
		case quiesce.Thawed:
			k.printf("thawed %s: %s had been frozen since %s\n", nameOf(l), count(l.Count, "file system"), k.moment(l.Entry.Time, false))
		case quiesce.Gone:
			k.printf("%s does not run any more: nothing is frozen on this host (was it saved or moved, thaw it where it is)\n", nameOf(l))
		case quiesce.Going:
			k.printf("%s is frozen since %s by a backup that goes on (process %d) or its guard\n", nameOf(l), k.moment(l.Entry.Time, false), l.Entry.PID)
		case quiesce.Failed:
			k.printf("%s could not be thawed: %v\n", nameOf(l), l.Err)
		}
	}
}

// nameOf names a leftover, by its file where that is all that is known.
func nameOf(l quiesce.Leftover) string {
	if l.Entry.Machine == "" {
		return l.File
	}
	return l.Entry.Machine
}

func describeThaw(list []quiesce.Leftover) api.Thaw {
	t := api.Thaw{Guests: []api.ThawedGuest{}}
	for _, l := range list {
		g := api.ThawedGuest{Machine: l.Entry.Machine, Reach: l.Entry.Reach.String(), Outcome: string(l.Outcome), Filesystems: l.Count}
		if !l.Entry.Time.IsZero() {
			since := api.At(l.Entry.Time)
			g.Since = &since
		}
		if l.Err != nil {
			g.Error = l.Err.Error()
		}
		t.Guests = append(t.Guests, g)
	}
	return t
}

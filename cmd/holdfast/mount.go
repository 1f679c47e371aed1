package main

import (
	"context"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

func mountCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "show all points as a read-only tree of files",
		ArgsUsage: "MOUNTPOINT",
		Description: `Shows every point as a folder, <machine>/<time>/, with disks/<disk>.raw, files/<volume>/ with the
guest's own files, config/ and point.json. Nothing can be written there, backups go on meanwhile,
and new points appear within seconds. It stays mounted until Ctrl-C, or ` + "`fusermount3 -u MOUNTPOINT`" + ` elsewhere; while
somebody uses it, it waits for that, and a second Ctrl-C takes it away at once.
Only the user who mounts sees it, unless --allow-other or --group says otherwise.
Who may not open the vault mounts what the daemon that owns it lets them read: role restorer.`,
		UsageText: "holdfast mount /mnt/points --vault /srv/vault\ncp -a /mnt/points/web1/latest/files/vda1/home/ann /tmp/\nqemu-img info /mnt/points/web1/latest/disks/vda.raw",
		Flags: append(guestKeyFlags(),
			&cli.BoolFlag{Name: "allow-other", Usage: "let all users of this host read it"},
			&cli.StringFlag{Name: "group", Usage: "let `GROUP` (a name or number) read it, for example kvm"},
			&cli.BoolFlag{Name: "resolve-links", Usage: "have absolute links of guests lead to where they do there, not into this host"},
			&cli.StringFlag{Name: "cache", Usage: "keep up to `SIZE` of decoded blocks in memory (default 64MiB)"},
		),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MOUNTPOINT")
			if err != nil {
				return err
			}
			o := mountOptions{mountpoint: args[0], allowOther: c.Bool("allow-other"), resolveLinks: c.Bool("resolve-links")}
			if c.IsSet("group") {
				if o.group, err = groupID(c.String("group")); err != nil {
					return usagef("--group: %v", err)
				}
				if o.group == 0 {
					return usagef("--group: the group with id 0 cannot be let in")
				}
			}
			if o.cache, err = sizeOf(c, "cache", 0); err != nil {
				return err
			}
			if o.vault, err = k.vaultPath(c); err != nil {
				return err
			}
			if o.keys, err = k.guestKeys(c); err != nil {
				return err
			}
			o.purpose = purposeOf(c)
			return mountPoints(c.Context, k, o)
		},
	}
}

type mountOptions struct {
	vault, mountpoint string
	allowOther        bool
	resolveLinks      bool
	group             int   // id; 0: none
	cache             int64 // bytes; 0: the default
	keys              *guestfs.Keys
	purpose           string // as the audit log of a daemon tells it
}

// mountPoints mounts and waits until the mount is gone. That ctx ends is the
// usual way to end it, and no failure.
func mountPoints(ctx context.Context, k *console, o mountOptions) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		return mountFar(ctx, k, w, o)
	}
	v, err := openVaultWith(ctx, k, o.vault, blockstore.Options{
		BlockCache: o.cache,
		Hung:       func(err error) { k.say("warning: %v", err) }, // reads go on when it answers
	})
	if err != nil {
		return err
	}
	defer v.Close()
	return serveMount(ctx, k, o, fusefs.FromVault(v), func(p *blockstore.Point) any { return service.DescribePoint(p) })
}

// mountFar mounts what a daemon lets this user read. The daemon may go and come again, and grants, too.
func mountFar(ctx context.Context, k *console, w *worker, o mountOptions) error {
	from, ok := w.Operations.(far.Daemon)
	if !ok {
		return usagef("the daemon of vault %s reads nothing for others", o.vault)
	}
	// What is read when the mount is being taken down is read still.
	v := far.New(api.WithPurpose(context.WithoutCancel(ctx), o.purpose), from, far.Options{Vault: w.vault, Name: w.name, Path: o.vault, Cache: o.cache})
	defer v.Close()
	return serveMount(ctx, k, o, v, v.Describe)
}

// serveMount mounts v until it is unmounted.
func serveMount(ctx context.Context, k *console, o mountOptions, v fusefs.Vault, describe func(*blockstore.Point) any) error {
	busy := func(err error) {
		k.say("warning: %v", err)
		k.say("hint: it is unmounted when it is free; a second Ctrl-C takes it away at once, and who uses it gets errors")
	}
	s, err := fusefs.Mount(ctx, o.mountpoint, v, fusefs.Options{
		AllowOther: o.allowOther,
		Group:      o.group,

		ResolveLinks: o.resolveLinks,
		Keys:         o.keys,
		Describe:     describe,
		Log:          slog.New(warnings{k: k}),
		Busy:         busy,
	})
	if err != nil {
		return err
	}
	defer k.onSecondSignal(func() {
		if err := s.UnmountLazily(); err != nil {
			k.say("error: %v", err)
			return
		}
		k.say("unmounted %s while it was in use", s.Mountpoint())
	})()
	k.say("mounted at %s, Ctrl-C unmounts", s.Mountpoint())
	s.Wait()
	k.say("unmounted %s", s.Mountpoint())
	return nil
}

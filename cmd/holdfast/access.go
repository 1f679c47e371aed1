package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// accessing is what only a daemon does: it keeps grants, tokens and the audit log.
type accessing interface {
	Grants(ctx context.Context) ([]api.Grant, error)
	Grant(ctx context.Context, r api.GrantRequest) (api.Grant, error)
	Revoke(ctx context.Context, r api.GrantRequest) ([]api.Grant, error)
	Tokens(ctx context.Context) ([]api.Token, error)
	CreateToken(ctx context.Context, r api.TokenRequest) (api.NewToken, error)
	RevokeToken(ctx context.Context, name string) error
	Audit(ctx context.Context, q api.AuditQuery) ([]api.AuditEntry, error)
}

// withAccess finds the daemon of this host, and does something with it.
func (k *console) withAccess(ctx context.Context, do func(accessing) error) error {
	none := func(why string) error {
		return service.Hinted(fmt.Errorf("%s: the daemon keeps grants, tokens and the audit log", why), "start it: `systemctl start holdfast`, or `holdfast daemon`")
	}
	if k.withoutDaemon() {
		return none("no daemon is to be asked (HOLDFAST_DAEMON is off)")
	}
	for _, dir := range k.runDirs() {
		socket := filepath.Join(dir, service.SocketName)
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		ops, close, err := k.dial(socket)
		if err != nil {
			return err
		}
		defer close()
		a, ok := ops.(accessing)
		if !ok {
			return none("what answers at " + socket + " has none")
		}
		return do(a)
	}
	return none("no daemon runs on this host")
}

func machinesFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "machines", Usage: "`GLOB`: for machines of such names, for example 'web*'; several by commas, or given several times (default: all)"}
}

// globsOf reads what --machines says; none: all.
func globsOf(c *cli.Context) (globs []string, err error) {
	for _, value := range c.StringSlice("machines") {
		for glob := range strings.SplitSeq(value, ",") {
			if glob = strings.TrimSpace(glob); glob == "" {
				return nil, usagef("--machines is empty").hinted("leave it out for all machines")
			}
			globs = append(globs, glob)
		}
	}
	return globs, nil
}

// grantWords writes what a grant gives, in a few words.
func grantWords(g api.Grant) string {
	on := strings.Join(g.Machines, ", ")
	if slices.Equal(g.Machines, []string{"*"}) {
		on = "all machines"
	}
	return g.Role + " for " + on
}

// ago reads a time that is over: a date, a time, or how long ago.
func ago(flag, s string, now time.Time) (*api.Time, error) {
	if s == "" {
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			at := api.At(t)
			return &at, nil
		}
	}
	span, err := policy.ParseSpan(s)
	if err != nil {
		return nil, usagef("--%s %.40q is no time", flag, s).hinted("write 2026-11-22, 2026-11-22T18:00:00Z, or how long ago: 36h, 7d")
	}
	at := api.At(now.Add(-span))
	return &at, nil
}

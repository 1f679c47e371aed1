package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// viewed is a daemon that tells no paths and no processes, as one does of whom it knows as a viewer.
type viewed struct{ api.Operations }

func (v viewed) Vaults(ctx context.Context) ([]api.VaultInfo, error) {
	all, err := v.Operations.Vaults(ctx)
	for i := range all {
		o := *all[i].Owner
		o.PID, o.Command = 0, ""
		all[i].Path, all[i].Owner = "", &o
	}
	return all, err
}

func TestAViewerIsToldOfAVaultWithoutPathAndProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.away = true // this user may not open the vault
	full := h.through(exitDone, "vault", "info")
	full.says(t, h.path("vault"))
	full.says(t, " by pid ")
	h.ops = viewed{h.ops}
	h.env["HOLDFAST_RUN"] = t.TempDir()
	h.announce()
	h.serve()
	o := h.through(exitDone, "vault", "info")
	for _, words := range []string{"vault ", "(this host)", "last opened", "block size"} {
		o.says(t, words)
	}
	for _, absent := range []string{"path ", "()", "pid", h.path("vault")} {
		if strings.Contains(o.out, absent) {
			t.Errorf("it says %q:\n%s", absent, o.out)
		}
	}
	if !strings.Contains(o.err, "note: ") || !strings.Contains(o.err, "holdfast grant NAME restore") {
		t.Errorf("it does not say why: %s", o.err)
	}
	var info api.VaultInfo
	if err := json.Unmarshal([]byte(h.through(exitDone, "vault", "info", "--json").out), &info); err != nil || info.Points == 0 || info.Path != "" {
		t.Errorf("%+v, %v", info, err)
	}
	var out bytes.Buffer
	k := &console{out: &out, getenv: func(string) string { return "" }}
	k.showVaultStatus(&api.VaultStatus{Vault: api.Vault{Name: "main"}, Points: 1, Machines: 1}, false)
	if !strings.HasPrefix(out.String(), "\nvault main: 1 point of 1 machine") {
		t.Errorf("status: %s", &out)
	}
}

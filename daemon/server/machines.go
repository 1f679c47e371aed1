package server

import (
	"context"
	"net/http"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type (
	protectIn struct {
		VaultIn
		Body api.ProtectRequest
	}
	unprotectIn struct {
		MachineIn
		Body api.UnprotectRequest
	}
	renameIn struct {
		MachineIn
		Body struct {
			To string `json:"to" required:"true" pattern:"^[A-Za-z0-9._+-]{1,64}$" doc:"The new name." example:"web2"`
		}
	}
	holdIn struct {
		MachineIn
		Body HoldUntil
	}
	holdAllIn struct {
		VaultIn
		Body HoldUntil
	}
)

// HoldUntil says how long machines are held.
type HoldUntil struct {
	Until api.Time `json:"until" required:"true" format:"date-time" doc:"From when on there are backups again." example:"2026-11-23T06:00:00Z"`
}

func (s *Server) registerMachines() {
	add(s, endpoint[protectIn, api.Protect]{id: "protect-machine", method: http.MethodPost, path: "/vaults/{vault}/machines", tag: "machines",
		summary: "Protect a machine", text: "Says how a VM is backed up. Paths, sockets and commands on the host are taken from the daemon's own user and root alone.",
		may: access.Protect, audited: true, limit: long,
		request: api.ProtectRequest{Name: "web1", Domain: "web1", Protection: exampleProtection}, answer: exampleProtect,
		needs: func(in *protectIn) []need { return inVault(access.Protect, in.Vault) },
		do: func(ctx context.Context, c *call, in *protectIn) (api.Protect, error) {
			c.entry.Machine, c.entry.Object = in.Body.Name, in.Body.Domain
			return s.c.Operations.Protect(ctx, in.Vault, in.Body)
		}})
	add(s, endpoint[unprotectIn, api.Unprotect]{id: "unprotect-machine", method: http.MethodPost, path: "/vaults/{vault}/machines/{machine}/unprotect", tag: "machines",
		summary: "End the protection of a machine", text: "What is ours in the VM is removed. Its points stay, or go into the trash.",
		may: access.Protect, audited: true, limit: long, request: api.UnprotectRequest{DeletePoints: false}, answer: exampleUnprotect,
		needs: func(in *unprotectIn) []need { return onMachine(access.Protect, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *unprotectIn) (api.Unprotect, error) {
			return s.c.Operations.Unprotect(ctx, in.Vault, in.Machine, in.Body)
		}})
	add(s, endpoint[renameIn, api.Machine]{id: "rename-machine", method: http.MethodPost, path: "/vaults/{vault}/machines/{machine}/rename", tag: "machines",
		summary: "Rename a machine", text: "Its id and its points stay. Since grants go by names, it takes the permission for all machines.",
		may: access.Protect, audited: true, request: map[string]string{"to": "web2"}, answer: exampleMachine,
		needs: func(in *renameIn) []need { return inVault(access.Protect, in.Vault) },
		do: func(ctx context.Context, c *call, in *renameIn) (api.Machine, error) {
			c.entry.Machine, c.entry.Object = in.Machine, in.Body.To
			return s.c.Operations.RenameMachine(ctx, in.Vault, in.Machine, in.Body.To)
		}})
}

// registerHolds adds what keeps machines from being backed up for a while, one or all of a vault.
func (s *Server) registerHolds() {
	stamp := func(h HoldUntil) string { return "until " + h.Until.UTC().Format("2006-01-02T15:04:05Z") }
	add(s, endpoint[holdIn, api.MachineHold]{id: "hold-machine", method: http.MethodPost, path: "/vaults/{vault}/machines/{machine}/hold", tag: "machines",
		summary: "Hold a machine", text: "No backup of it begins before a time.",
		may: access.Backup, audited: true, request: map[string]api.Time{"until": exampleTime}, answer: exampleHold,
		needs: func(in *holdIn) []need { return onMachine(access.Backup, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *holdIn) (api.MachineHold, error) {
			c.entry.Object = stamp(in.Body)
			return s.c.Operations.HoldMachine(ctx, in.Vault, in.Machine, in.Body.Until)
		}})
	add(s, endpoint[MachineIn, api.MachineHold]{id: "release-machine", method: http.MethodPost, path: "/vaults/{vault}/machines/{machine}/release", tag: "machines",
		summary: "Release a machine", text: "It is backed up again.",
		may: access.Backup, audited: true, answer: api.MachineHold{Machines: []string{"web1"}, Released: 1},
		needs: func(in *MachineIn) []need { return onMachine(access.Backup, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *MachineIn) (api.MachineHold, error) {
			return s.c.Operations.ReleaseMachine(ctx, in.Vault, in.Machine)
		}})
	add(s, endpoint[holdAllIn, api.MachineHold]{id: "hold-machines", method: http.MethodPost, path: "/vaults/{vault}/hold", tag: "machines",
		summary: "Hold all machines of a vault", text: "No backup of any begins before a time.",
		may: access.Backup, audited: true, request: map[string]api.Time{"until": exampleTime}, answer: api.MachineHold{Machines: []string{}, Until: &exampleTime},
		needs: func(in *holdAllIn) []need { return inVault(access.Backup, in.Vault) },
		do: func(ctx context.Context, c *call, in *holdAllIn) (api.MachineHold, error) {
			c.entry.Object = stamp(in.Body)
			return s.c.Operations.HoldMachine(ctx, in.Vault, "", in.Body.Until)
		}})
	add(s, endpoint[VaultIn, api.MachineHold]{id: "release-machines", method: http.MethodPost, path: "/vaults/{vault}/release", tag: "machines",
		summary: "Release all machines of a vault", text: "What was held for all of them ends; single machines stay held.",
		may: access.Backup, audited: true, answer: api.MachineHold{Machines: []string{}, Released: 1},
		needs: func(in *VaultIn) []need { return inVault(access.Backup, in.Vault) },
		do: func(ctx context.Context, c *call, in *VaultIn) (api.MachineHold, error) {
			return s.c.Operations.ReleaseMachine(ctx, in.Vault, "")
		}})
}

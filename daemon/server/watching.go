package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type statusIn struct {
	Vault   string `query:"vault" maxLength:"1024" doc:"Only of this vault." example:"main"`
	Machine string `query:"machine" pattern:"^[A-Za-z0-9._+-]{1,64}$" doc:"Only of this machine." example:"web1"`
	NoHost  bool   `query:"no_host" doc:"The VMs of the daemon's host are not asked."`
}

// Resolve refuses names that cannot be any.
func (in *statusIn) Resolve(ctx huma.Context) []error {
	return checkVault(ctx, in.Vault, "query.vault")
}

type usageIn struct {
	VaultIn
	From      string `query:"from" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"The first month; missing: this one." example:"2026-11"`
	To        string `query:"to" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"The last month; missing: the first." example:"2026-11"`
	Machine   string `query:"machine" pattern:"^[A-Za-z0-9._+-]{1,64}$" doc:"Only of this machine." example:"web1"`
	Exclusive bool   `query:"exclusive" doc:"Say what each machine alone takes up, which walks maps and may take minutes."`
}

type ignoreIn struct{ Body api.IgnoreRequest }

// registerWatching adds how all stands.
func (s *Server) registerWatching() {
	add(s, endpoint[statusIn, api.Status]{id: "status", method: http.MethodGet, path: "/status", tag: "look",
		summary: "Say how all stands", text: "Whether each machine is protected within its objective, and how each vault is. A caller who may not see all machines is told of its own, and whether those are at risk.",
		may: access.See, answer: exampleStatus,
		do: func(ctx context.Context, c *call, in *statusIn) (api.Status, error) {
			if s.c.Watching == nil {
				return api.Status{}, notServed("a status")
			}
			all, err := s.c.Watching.Status(ctx, api.StatusQuery{Vault: in.Vault, Machine: in.Machine, NoHost: in.NoHost})
			if n, since := s.c.Audit.Lost(); n > 0 {
				all.Warnings = append(slices.Clone(all.Warnings), fmt.Sprintf("the audit log misses %d lines since %s, which could not be written: is the state folder's disk full? The daemon's own log has them", n, since.UTC().Format(time.RFC3339)))
			}
			seen := statusFor(c, all)
			if !c.seesHost() {
				if seen = statusWithoutHost(seen); err != nil {
					err = problemWithoutHost(s.explain(err))
				}
			}
			if in.Machine != "" && len(seen.Machines) == 0 && !c.who.MayAll(access.See) && (err == nil || s.explain(err).Kind == kindNotFound) {
				c.entry.Vault, c.entry.Machine = in.Vault, in.Machine
				err = c.who.Refuse(access.See, in.Machine) // whether there is such a machine or not
			}
			return seen, err
		}})
	add(s, endpoint[usageIn, api.Usage]{id: "usage", method: http.MethodGet, path: "/vaults/{vault}/usage", tag: "look",
		summary: "Say what machines used", text: "Protected size and instances, month by month, of the machines that the caller may see.",
		may: access.See, answer: exampleUsage, limit: long,
		needs: func(in *usageIn) []need {
			if in.Machine == "" {
				return nil
			}
			return onMachine(access.See, in.Vault, &in.Machine)
		},
		do: func(ctx context.Context, c *call, in *usageIn) (api.Usage, error) {
			if s.c.Watching == nil {
				return api.Usage{}, notServed("reports of usage")
			}
			if in.Exclusive {
				_, leave, ok := s.walks.enter(c.who.Name)
				if !ok {
					return api.Usage{}, tooMany(nil, 10*time.Second, "what machines alone take up is added up already")
				}
				defer leave()
			}
			u, err := s.c.Watching.Usage(ctx, in.Vault, api.UsageQuery{From: in.From, To: in.To, Machine: in.Machine, Exclusive: in.Exclusive})
			if !c.seesHost() {
				vaultWithoutHost(&u.Vault)
			}
			if err != nil {
				return u, err
			}
			return usageFor(ctx, c, in.Vault, u)
		}})
	add(s, endpoint[ignoreIn, []string]{id: "ignore", method: http.MethodPost, path: "/ignore", tag: "machines",
		summary: "Ignore machines that nobody protects", text: "The status does not mind that they are unprotected. The answer is the whole list; no names leave it as it is.",
		may: access.Policies, audited: true, request: api.IgnoreRequest{Names: []string{"scratch-vm"}}, answer: []string{"scratch-vm"},
		needs: func(*ignoreIn) []need { return ofAll(access.Policies) },
		do: func(ctx context.Context, c *call, in *ignoreIn) ([]string, error) {
			c.entry.Object = firstBytes(strings.Join(in.Body.Names, " "), 900)
			if s.c.Watching == nil {
				return nil, notServed("a status")
			}
			list, err := s.c.Watching.Ignore(ctx, in.Body)
			return notNil(list), err
		}})
}

// statusFor leaves out of a status what the caller may not see, and says whether the rest is at
// risk. Of vaults it sees how they are, not why, which may name machines.
func statusFor(c *call, st api.Status) api.Status {
	if c.who.MayAll(access.See) {
		return st
	}
	mine := st
	mine.AtRisk, mine.Reasons, mine.Warnings, mine.Ignored = false, []string{}, []string{}, []string{}
	mine.Machines, mine.VMs, mine.Vaults = []api.MachineStatus{}, []api.UnprotectedVM{}, []api.VaultStatus{}
	for _, m := range st.Machines {
		if !c.who.May(access.See, m.Name) {
			continue
		}
		mine.Machines = append(mine.Machines, m)
		mine.AtRisk = mine.AtRisk || m.AtRisk
		for _, why := range m.Reasons {
			mine.Reasons = append(mine.Reasons, m.Name+": "+why)
		}
	}
	for _, v := range st.Vaults {
		v.Reasons, v.Warnings = []string{}, []string{}
		mine.Vaults = append(mine.Vaults, v)
		mine.AtRisk = mine.AtRisk || v.AtRisk
	}
	return mine
}

// usageFor leaves out of a report the machines that the caller may not see; sums are of the rest.
func usageFor(ctx context.Context, c *call, vault string, u api.Usage) (api.Usage, error) {
	u.Months = append([]api.MonthUsage{}, u.Months...)
	for i := range u.Months {
		m := &u.Months[i]
		left, err := visible(ctx, c, vault, m.Machines, func(m *api.MachineUsage) string { return m.MachineID }, func(*api.MachineUsage) {})
		if err != nil {
			return api.Usage{}, err
		}
		if m.Machines = left; c.who.MayAll(access.See) {
			continue
		}
		m.Instances, m.Protected, m.Stored = 0, 0, 0
		for _, one := range left {
			m.Instances, m.Protected, m.Stored = m.Instances+one.Instances, m.Protected+one.Protected, m.Stored+one.Stored
		}
	}
	return u, nil
}

package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type pointsIn struct {
	VaultIn
	Machine string `query:"machine" pattern:"^[A-Za-z0-9._+-]{1,64}$" patternDescription:"a name or id of a machine" doc:"Name or id of the machine; missing: all." example:"web1"`
}

type pruneIn struct {
	VaultIn
	Machines []string `query:"machine,explode" maxItems:"1000" doc:"Names or ids of machines, each as a parameter; missing: all." example:"[\"web1\"]"`
	Confirm  bool     `query:"confirm" doc:"As if the changes that wait for a confirmation had it."`
}

func (s *Server) registerReading() {
	add(s, endpoint[struct{}, []api.VaultInfo]{id: "list-vaults", method: http.MethodGet, path: "/vaults", tag: "look",
		summary: "List the vaults", text: "The vaults that the daemon holds, and what is in them. Where they lie and which process writes into them sees who may see names of files of all machines.",
		may: access.See, answer: []api.VaultInfo{exampleVault},
		do: func(ctx context.Context, c *call, _ *struct{}) ([]api.VaultInfo, error) {
			list, err := s.c.Operations.Vaults(ctx)
			if c.seesHost() {
				return notNil(list), err
			}
			list = append([]api.VaultInfo{}, list...)
			for i := range list {
				vaultInfoWithoutHost(&list[i])
			}
			if err != nil {
				err = problemWithoutHost(s.explain(err))
			}
			return list, err
		}})
	add(s, endpoint[VaultIn, []api.Machine]{id: "list-machines", method: http.MethodGet, path: "/vaults/{vault}/machines", tag: "look",
		summary: "List the machines of a vault", text: "Protected machines, and those that have points.",
		may: access.See, answer: []api.Machine{exampleMachine},
		do: func(ctx context.Context, c *call, in *VaultIn) ([]api.Machine, error) {
			list, err := c.machines(ctx, in.Vault)
			if err != nil {
				return nil, err
			}
			return visible(ctx, c, in.Vault, list, func(m *api.Machine) string { return m.ID }, machineWithoutFiles)
		}})
	add(s, endpoint[pointsIn, []api.Point]{id: "list-points", method: http.MethodGet, path: "/vaults/{vault}/points", tag: "look",
		summary: "List recovery points", text: "Machines by name, and each machine's points oldest first.",
		may: access.See, answer: []api.Point{examplePoint},
		needs: func(in *pointsIn) []need {
			if in.Machine == "" {
				return nil
			}
			return onMachine(access.See, in.Vault, &in.Machine)
		},
		do: func(ctx context.Context, c *call, in *pointsIn) ([]api.Point, error) {
			list, err := s.c.Operations.Points(ctx, in.Vault, in.Machine)
			if err != nil {
				return nil, err
			}
			return visible(ctx, c, in.Vault, list, func(p *api.Point) string { return p.MachineID }, pointWithoutFiles)
		}})
	add(s, endpoint[VaultIn, []api.Trashed]{id: "list-trash", method: http.MethodGet, path: "/vaults/{vault}/trash", tag: "look",
		summary: "List the trash", text: "Points that were deleted, and when they are dropped.",
		may: access.See, answer: []api.Trashed{{Point: examplePoint, DropsOn: exampleTime}},
		do: func(ctx context.Context, c *call, in *VaultIn) ([]api.Trashed, error) {
			list, err := s.c.Operations.Trash(ctx, in.Vault)
			if err != nil {
				return nil, err
			}
			return visible(ctx, c, in.Vault, list, func(t *api.Trashed) string { return t.MachineID }, func(t *api.Trashed) { pointWithoutFiles(&t.Point) })
		}})
	add(s, endpoint[VaultIn, []api.Policy]{id: "list-policies", method: http.MethodGet, path: "/vaults/{vault}/policies", tag: "policies",
		summary: "List policies", text: "Of the machines that each is for, those that the caller may see.",
		may: access.See, answer: []api.Policy{examplePolicy},
		do: func(ctx context.Context, c *call, in *VaultIn) ([]api.Policy, error) {
			list, err := s.c.Operations.Policies(ctx, in.Vault)
			return policiesFor(c, list), err
		}})
	add(s, endpoint[pruneIn, []api.Prune]{id: "plan-prune", method: http.MethodGet, path: "/vaults/{vault}/prune", tag: "policies",
		summary: "Say what pruning would do", text: "For each point why it is kept, or goes. Nothing is changed.",
		may: access.See, answer: []api.Prune{examplePrune},
		needs: func(in *pruneIn) []need {
			var list []need
			for i := range in.Machines {
				list = append(list, need{what: access.See, vault: in.Vault, machine: &in.Machines[i]})
			}
			return list
		},
		do: func(ctx context.Context, c *call, in *pruneIn) ([]api.Prune, error) {
			list, err := s.c.Operations.PlanPrune(ctx, in.Vault, api.PruneOptions{Machines: in.Machines, Confirm: in.Confirm})
			if err != nil {
				return nil, err
			}
			return visible(ctx, c, in.Vault, list, func(p *api.Prune) string { return p.MachineID }, func(*api.Prune) {})
		}})
}

// policiesFor leaves out of policies the names that the caller may not see.
func policiesFor(c *call, list []api.Policy) []api.Policy {
	list = append([]api.Policy{}, list...)
	if c.who.MayAll(access.See) {
		return list
	}
	for i := range list {
		seen := []string{}
		for _, m := range list[i].Machines {
			if c.who.May(access.See, m) {
				seen = append(seen, m)
			}
		}
		list[i].Machines = seen
		list[i].Globs = slices.DeleteFunc(slices.Clone(list[i].Globs), func(glob string) bool {
			return !strings.ContainsAny(glob, `*?[\`) && !c.who.May(access.See, glob) // it is a name
		})
	}
	return list
}

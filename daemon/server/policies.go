package server

import (
	"context"
	"net/http"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type setPoliciesIn struct {
	VaultIn
	Body api.PoliciesRequest
}

type policyIn struct {
	VaultIn
	Policy string `path:"policy" maxLength:"128" pattern:"^[^/\\x00-\\x1f\\x7f]+$" patternDescription:"a name of a policy" doc:"The policy's name." example:"nightly"`
}

func (s *Server) registerPolicies() {
	add(s, endpoint[setPoliciesIn, []api.PolicyChange]{id: "set-policies", method: http.MethodPut, path: "/vaults/{vault}/policies", tag: "policies",
		summary: "Set policies", text: "Adds or changes the policies that are given; others stay, or are removed. With `dry_run` it says what would change.",
		may: access.Policies, audited: true, request: api.PoliciesRequest{Policies: []api.PolicySpec{examplePolicySpec}},
		answer: []api.PolicyChange{{Name: "nightly", Change: "added", Diff: []string{}}},
		needs:  func(in *setPoliciesIn) []need { return inVault(access.Policies, in.Vault) },
		do: func(ctx context.Context, c *call, in *setPoliciesIn) ([]api.PolicyChange, error) {
			for _, p := range in.Body.Policies {
				if len(c.entry.Object) < 900 {
					c.entry.Object += firstBytes(p.Name, 128) + " "
				}
			}
			if in.Body.DryRun {
				c.entry.Detail = "dry run"
			}
			list, err := s.c.Operations.SetPolicies(ctx, in.Vault, in.Body)
			return notNil(list), err
		}})
	add(s, endpoint[policyIn, done]{id: "remove-policy", method: http.MethodDelete, path: "/vaults/{vault}/policies/{policy}", tag: "policies",
		summary: "Remove a policy", text: "Its machines are not backed up by it any more; no point is removed.",
		may: access.Policies, audited: true,
		needs: func(in *policyIn) []need { return inVault(access.Policies, in.Vault) },
		do: func(ctx context.Context, c *call, in *policyIn) (done, error) {
			c.entry.Object = in.Policy
			return done{}, s.c.Operations.RemovePolicy(ctx, in.Vault, in.Policy)
		}})
}

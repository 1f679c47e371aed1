package api

import (
	"context"
	"net/http"
	"strconv"
)

var (
	_ Operations = (*Client)(nil)
	_ Watching   = (*Client)(nil)
)

// Vaults lists the vaults that the daemon holds.
func (c *Client) Vaults(ctx context.Context) ([]VaultInfo, error) {
	return list[VaultInfo](ctx, c, call{method: http.MethodGet, path: []string{"vaults"}})
}

// Machines lists the machines of a vault that the caller may see.
func (c *Client) Machines(ctx context.Context, vault string) ([]Machine, error) {
	return list[Machine](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "machines"}})
}

// Points lists points that the caller may see.
func (c *Client) Points(ctx context.Context, vault, machine string) ([]Point, error) {
	return list[Point](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "points"}, query: values("machine", machine)})
}

// Policies lists the policies of a vault.
func (c *Client) Policies(ctx context.Context, vault string) ([]Policy, error) {
	return list[Policy](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "policies"}})
}

// Trash lists the points in the trash that the caller may see.
func (c *Client) Trash(ctx context.Context, vault string) ([]Trashed, error) {
	return list[Trashed](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "trash"}})
}

// PlanPrune says what pruning would do.
func (c *Client) PlanPrune(ctx context.Context, vault string, o PruneOptions) ([]Prune, error) {
	q := values()
	for _, m := range o.Machines {
		q.Add("machine", m)
	}
	if o.Confirm {
		q.Set("confirm", flag(true))
	}
	return list[Prune](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "prune"}, query: q})
}

// Start queues a job.
func (c *Client) Start(ctx context.Context, r JobRequest) (Job, error) {
	if r.Handed() != nil {
		return c.startHanded(ctx, r)
	}
	return do[Job](ctx, c, startCall(r))
}

// Jobs lists the jobs that the caller may see.
func (c *Client) Jobs(ctx context.Context, q JobQuery) ([]Job, error) {
	limit := ""
	if q.Limit > 0 {
		limit = strconv.Itoa(q.Limit)
	}
	return list[Job](ctx, c, call{method: http.MethodGet, path: []string{"jobs"},
		query: values("vault", q.Vault, "machine", q.Machine, "kind", q.Kind, "state", q.State, "since", stamp(q.Since), "limit", limit)})
}

// Job returns a job with its log.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return do[Job](ctx, c, call{method: http.MethodGet, path: []string{"jobs", id}})
}

// CancelJob asks a job to end.
func (c *Client) CancelJob(ctx context.Context, id string) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodPost, path: []string{"jobs", id, "cancel"}})
	return err
}

// RetryJob starts a job again.
func (c *Client) RetryJob(ctx context.Context, id string) (Job, error) {
	return do[Job](ctx, c, call{method: http.MethodPost, path: []string{"jobs", id, "retry"}})
}

// ChangePoints changes points.
func (c *Client) ChangePoints(ctx context.Context, vault string, r PointsRequest) ([]PointChange, error) {
	return list[PointChange](ctx, c, call{method: http.MethodPost, path: []string{"vaults", vault, "points", "change"}, body: r, within: longDeadline})
}

// GiveUpPoint drops a damaged point.
func (c *Client) GiveUpPoint(ctx context.Context, vault string, p PointRef) (PointChange, error) {
	return do[PointChange](ctx, c, call{method: http.MethodPost, path: []string{"vaults", vault, "points", "give-up"}, body: p, within: longDeadline})
}

// Protect says how a machine is backed up.
func (c *Client) Protect(ctx context.Context, vault string, r ProtectRequest) (Protect, error) {
	return do[Protect](ctx, c, call{method: http.MethodPost, path: []string{"vaults", vault, "machines"}, body: r, within: longDeadline})
}

// Unprotect ends the protection of a machine.
func (c *Client) Unprotect(ctx context.Context, vault, machine string, r UnprotectRequest) (Unprotect, error) {
	return do[Unprotect](ctx, c, call{method: http.MethodPost, path: []string{"vaults", vault, "machines", machine, "unprotect"}, body: r, within: longDeadline})
}

// RenameMachine gives a machine another name.
func (c *Client) RenameMachine(ctx context.Context, vault, machine, to string) (Machine, error) {
	return do[Machine](ctx, c, call{method: http.MethodPost, path: []string{"vaults", vault, "machines", machine, "rename"}, body: map[string]string{"to": to}})
}

// ofMachine is the path to what is done to a machine, or to all of them where machine is "".
func ofMachine(vault, machine, what string) []string {
	if machine == "" {
		return []string{"vaults", vault, what}
	}
	return []string{"vaults", vault, "machines", machine, what}
}

// HoldMachine keeps a machine, or all, from being backed up for a while.
func (c *Client) HoldMachine(ctx context.Context, vault, machine string, until Time) (MachineHold, error) {
	return do[MachineHold](ctx, c, call{method: http.MethodPost, path: ofMachine(vault, machine, "hold"), body: map[string]Time{"until": until}})
}

// ReleaseMachine ends the holds of a machine.
func (c *Client) ReleaseMachine(ctx context.Context, vault, machine string) (MachineHold, error) {
	return do[MachineHold](ctx, c, call{method: http.MethodPost, path: ofMachine(vault, machine, "release")})
}

// SetPolicies adds and changes policies.
func (c *Client) SetPolicies(ctx context.Context, vault string, r PoliciesRequest) ([]PolicyChange, error) {
	return list[PolicyChange](ctx, c, call{method: http.MethodPut, path: []string{"vaults", vault, "policies"}, body: r})
}

// RemovePolicy removes a policy.
func (c *Client) RemovePolicy(ctx context.Context, vault, name string) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodDelete, path: []string{"vaults", vault, "policies", name}})
	return err
}

// Status tells how all stands, as far as the caller may see it.
func (c *Client) Status(ctx context.Context, q StatusQuery) (Status, error) {
	return do[Status](ctx, c, call{method: http.MethodGet, path: []string{"status"},
		query: values("vault", q.Vault, "machine", q.Machine, "no_host", flag(q.NoHost))})
}

// Usage tells what machines used, as far as the caller may see them.
func (c *Client) Usage(ctx context.Context, vault string, q UsageQuery) (Usage, error) {
	return do[Usage](ctx, c, call{method: http.MethodGet, path: []string{"vaults", vault, "usage"}, within: longDeadline,
		query: values("from", q.From, "to", q.To, "machine", q.Machine, "exclusive", flag(q.Exclusive))})
}

// Ignore changes the list of names that nobody minds to see unprotected.
func (c *Client) Ignore(ctx context.Context, r IgnoreRequest) ([]string, error) {
	return list[string](ctx, c, call{method: http.MethodPost, path: []string{"ignore"}, body: r})
}

// flag writes a boolean for a query; "" for false.
func flag(b bool) string {
	if b {
		return "true"
	}
	return ""
}

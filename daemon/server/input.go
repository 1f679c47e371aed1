package server

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Names in requests are data of bounded length and without control characters; the library
// refuses others. What they mean is for the operations to say.
const (
	machinePattern = `^[A-Za-z0-9._+-]{1,64}$`
	pointPattern   = `^[A-Za-z0-9:._+-]{1,64}$`
)

// VaultIn names a vault. A path is only for callers who could open it themselves. It is
// exported, as MachineIn is, because the library passes over embedded types that are not.
type VaultIn struct {
	Vault string `path:"vault" maxLength:"1024" doc:"The vault's id or name; on the Unix socket, for the daemon's own user and root, also its path (escaped)." example:"main"`
}

// Resolve refuses paths from those who may name none.
func (v *VaultIn) Resolve(ctx huma.Context) []error { return checkVault(ctx, v.Vault, "path.vault") }

var _ huma.Resolver = (*VaultIn)(nil)

// MachineIn names a machine of a vault.
type MachineIn struct {
	VaultIn
	Machine string `path:"machine" pattern:"^[A-Za-z0-9._+-]{1,64}$" patternDescription:"a name or id of a machine" doc:"The machine's name or id." example:"web1"`
}

type jobIn struct {
	Job string `path:"job" pattern:"^[A-Za-z0-9-]{1,64}$" patternDescription:"an id of a job" doc:"The job's id." example:"j01c7p2q9"`
}

// checkVault refuses a vault's name that cannot be one.
func checkVault(ctx huma.Context, vault, where string) []error {
	if p := vaultProblem(callerOf(ctx.Context()), vault); p != "" {
		return []error{&huma.ErrorDetail{Location: where, Message: p}}
	}
	return nil
}

// vaultProblem says why a caller may not name a vault so; "" when it may.
func vaultProblem(who *access.Principal, vault string) string {
	switch {
	case len(vault) > 1024 || !printable(vault):
		return "is no name of a vault"
	case !who.Trusted && strings.Contains(vault, "/"):
		return "a vault is named by its id or name; only the daemon's own user and root may write a path"
	}
	return ""
}

// jobQueryIn is an api.JobQuery in a query.
type jobQueryIn struct {
	Vault   string `query:"vault" maxLength:"1024" doc:"Only of this vault." example:"main"`
	Machine string `query:"machine" pattern:"^[A-Za-z0-9._+-]{1,64}$" doc:"Only of this machine." example:"web1"`
	Kind    string `query:"kind" enum:"backup,prune,sweep,check,empty-trash,restore,catalogue" doc:"Only of this kind."`
	State   string `query:"state" enum:"queued,running,completed,completed with warnings,failed,cancelled,interrupted" doc:"Only in this state."`
	Since   string `query:"since" format:"date-time" doc:"Only those queued since." example:"2026-11-22T22:00:00Z"`
	Limit   int    `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many, the newest; 0: 100."`
}

// Resolve refuses paths from those who may name none.
func (in *jobQueryIn) Resolve(ctx huma.Context) []error {
	return checkVault(ctx, in.Vault, "query.vault")
}

var _ huma.Resolver = (*jobQueryIn)(nil)

func (in *jobQueryIn) query() (api.JobQuery, error) {
	q := api.JobQuery{Vault: in.Vault, Machine: in.Machine, Kind: in.Kind, State: in.State, Limit: in.Limit}
	if in.Since != "" {
		q.Since = new(api.Time)
		if err := q.Since.UnmarshalText([]byte(in.Since)); err != nil {
			return q, badRequest(422, "since is no time: "+firstBytes(in.Since, 40), "write 2026-11-22T22:00:00Z")
		}
	}
	return q, nil
}

var (
	machineName = regexp.MustCompile(machinePattern)
	pointName   = regexp.MustCompile(pointPattern)
)

func isMachine(s string) bool { return machineName.MatchString(s) }
func isPoint(s string) bool   { return pointName.MatchString(s) }

// printable tells whether s is text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

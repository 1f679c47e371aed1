package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type grantIn struct{ Body api.GrantRequest }

type auditIn struct {
	Since string `query:"since" format:"date-time" doc:"Only what was since." example:"2026-11-22T22:00:00Z"`
	Limit int    `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many, the newest; 0: 1000."`
}

func ofAll(what access.Permission) []need { return inVault(what, "") }

func (s *Server) registerGrants() {
	add(s, endpoint[struct{}, api.WhoAmI]{id: "who-am-i", method: http.MethodGet, path: "/whoami", tag: "access",
		summary: "Say whom the daemon takes the caller for", text: "And what was granted to it.", answer: exampleWho,
		do: func(_ context.Context, c *call, _ *struct{}) (api.WhoAmI, error) {
			return api.WhoAmI{Name: c.who.Name, Groups: notNil(c.who.Groups), From: c.who.From, Trusted: c.who.Trusted, Grants: notNil(c.who.Grants())}, nil
		}})
	add(s, endpoint[struct{}, []api.Grant]{id: "list-grants", method: http.MethodGet, path: "/access/grants", tag: "access",
		summary: "List grants", text: "Those of the configuration first.", may: access.Tokens, answer: []api.Grant{exampleGrant},
		needs: func(*struct{}) []need { return ofAll(access.Tokens) },
		do:    func(context.Context, *call, *struct{}) ([]api.Grant, error) { return s.c.Access.Grants(), nil }})
	add(s, endpoint[grantIn, api.Grant]{id: "grant", method: http.MethodPost, path: "/access/grants", tag: "access",
		summary: "Grant a role", text: "To a user of the daemon's host, a group of them, or a token, for machines by glob.",
		may: access.Tokens, audited: true, request: api.GrantRequest{Who: "anna", Role: "restorer", Machines: []string{"web*"}}, answer: exampleGrant,
		needs: func(*grantIn) []need { return ofAll(access.Tokens) },
		do: func(_ context.Context, c *call, in *grantIn) (api.Grant, error) {
			c.entry.Object = describeGrant(in.Body)
			g, err := s.c.Access.Grant(in.Body, c.who.Name)
			return g, asUsage(err)
		}})
	add(s, endpoint[grantIn, []api.Grant]{id: "revoke", method: http.MethodPost, path: "/access/revoke", tag: "access",
		summary: "Revoke grants", text: "Of somebody: all, or those of a role, or of exactly these globs. The answer lists them.",
		may: access.Tokens, audited: true, request: api.GrantRequest{Who: "anna"}, answer: []api.Grant{exampleGrant},
		needs: func(*grantIn) []need { return ofAll(access.Tokens) },
		do: func(_ context.Context, c *call, in *grantIn) ([]api.Grant, error) {
			c.entry.Object = describeGrant(in.Body)
			gone, err := s.c.Access.Revoke(in.Body)
			return gone, asUsage(err)
		}})
	add(s, endpoint[auditIn, []api.AuditEntry]{id: "list-audit", method: http.MethodGet, path: "/audit", tag: "access",
		summary: "Read the audit log", text: "Oldest first: who changed what, read which disk, and what was refused to whom.",
		may: access.Audit, answer: []api.AuditEntry{exampleEntry},
		needs: func(*auditIn) []need { return ofAll(access.Audit) },
		do: func(ctx context.Context, _ *call, in *auditIn) ([]api.AuditEntry, error) {
			q := api.AuditQuery{Limit: in.Limit}
			if in.Since != "" {
				q.Since = new(api.Time)
				if err := q.Since.UnmarshalText([]byte(in.Since)); err != nil {
					return nil, badRequest(422, "since is no time", "write 2026-11-22T22:00:00Z")
				}
			}
			return s.c.Audit.Read(ctx, q)
		}})
}

func describeGrant(r api.GrantRequest) string {
	return firstBytes(strings.TrimSpace(r.Who+" "+r.Role+" "+strings.Join(r.Machines, " ")), 900)
}

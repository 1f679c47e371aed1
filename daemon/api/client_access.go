package api

import (
	"context"
	"net/http"
	"strconv"
)

// WhoAmI asks whom the daemon takes the caller for.
func (c *Client) WhoAmI(ctx context.Context) (WhoAmI, error) {
	return do[WhoAmI](ctx, c, call{method: http.MethodGet, path: []string{"whoami"}})
}

// Grants lists the grants.
func (c *Client) Grants(ctx context.Context) ([]Grant, error) {
	return list[Grant](ctx, c, call{method: http.MethodGet, path: []string{"access", "grants"}})
}

// Grant gives a role.
func (c *Client) Grant(ctx context.Context, r GrantRequest) (Grant, error) {
	return do[Grant](ctx, c, call{method: http.MethodPost, path: []string{"access", "grants"}, body: r})
}

// Revoke ends grants, and returns them.
func (c *Client) Revoke(ctx context.Context, r GrantRequest) ([]Grant, error) {
	return list[Grant](ctx, c, call{method: http.MethodPost, path: []string{"access", "revoke"}, body: r})
}

// Tokens lists the tokens.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return list[Token](ctx, c, call{method: http.MethodGet, path: []string{"access", "tokens"}})
}

// CreateToken makes a token; its secret is shown this once.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (NewToken, error) {
	return do[NewToken](ctx, c, call{method: http.MethodPost, path: []string{"access", "tokens"}, body: r})
}

// RevokeToken ends a token and its grants.
func (c *Client) RevokeToken(ctx context.Context, name string) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodDelete, path: []string{"access", "tokens", name}})
	return err
}

// Audit reads the audit log, oldest entry first.
func (c *Client) Audit(ctx context.Context, q AuditQuery) ([]AuditEntry, error) {
	limit := ""
	if q.Limit > 0 {
		limit = strconv.Itoa(q.Limit)
	}
	return list[AuditEntry](ctx, c, call{method: http.MethodGet, path: []string{"audit"}, query: values("since", stamp(q.Since), "limit", limit)})
}

package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// registerLend adds the lending of a vault, an answer that lasts as long as the loan.
func (s *Server) registerLend() {
	op := operationOf(s, "lend-vault", http.MethodPost, "/vaults/{vault}/lend", "vaults", "Lend a vault",
		"For commands that need a vault alone. The daemon lets its jobs end, or refuses naming them, and closes the vault; then the answer begins, with a line `{}`. "+
			"As long as the client reads it, the vault is the client's; a blank line now and then is a sign of life. When the connection ends, the daemon takes the vault back.", access.Lend)
	op.Responses["200"] = &huma.Response{Description: "The vault is lent.", Content: map[string]*huma.MediaType{"application/x-ndjson": {
		Schema: &huma.Schema{Type: huma.TypeString}, Example: "{}\n\n\n"}}}
	huma.Register(s.api, op, func(ctx context.Context, in *VaultIn) (*stream, error) {
		c := s.begin(ctx, "lend-vault")
		release, leave, err := s.lend(ctx, c, in.Vault)
		c.end(true, err)
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		return &stream{func(hc huma.Context) {
			defer func() {
				release()
				leave()
				c.entry.Action = "take-vault-back"
				c.end(true, nil)
			}()
			s.hold(hc, c)
		}}, nil
	})
}

// lend gives up a vault, unless the client is gone by then.
func (s *Server) lend(ctx context.Context, c *call, vault string) (release, leave func(), err error) {
	c.entry.Vault = vault
	if err := c.allowed(ctx, access.Lend, func() []need { return inVault(access.Lend, vault) }); err != nil {
		return nil, nil, err
	}
	if s.c.Lend == nil {
		return nil, nil, notServed("lending vaults")
	}
	_, leave, ok := s.follow.enter(c.who.Name)
	if !ok {
		return nil, nil, tooMany(nil, s.limits.Beat, "too much lasts already")
	}
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	release, err = s.c.Lend(ctx, vault)
	if err != nil {
		leave()
		return nil, nil, err
	}
	return release, leave, nil
}

// hold keeps the answer open until the client is gone, or may not have the vault any more.
func (s *Server) hold(hc huma.Context, c *call) {
	s.last(hc, &s.follow, "{}\n", func() bool { return c.again() && c.who.MayAll(access.Lend) })
}

// last answers with a line, and with signs of life as long as the client is there and still may. It was let in by a gate.
func (s *Server) last(hc huma.Context, in *gate, text string, may func() bool) {
	hc.SetHeader("Content-Type", "application/x-ndjson")
	hc.SetHeader("Cache-Control", "no-store")
	hc.SetStatus(http.StatusOK)
	beat := time.NewTicker(s.limits.Beat)
	defer beat.Stop()
	for ; say(hc, text) == nil && may(); text = "\n" {
		select {
		case <-hc.Context().Done():
			return
		case <-in.ended():
			return
		case <-beat.C:
		}
	}
}

// notServed says that this daemon does not do something.
func notServed(what string) error {
	return &api.Problem{Status: http.StatusNotFound, Exit: exitNotFound, Kind: kindNotFound, Detail: "this daemon does not offer " + what}
}

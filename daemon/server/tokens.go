package server

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type tokenIn struct {
	Token string `path:"token" pattern:"^[A-Za-z0-9._+-]{1,64}$" doc:"The token's name." example:"grafana"`
}

type newTokenIn struct{ Body api.TokenRequest }

func (s *Server) registerTokens() {
	add(s, endpoint[struct{}, []api.Token]{id: "list-tokens", method: http.MethodGet, path: "/access/tokens", tag: "access",
		summary: "List tokens", text: "With when and from where each was last used. Secrets are shown when a token is made, and never again.",
		may: access.Tokens, answer: []api.Token{exampleToken},
		needs: func(*struct{}) []need { return ofAll(access.Tokens) },
		do:    func(context.Context, *call, *struct{}) ([]api.Token, error) { return s.c.Access.Tokens(), nil }})
	add(s, endpoint[newTokenIn, api.NewToken]{id: "create-token", method: http.MethodPost, path: "/access/tokens", tag: "access",
		summary: "Make a token", text: "The answer holds its secret, this once: only a hash is kept.",
		may: access.Tokens, audited: true, request: api.TokenRequest{Name: "grafana", Role: "viewer"},
		answer: api.NewToken{Token: exampleToken, Secret: "hf_0123456789abcdef_..."},
		needs:  func(*newTokenIn) []need { return ofAll(access.Tokens) },
		do: func(_ context.Context, c *call, in *newTokenIn) (api.NewToken, error) {
			c.entry.Object = firstBytes(in.Body.Name+" "+in.Body.Role, 200)
			t, err := s.c.Access.CreateToken(in.Body, c.who.Name)
			return t, asUsage(err)
		}})
	add(s, endpoint[tokenIn, done]{id: "revoke-token", method: http.MethodDelete, path: "/access/tokens/{token}", tag: "access",
		summary: "Revoke a token", text: "It and its grants end at once, and with it whatever follows jobs by it at the next event.",
		may: access.Tokens, audited: true,
		needs: func(*tokenIn) []need { return ofAll(access.Tokens) },
		do: func(_ context.Context, c *call, in *tokenIn) (done, error) {
			c.entry.Object = in.Token
			return done{}, s.c.Access.RevokeToken(in.Token)
		}})
}

// asUsage makes of an error of what somebody wrote one that says so.
func asUsage(err error) error {
	var onDisk *fs.PathError
	if err == nil || errors.Is(err, access.ErrNotFound) || errors.Is(err, access.ErrExists) || errors.As(err, &onDisk) {
		return err
	}
	return badRequest(http.StatusUnprocessableEntity, err.Error(), "")
}

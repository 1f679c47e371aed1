package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

type configIn struct {
	PointIn
	Name string `path:"name" maxLength:"256" pattern:"^[^/\\x00-\\x1f\\x7f]+$" patternDescription:"a name of a file" doc:"The file's name, as the point lists it." example:"domain.xml"`
}

// registerConfig adds the files of configurations.
func (s *Server) registerConfig() {
	op := operationOf(s, "read-config", http.MethodGet, "/vaults/{vault}/machines/{machine}/points/{point}/config/{name}", "points", "Read a file of a configuration",
		"A file of the machine's configuration as the point holds it: its definition, NVRAM and the like.", access.Read)
	raw := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	op.Responses["200"] = &huma.Response{Description: "The file.", Content: raw}
	huma.Register(s.api, op, func(ctx context.Context, in *configIn) (*stream, error) {
		c := s.begin(ctx, "read-config")
		content, err := c.readConfig(ctx, in)
		if err != nil {
			c.end(true, err)
			return nil, failure{c.explain(err)}
		}
		c.read()
		return &stream{func(hc huma.Context) {
			hc.SetHeader("Content-Type", "application/octet-stream")
			hc.SetHeader("Cache-Control", "no-store")
			hc.SetStatus(http.StatusOK)
			hc.BodyWriter().Write(content) // a client that is gone needs none
		}}, nil
	})
}

func (c *call) readConfig(ctx context.Context, in *configIn) ([]byte, error) {
	c.entry.Object = in.Point + " " + in.Name
	if err := c.allowed(ctx, access.Read, func() []need { return onMachine(access.Read, in.Vault, &in.Machine) }); err != nil {
		return nil, err
	}
	if c.s.c.ReadConfig == nil {
		return nil, notServed("configurations")
	}
	return c.s.c.ReadConfig(ctx, in.Vault, in.Machine, in.Point, in.Name)
}

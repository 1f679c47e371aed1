package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

// registerMetrics adds what Prometheus reads.
func (s *Server) registerMetrics() {
	op := operationOf(s, "metrics", http.MethodGet, "/metrics", "look", "Metrics for Prometheus",
		"Of all machines; a viewer of some may not read them.", access.See)
	op.Responses["200"] = &huma.Response{Description: "Metrics.", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	huma.Register(s.api, op, func(ctx context.Context, _ *struct{}) (*stream, error) {
		c := s.begin(ctx, "metrics")
		err := c.allowed(ctx, access.See, func() []need { return ofAll(access.See) })
		if err == nil && s.c.Metrics == nil {
			err = notServed("metrics")
		}
		c.end(false, err)
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		return &stream{func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s.c.Metrics.ServeHTTP(w, r)
		}}, nil
	})
}

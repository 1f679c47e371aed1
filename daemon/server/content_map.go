package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// mostRanges are in one answer.
const mostRanges = 16384

// DiskIn names a disk of a point.
type DiskIn struct {
	PointIn
	Disk string `path:"disk" maxLength:"256" pattern:"^[^/\\x00-\\x1f\\x7f]+$" patternDescription:"a name of a disk" doc:"The disk's name." example:"vda"`
}

type mapIn struct {
	DiskIn
	Offset int64 `query:"offset" minimum:"0" doc:"From where on, in bytes." example:"0"`
}

type compareIn struct {
	DiskIn
	WithMachine string `query:"machine" required:"true" pattern:"^[A-Za-z0-9._+-]{1,64}$" patternDescription:"a name or id of a machine" doc:"Name or id of the other point's machine." example:"web1"`
	WithPoint   string `query:"point" required:"true" pattern:"^[A-Za-z0-9:._+-]{1,64}$" patternDescription:"an id or time of a point, or latest" doc:"The other point's id, its time, or latest." example:"latest"`
}

// registerMaps adds what the maps of disks tell, without any of their content.
func (s *Server) registerMaps() {
	add(s, endpoint[mapIn, api.DiskRanges]{id: "map-disk", method: http.MethodGet, path: "/vaults/{vault}/machines/{machine}/points/{point}/disks/{disk}/map", tag: "points",
		summary: "Say where a disk holds data", text: "Ranges that hold data, ascending; the rest are zeros. An answer goes as far as until: ask again from there on.",
		may: access.Read, answer: api.DiskRanges{Size: 10 << 30, BlockSize: 65536, Ranges: []api.Range{{Offset: 0, Length: 1 << 20}}, Until: 10 << 30},
		needs: func(in *mapIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *mapIn) (api.DiskRanges, error) {
			c.entry.Object = in.Point + " " + in.Disk
			if s.c.MapDisk == nil {
				return api.DiskRanges{}, notServed("maps of disks")
			}
			m, err := s.c.MapDisk(ctx, in.Vault, in.Machine, in.Point, in.Disk, in.Offset, mostRanges)
			m.Ranges = notNil(m.Ranges)
			return m, err
		}})

	op := operationOf(s, "compare-disk", http.MethodGet, "/vaults/{vault}/machines/{machine}/points/{point}/disks/{disk}/diff", "points", "Say where a disk differs between two points",
		"Each line of the answer is a range that differs, ascending and in whole blocks; the last is `{\"end\":true}`, or holds the problem for which there is no end. "+
			"It takes the permission for both machines.", access.Read)
	op.Responses["200"] = &huma.Response{Description: "The ranges.", Content: map[string]*huma.MediaType{"application/x-ndjson": {
		Schema:  s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.DiskDifference](), true, "DiskDifference"),
		Example: "{\"offset\":0,\"length\":65536}\n{\"end\":true}\n"}}}
	huma.Register(s.api, op, func(ctx context.Context, in *compareIn) (*stream, error) {
		c := s.begin(ctx, "compare-disk")
		err := c.mayCompare(ctx, in)
		c.end(false, err)
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		return &stream{func(hc huma.Context) { s.compare(hc, c, in) }}, nil
	})
}

func (c *call) mayCompare(ctx context.Context, in *compareIn) error {
	c.entry.Object = in.Point + " " + in.Disk
	err := c.allowed(ctx, access.Read, func() []need {
		return append(onMachine(access.Read, in.Vault, &in.Machine), onMachine(access.Read, in.Vault, &in.WithMachine)...)
	})
	if err == nil && c.s.c.CompareDisk == nil {
		err = notServed("comparing disks")
	}
	return err
}

// compare writes where disks differ. What is wrong before the first line is a problem by itself.
func (s *Server) compare(hc huma.Context, c *call, in *compareIn) {
	began := false
	lines := json.NewEncoder(hc.BodyWriter())
	line := func(d api.DiskDifference) error {
		if !began {
			began = true
			hc.SetHeader("Content-Type", "application/x-ndjson")
			hc.SetHeader("Cache-Control", "no-store")
			hc.SetStatus(http.StatusOK)
		}
		return lines.Encode(d)
	}
	a, b := api.PointRef{Machine: in.Machine, Point: in.Point}, api.PointRef{Machine: in.WithMachine, Point: in.WithPoint}
	err := s.c.CompareDisk(hc.Context(), in.Vault, a, b, in.Disk, func(r api.Range) error {
		return errors.Join(line(api.DiskDifference{Range: &r}), hc.Context().Err())
	})
	switch {
	case err == nil:
		line(api.DiskDifference{End: true}) // a client that is gone needs no end
	case began:
		line(api.DiskDifference{Problem: c.explain(err)})
	default:
		p := c.explain(err)
		hc.SetHeader("Content-Type", "application/problem+json")
		hc.SetHeader("Cache-Control", "no-store")
		hc.SetStatus(p.Status)
		lines.Encode(p)
	}
}

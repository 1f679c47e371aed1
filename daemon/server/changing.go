package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// long is for what reads maps, or asks virtual machines, before it answers.
const long = 10 * time.Minute

type changePointsIn struct {
	VaultIn
	Body api.PointsRequest
}

type giveUpIn struct {
	VaultIn
	Body api.PointRef
}

// Resolve refuses names that cannot be any.
func (in *changePointsIn) Resolve(ctx huma.Context) []error {
	return append(in.VaultIn.Resolve(ctx), checkRefs(in.Body.Points)...)
}

// Resolve refuses names that cannot be any.
func (in *giveUpIn) Resolve(ctx huma.Context) []error {
	return append(in.VaultIn.Resolve(ctx), checkRefs([]api.PointRef{in.Body})...)
}

func checkRefs(points []api.PointRef) []error {
	for _, p := range points {
		if !isMachine(p.Machine) || !isPoint(p.Point) {
			return []error{&huma.ErrorDetail{Location: "body", Message: "a point is named by machine (a name or id) and point (an id, a time or latest)"}}
		}
	}
	return nil
}

func (s *Server) registerChanging() {
	add(s, endpoint[changePointsIn, []api.PointChange]{id: "change-points", method: http.MethodPost, path: "/vaults/{vault}/points/change", tag: "points",
		summary: "Delete, undelete, lock or note points",
		text:    "All of them, or none when one is not found. Deleting moves them into the trash. Deleting and undeleting take the permission `delete`, locking `lock`, noting `backup`, on the machine of each point.",
		may:     access.See, audited: true, limit: long,
		request: api.PointsRequest{Change: api.DeletePoint, Points: []api.PointRef{{Machine: "web1", Point: "latest"}}},
		answer:  []api.PointChange{{Point: examplePoint}},
		do: func(ctx context.Context, c *call, in *changePointsIn) ([]api.PointChange, error) {
			r := &in.Body
			c.entry.Vault, c.entry.Object = in.Vault, objectOf(r.Change, r.Points)
			what, known := map[string]access.Permission{api.DeletePoint: access.Delete, api.UndeletePoint: access.Delete,
				api.LockPoint: access.Lock, api.NotePoint: access.Backup}[r.Change]
			if !known || len(r.Points) == 0 || len(r.Points) > 10000 {
				return nil, badRequest(422, "name a change (delete, undelete, lock or note) and 1 to 10000 points", "")
			}
			if err := c.allowed(ctx, what, func() []need { return onEach(what, in.Vault, r.Points) }); err != nil {
				return nil, err
			}
			list, err := s.c.Operations.ChangePoints(ctx, in.Vault, *r)
			return notNil(list), err
		}})
	add(s, endpoint[giveUpIn, api.PointChange]{id: "give-up-point", method: http.MethodPost, path: "/vaults/{vault}/points/give-up", tag: "points",
		summary: "Give up a damaged point", text: "Drops a point that cannot be read whole, for good, so that the rest can be swept.",
		may: access.Delete, audited: true, limit: long,
		request: api.PointRef{Machine: "web1", Point: "p01c7p2q9"}, answer: api.PointChange{Point: examplePoint},
		needs: func(in *giveUpIn) []need { return onMachine(access.Delete, in.Vault, &in.Body.Machine) },
		do: func(ctx context.Context, c *call, in *giveUpIn) (api.PointChange, error) {
			c.entry.Object = in.Body.Point
			return s.c.Operations.GiveUpPoint(ctx, in.Vault, in.Body)
		}})
}

// objectOf names what a change is about, for the audit log.
func objectOf(change string, points []api.PointRef) string {
	text := firstBytes(change, 20)
	for _, p := range points {
		text += " " + p.Machine + "@" + p.Point
		if len(text) > 900 {
			return text + " ..."
		}
	}
	return text
}

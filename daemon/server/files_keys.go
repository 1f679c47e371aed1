package server

import (
	"context"
	"net/http"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type unlockIn struct {
	PointIn
	Body struct {
		Passphrases []string `json:"passphrases,omitempty" maxItems:"8" doc:"Passphrases of encrypted volumes."`
		KeyFiles    []string `json:"key_files,omitempty" maxItems:"8" doc:"Contents of key files, in base64."`
	}
}

// registerKeys adds what opens encrypted volumes, and closes them. What is sent is in no log.
func (s *Server) registerKeys() {
	add(s, endpoint[unlockIn, api.GuestVolumes]{id: "unlock-guest", method: http.MethodPost, path: ofPoint + "/unlock", tag: "files",
		summary: "Open encrypted volumes of a guest", text: "For the caller alone, with passphrases and key files that are kept in memory as long as the volumes are open: until the caller did not use them for ten minutes. " +
			"The answer lists the volumes by then; what is open is read like any other.",
		may: access.Read, audited: true, limit: long, answer: exampleVolumes,
		request: map[string]any{"passphrases": []string{"correct horse battery staple"}},
		needs:   func(in *unlockIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *unlockIn) (api.GuestVolumes, error) {
			if wait := s.guesses.Wait(c.who.Name); wait > 0 {
				return api.GuestVolumes{}, tooMany(nil, wait, "too many passphrases were wrong")
			}
			defer c.always()
			return ofGuest(c, in.at(), func(f Files, at api.GuestAt) (api.GuestVolumes, string, string, error) {
				v, err := f.UnlockGuest(ctx, at, api.GuestKeys{Passphrases: in.Body.Passphrases, KeyFiles: in.Body.KeyFiles})
				if err != nil && ctx.Err() == nil {
					s.guesses.Failed(c.who.Name)
				}
				return v, v.Point, "", err
			})
		}})
	add(s, endpoint[PointIn, done]{id: "lock-guest", method: http.MethodPost, path: ofPoint + "/lock", tag: "files",
		summary: "Close encrypted volumes of a guest", text: "Lets go of what the caller had opened with unlock, and of its keys. What is being read of them is read to its end.",
		may: access.Read, audited: true,
		needs: func(in *PointIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *PointIn) (done, error) {
			defer c.always()
			return ofGuest(c, in.at(), func(f Files, at api.GuestAt) (done, string, string, error) {
				return done{}, "", "", f.LockGuest(ctx, at)
			})
		}})
}

// always has the audit log say of this call that it was done, however lately another one was.
func (c *call) always() { c.quiet = false }

package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// PointIn names a point of a machine.
type PointIn struct {
	MachineIn
	Point string `path:"point" pattern:"^[A-Za-z0-9:._+-]{1,64}$" patternDescription:"an id or time of a point, or latest" doc:"The point's id, its time, or latest." example:"latest"`
}

// GuestIn names a file or folder of a guest.
type GuestIn struct {
	PointIn
	Volume   string `query:"volume" maxLength:"256" doc:"The volume that the path lies in, by its name; missing: the guest's root, put together from its fstab." example:"vda1"`
	Path     string `query:"path" maxLength:"16384" doc:"The path, percent-encoded byte by byte: names of guests may be no UTF-8. Links are followed within the guest. Missing: the top." example:"/etc"`
	NoFollow bool   `query:"no_follow" doc:"Where the last name is a link, the link itself is meant."`
}

// Resolve refuses what no guest has.
func (g *GuestIn) Resolve(ctx huma.Context) []error {
	errs := g.VaultIn.Resolve(ctx)
	if u := ctx.URL(); u.RawQuery != "" {
		if _, err := url.ParseQuery(u.RawQuery); err != nil { // a path that is not understood is not the top
			errs = append(errs, &huma.ErrorDetail{Location: "query", Message: "is not percent-encoded as it must be"})
		}
	}
	if strings.ContainsRune(g.Path, 0) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.path", Message: "no name holds a zero byte"})
	}
	if !printable(g.Volume) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.volume", Message: "is no name of a volume"})
	}
	return errs
}

var _ huma.Resolver = (*GuestIn)(nil)

// at is what is asked for. The machine is the one that the caller may read, by then.
func (p *PointIn) at() api.GuestAt {
	return api.GuestAt{Vault: p.Vault, PointRef: api.PointRef{Machine: p.Machine, Point: p.Point}}
}

func (g *GuestIn) at() api.GuestAt {
	at := g.PointIn.at()
	at.Volume, at.Path, at.NoFollow = g.Volume, g.Path, g.NoFollow
	return at
}

type folderIn struct {
	GuestIn
	After string `query:"after" maxLength:"8192" doc:"What the page before has as next; missing: the first page."`
	Limit int    `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many entries; 0: 1000."`
}

// ofPoint is the address of a point, below which what is of its guest lies.
const ofPoint = "/vaults/{vault}/machines/{machine}/points/{point}"

// registerFiles adds what can be asked of the files of guests: each takes the permission to read contents of the
// machine, goes through ofGuest, and is in the audit log.
func (s *Server) registerFiles() {
	add(s, endpoint[PointIn, api.GuestVolumes]{id: "list-volumes", method: http.MethodGet, path: ofPoint + "/volumes", tag: "files",
		summary: "List the volumes of a guest", text: "Partitions, arrays and logical volumes on the disks of a point, what each holds, and where the guest has it mounted. What cannot be read is listed, too, with what to do instead.",
		may: access.Read, audited: true, answer: exampleVolumes,
		needs: func(in *PointIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *PointIn) (api.GuestVolumes, error) {
			return ofGuest(c, in.at(), func(f Files, at api.GuestAt) (api.GuestVolumes, string, string, error) {
				v, err := f.GuestVolumes(ctx, at)
				return v, v.Point, "", err
			})
		}})
	add(s, endpoint[folderIn, api.GuestFolder]{id: "list-folder", method: http.MethodGet, path: ofPoint + "/files", tag: "files",
		summary: "List a folder of a guest", text: "A page of the entries of a folder, sorted by the bytes of their names. Ask with `after` for the next one; a point given as `latest` must be named by its id then. " +
			"Entries that cannot be looked at have an `error`. Pages of one folder are in the audit log once in a few minutes.",
		may: access.Read, audited: true, answer: exampleFolder,
		needs: func(in *folderIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *folderIn) (api.GuestFolder, error) {
			return ofGuest(c, in.at(), func(f Files, at api.GuestAt) (api.GuestFolder, string, string, error) {
				v, err := f.GuestFolder(ctx, at, api.FolderPage{After: in.After, Limit: in.Limit})
				return v, v.Point, exactPath(&v.Folder), err
			})
		}})
	add(s, endpoint[GuestIn, api.GuestFile]{id: "show-file", method: http.MethodGet, path: ofPoint + "/files/stat", tag: "files",
		summary: "Describe a file or folder of a guest", text: "What stat(1) would say there.",
		may: access.Read, audited: true, answer: exampleFile,
		needs: func(in *GuestIn) []need { return onMachine(access.Read, in.Vault, &in.Machine) },
		do: func(ctx context.Context, c *call, in *GuestIn) (api.GuestFile, error) {
			return ofGuest(c, in.at(), func(f Files, at api.GuestAt) (api.GuestFile, string, string, error) {
				v, err := f.GuestFile(ctx, at)
				return v, v.Point, exactPath(&v), err
			})
		}})
	s.registerKeys()
	s.registerDownloads()
}

// ofGuest asks for something of a guest, and says in the audit log what that was: the point's id and the path without
// links, where they are known by then.
func ofGuest[T any](c *call, at api.GuestAt, ask func(f Files, at api.GuestAt) (answer T, point, path string, err error)) (T, error) {
	var none T
	c.entry.Object = guestObject(at)
	if c.s.c.Files == nil {
		return none, notServed("files of guests")
	}
	_, leave, ok := c.s.browse.enter(c.who.Name)
	if !ok {
		return none, tooMany(nil, time.Second, "too much is asked of guests' files at once")
	}
	defer leave()
	answer, point, path, err := ask(c.s.c.Files, at)
	if err != nil {
		return none, err
	}
	if point != "" {
		at.Point = point
	}
	if path != "" {
		at.Path = path
	}
	c.looked(at)
	return answer, nil
}

// looked notes what was found. The same, asked for again by the same caller, is in the audit log once in a few minutes.
func (c *call) looked(at api.GuestAt) {
	c.entry.Object = guestObject(at)
	c.quiet = !c.s.reads.first(strings.Join([]string{c.who.Name, c.entry.Action, c.entry.Vault, c.entry.Machine, c.entry.Object}, "\n"), c.entry.Said, time.Now())
}

// exactPath is the path of a file in the guest's bytes, as far as a person can read them.
func exactPath(f *api.GuestFile) string {
	if f.PathEscaped != "" {
		return f.PathEscaped
	}
	return f.Path
}

// longestObject is less than what the audit log cuts off, in bytes.
const longestObject = 960

// guestObject is how the audit log names what is asked for. A long path loses its middle: its end says most.
func guestObject(at api.GuestAt) string {
	path := at.Path
	if !printable(path) {
		path = api.EscapePath(path)
	}
	text := at.Point
	switch {
	case at.Volume != "":
		text += " " + at.Volume + ":" + path
	case path != "":
		text += " " + path
	}
	if len(text) > longestObject {
		text = strings.ToValidUTF8(text[:longestObject/3]+" ... "+text[len(text)-longestObject*2/3:], "")
	}
	return text
}

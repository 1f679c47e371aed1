package catalogue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const formatVersion = 1

// Head is what a catalogue says first of itself.
type Head struct {
	Version int                  `json:"version"`
	Point   blockstore.PointID   `json:"point"`
	Machine blockstore.MachineID `json:"machine"`
	Base    string               `json:"base,omitempty"` // id of what it differs from; missing: it is whole
	Made    time.Time            `json:"made"`
}

// Summary is what a catalogue says last of itself.
type Summary struct {
	Changes int64    `json:"changes"` // entries in it
	Names   int64    `json:"names"`   // that the point has, in all trees
	Trees   []Tree   `json:"trees"`
	Unread  []Unread `json:"unread"` // what is listed as it was before, if at all
	Keys    bool     `json:"keys"`   // encrypted volumes were opened for it
}

// Tree is the guest's root, whose name is empty, or a volume that it does not reach.
type Tree struct {
	Name string `json:"name"`
	// Volumes are those whose files are in it, each where it was met first.
	Volumes []Mounted `json:"volumes"`
}

// Mounted is a volume in a tree.
type Mounted struct {
	Volume string `json:"volume"`
	Key    []byte `json:"key"` // of its top
}

// Unread is something that could not be read at the point.
type Unread struct {
	Key []byte `json:"key"` // of it; what is below it is not read either
	Why string `json:"why"`

	// Remote: it lies on another machine, and will not be there at other points either.
	Remote bool `json:"remote,omitempty"`
}

// maxUnread is how much of a point may be unreadable before it has no catalogue at all.
const maxUnread = 2000

// maxWhy bounds a reason.
const maxWhy = 120

// Path is how the tree and the path are shown.
func (u Unread) Path() string {
	tree, path := splitKey(u.Key)
	return Shown(tree, path)
}

// Shown is how a path of a tree is written: as in the guest, or behind the volume's name.
func Shown(tree, path string) string {
	if tree == "" {
		return path
	}
	return tree + ":" + path
}

func encodeJSON(kind byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) >= blockstore.MaxCatalogueFrame {
		return nil, fmt.Errorf("too much of the point cannot be read to be listed")
	}
	return append([]byte{kind}, b...), nil
}

func decodeJSON(kind byte, frame []byte, v any) error {
	if len(frame) == 0 || frame[0] != kind {
		return damaged("a frame of another kind where %c belongs", kind)
	}
	if err := json.Unmarshal(frame[1:], v); err != nil {
		return damaged("%v", err)
	}
	return nil
}

// checkHead compares what a catalogue says of itself with its name.
func checkHead(frame []byte, c blockstore.Catalogue) (h Head, err error) {
	if err := decodeJSON(headFrame, frame, &h); err != nil {
		return h, err
	}
	switch {
	case h.Version != formatVersion:
		return h, fmt.Errorf("a catalogue of version %d, this program knows %d: %w", h.Version, formatVersion, blockstore.ErrVersion)
	case h.Point != c.Point || h.Machine != c.Machine || h.Base != baseText(c.Base):
		return h, damaged("it is the catalogue of point %.20s", h.Point)
	}
	return h, nil
}

func baseText(id blockstore.CatalogueID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

package blockstore

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// MaxCatalogueFrame is how many bytes one frame of a catalogue has at most.
const MaxCatalogueFrame = 512 << 10

// ErrCatalogue reports a catalogue that is lost or damaged. Nothing is lost with it:
// it is built again from its point.
var ErrCatalogue = errors.New("this catalogue of names cannot be used")

// CatalogueID names one catalogue: 16 random bytes.
type CatalogueID pack.ID

// String returns the ID as 32 hexadecimal digits.
func (id CatalogueID) String() string { return pack.ID(id).String() }

// IsZero tells the ID that no catalogue has.
func (id CatalogueID) IsZero() bool { return id == CatalogueID{} }

// Catalogue is a file beside a point that lists the names of the guest's files in it,
// whole or as what differs from the catalogue of an older point. What its frames hold
// is the business of who builds it. It is never needed to restore anything, may be
// removed at any time, and is not copied into other vaults.
type Catalogue struct {
	Machine MachineID
	Seq     uint64 // of its point
	Point   PointID
	ID      CatalogueID
	Base    CatalogueID // what it differs from; zero: it is whole
}

// catalogueName is what follows the number in a catalogue's name: point, id, base.
var catalogueName = regexp.MustCompile(`^p[0-9a-f]{16}-[0-9a-f]{32}-[0-9a-f]{32}$`)

func (c Catalogue) path() string {
	name := numbered(c.Seq, fmt.Sprintf("%s-%s-%s", c.Point, c.ID, c.Base))
	return path.Join(cataloguesDir, string(c.Machine), name)
}

func parseCatalogue(m MachineID, name string) (c Catalogue, ok bool) {
	seq, rest, ok := parseNumbered(name)
	if !ok || !catalogueName.MatchString(rest) {
		return c, false
	}
	parts := strings.Split(rest, "-")
	id, err := pack.ParseID(parts[1])
	base, err2 := pack.ParseID(parts[2])
	c = Catalogue{Machine: m, Seq: seq, Point: PointID(parts[0]), ID: CatalogueID(id), Base: CatalogueID(base)}
	return c, err == nil && err2 == nil && !c.ID.IsZero() && path.Base(c.path()) == name
}

// Catalogues are those of one machine, in the order of their points.
type Catalogues []Catalogue

// Catalogues lists the catalogues of a machine. None of them is opened.
func (v *Vault) Catalogues(m MachineID) (Catalogues, error) {
	names, err := v.dir.List(path.Join(cataloguesDir, string(m)))
	if err != nil {
		return nil, fmt.Errorf("catalogues of machine %s: %w", m, err)
	}
	var all Catalogues
	for _, name := range names {
		if c, ok := parseCatalogue(m, name); ok {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b Catalogue) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return all, nil
}

// Chains tells for each point that has a catalogue what it takes to read that: the whole
// one first, then what builds on it, up to the point's own. A catalogue of which any of
// these is not there is of no use, and left out. Of several for one point, which nobody
// makes on purpose, one is chosen.
func (all Catalogues) Chains() map[PointID]Catalogues {
	byID := make(map[CatalogueID]Catalogue, len(all))
	for _, c := range all {
		byID[c.ID] = c
	}
	chains := make(map[PointID]Catalogues, len(all))
	for _, c := range all {
		chain := chainOf(c, byID)
		if old := chains[c.Point]; chain != nil && (old == nil || len(chain) < len(old)) {
			chains[c.Point] = chain
		}
	}
	return chains
}

// maxChain bounds how many catalogues one may take to read; names may say anything.
const maxChain = 1 << 10

func chainOf(c Catalogue, byID map[CatalogueID]Catalogue) (chain Catalogues) {
	for {
		chain = append(chain, c)
		if c.Base.IsZero() {
			slices.Reverse(chain)
			return chain
		}
		next, ok := byID[c.Base]
		if !ok || len(chain) == maxChain {
			return nil
		}
		c = next
	}
}

// With returns some catalogues and all that build on them, which are of no use without.
func (all Catalogues) With(some Catalogues) (list Catalogues) {
	byID := make(map[CatalogueID]Catalogue, len(all))
	for _, c := range all {
		byID[c.ID] = c
	}
	meant := make(map[CatalogueID]bool, len(all)) // also those that are not
	for _, c := range some {
		meant[c.ID] = true
	}
	for _, c := range all {
		var below []CatalogueID
		is := false
		for at, more := c, true; more && len(below) < maxChain; at, more = byID[at.Base] {
			known, looked := meant[at.ID]
			if is = known; looked {
				break
			}
			below = append(below, at.ID)
		}
		for _, id := range below {
			meant[id] = is
		}
		if meant[c.ID] {
			list = append(list, c)
		}
	}
	return list
}

// needed are the catalogues that the points which are alive take.
func (all Catalogues) needed(alive func(PointID) bool) map[CatalogueID]bool {
	needed := map[CatalogueID]bool{}
	for point, chain := range all.Chains() {
		if alive(point) {
			for _, c := range chain {
				needed[c.ID] = true
			}
		}
	}
	return needed
}

package blockstore

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Where things lie in a vault; FORMAT.md describes each.
const (
	vaultDir      = "VAULT"
	packsDir      = "packs"
	segmentsDir   = "segments"
	pointsDir     = "points"
	attrsDir      = "attrs"
	damagedDir    = "damaged"
	machinesDir   = "machines"
	policiesDir   = "policies"
	writersDir    = "writers"
	clockDir      = "clock"
	holdsDir      = "holds"
	heldDir       = "held"
	cataloguesDir = "catalogues"
	indexDir      = "index"
	readmeFile    = "README.txt"
)

func packPath(w WriterID, id pack.ID) string {
	s := id.String()
	return path.Join(packsDir, string(w), s[:2], s)
}

func ownerPath(w WriterID) string { return path.Join(writersDir, string(w), "OWNER") }

// numbered is a name that sorts by number: eight digits and something that
// makes it unique.
func numbered(n uint64, rest string) string { return fmt.Sprintf("%08d-%s", n, rest) }

// parseNumbered takes a numbered name apart.
func parseNumbered(name string) (n uint64, rest string, ok bool) {
	digits, rest, ok := strings.Cut(name, "-")
	if !ok || len(digits) < 8 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, rest, err == nil
}

func pointPath(m MachineID, seq uint64, id PointID) string {
	return path.Join(pointsDir, string(m), numbered(seq, string(id)))
}

func attrPath(m MachineID, p PointID, seq uint64) string {
	return path.Join(attrsDir, string(m), string(p), numbered(seq, randomHex(4)))
}

func machinePath(m MachineID, generation uint64) string {
	return path.Join(machinesDir, string(m), numbered(generation, randomHex(4)))
}

func policyPath(p PolicyID, generation uint64) string {
	return path.Join(policiesDir, string(p), numbered(generation, randomHex(4)))
}

func segmentPath(w WriterID, seq uint64) string {
	return path.Join(segmentsDir, string(w), numbered(seq, randomHex(4)))
}

func clockPath(seq uint64) string { return path.Join(clockDir, numbered(seq, randomHex(4))) }

func damagePath(p pack.ID, ordinal uint32) string {
	return path.Join(damagedDir, p.String(), numbered(uint64(ordinal), randomHex(4)))
}

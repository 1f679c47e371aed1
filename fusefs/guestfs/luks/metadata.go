package luks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the JSON of version 2.
const (
	maxSlots   = 32
	maxDigests = 32
	maxSalt    = 512
	maxDigest  = 512
)

// metadata is the JSON of version 2, as far as reading needs it. Numbers of 64 bits are
// texts there.
type metadata struct {
	Keyslots map[string]keyslot2 `json:"keyslots"`
	Segments map[string]segment2 `json:"segments"`
	Digests  map[string]digest2  `json:"digests"`
	Config   struct {
		Requirements json.RawMessage `json:"requirements"`
	} `json:"config"`
}

type keyslot2 struct {
	Type     string `json:"type"`
	KeySize  int    `json:"key_size"`
	Priority *int   `json:"priority"` // 0: not to be tried, 1, 2: to be tried first
	AF       struct {
		Type    string `json:"type"`
		Hash    string `json:"hash"`
		Stripes int    `json:"stripes"`
	} `json:"af"`
	Area struct {
		Type       string `json:"type"`
		Offset     string `json:"offset"`
		Encryption string `json:"encryption"`
		KeySize    int    `json:"key_size"`
	} `json:"area"`
	KDF struct {
		Type       string `json:"type"`
		Salt       string `json:"salt"`
		Hash       string `json:"hash"`
		Iterations int64  `json:"iterations"`
		Time       int64  `json:"time"`
		Memory     int64  `json:"memory"` // KiB
		CPUs       int64  `json:"cpus"`
	} `json:"kdf"`
}

type segment2 struct {
	Type       string          `json:"type"`
	Offset     string          `json:"offset"`
	Size       string          `json:"size"` // or "dynamic": to the end
	IVTweak    string          `json:"iv_tweak"`
	Encryption string          `json:"encryption"`
	SectorSize int64           `json:"sector_size"`
	Integrity  json.RawMessage `json:"integrity"`
	Flags      []string        `json:"flags"`
}

type digest2 struct {
	Type       string   `json:"type"`
	Keyslots   []string `json:"keyslots"`
	Segments   []string `json:"segments"`
	Salt       string   `json:"salt"`
	Digest     string   `json:"digest"`
	Hash       string   `json:"hash"`
	Iterations int64    `json:"iterations"`
}

func (h *Header) fill(m *metadata) error {
	if len(m.Keyslots) > maxSlots || len(m.Segments) > maxSlots || len(m.Digests) > maxDigests {
		return corrupt(binarySize, "it has %d key slots, %d segments and %d digests", len(m.Keyslots), len(m.Segments), len(m.Digests))
	}
	name, err := h.fillSegment(m)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(m.Digests)) {
		d := m.Digests[id]
		if !slices.Contains(d.Segments, name) || d.Type != "pbkdf2" {
			continue
		}
		salt, want := decode64(d.Salt, maxSalt), decode64(d.Digest, maxDigest)
		if salt == nil || len(want) < 16 {
			return corrupt(binarySize, "its digest %s is none", id)
		}
		h.digests = append(h.digests, digest{append([]string{}, d.Keyslots...), kdf{kind: "pbkdf2", hash: d.Hash, salt: salt, rounds: d.Iterations}, want})
	}
	h.fillSlots(m)
	return nil
}

// fillSlots takes the slots in the order in which they are to be tried.
func (h *Header) fillSlots(m *metadata) {
	priority := func(id string) int {
		if p := m.Keyslots[id].Priority; p != nil {
			return *p
		}
		return 1
	}
	ids := slices.Sorted(maps.Keys(m.Keyslots))
	slices.SortStableFunc(ids, func(a, b string) int { return priority(b) - priority(a) })
	for _, id := range ids {
		k := m.Keyslots[id]
		if k.Type != "luks2" || priority(id) <= 0 {
			continue // reencryption keeps its state in slots, too
		}
		off, err := strconv.ParseInt(k.Area.Offset, 10, 64)
		s := slot{name: id, hash: k.AF.Hash, stripes: k.AF.Stripes, key: k.KeySize, off: off, cipher: k.Area.Encryption, areaKey: k.Area.KeySize,
			kdf: kdf{k.KDF.Type, k.KDF.Hash, decode64(k.KDF.Salt, maxSalt), k.KDF.Iterations, k.KDF.Time, k.KDF.Memory << 10, k.KDF.CPUs}}
		switch {
		case err != nil || k.AF.Type != "luks1" || k.Area.Type != "raw":
			s.broken = fmt.Errorf("key slot %s is of a kind that is not known", id)
		case k.KDF.Memory < 0 || k.KDF.Memory > 1<<40 || s.kdf.salt == nil:
			s.broken = fmt.Errorf("key slot %s derives its key in a way that is not possible", id)
		default:
			s.broken = s.check(h.size)
		}
		h.slots = append(h.slots, s)
	}
}

// fillSegment finds the one segment that holds the data, and says why it cannot be
// read where it cannot.
func (h *Header) fillSegment(m *metadata) (name string, err error) {
	var names []string
	for _, id := range slices.Sorted(maps.Keys(m.Segments)) {
		backup := slices.ContainsFunc(m.Segments[id].Flags, func(f string) bool { return strings.HasPrefix(f, "backup-") })
		if !backup {
			names = append(names, id)
		}
	}
	if needs := requirements(m.Config.Requirements); needs != "" {
		h.refused = unsupported("%s", needs)
	} else if len(names) != 1 {
		h.refused = unsupported("its data lies in %d segments, as while it is being reencrypted", len(names))
	}
	if len(names) == 0 {
		return "", nil
	}
	s := m.Segments[names[0]]
	switch {
	case h.refused != nil:
	case s.Type != "crypt":
		h.refused = unsupported("its data is of kind %.40q", s.Type)
	case len(s.Integrity) > 0:
		h.refused = unsupported("its sectors are authenticated (dm-integrity)")
	case slices.Contains(s.Flags, "in-reencryption"):
		h.refused = unsupported("it is being reencrypted")
	}
	if h.refused != nil {
		return names[0], nil
	}
	return names[0], h.place(s)
}

func (h *Header) place(s segment2) error {
	off, err1 := strconv.ParseInt(s.Offset, 10, 64)
	iv, err2 := strconv.ParseUint(s.IVTweak, 10, 64)
	if err1 != nil || err2 != nil || off < 2*sizes2[0] || off >= h.size {
		return corrupt(binarySize, "its data would begin at %.40q of %d", s.Offset, h.size)
	}
	length := h.size - off
	if s.Size != "dynamic" {
		n, err := strconv.ParseInt(s.Size, 10, 64)
		if err != nil || !inside(off, n, h.size) {
			return corrupt(binarySize, "its data would have %.40q of %d bytes", s.Size, h.size)
		}
		length = n
	}
	switch s.SectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return corrupt(binarySize, "sectors of %d bytes are not possible", s.SectorSize)
	}
	h.data = segment{off, length &^ (s.SectorSize - 1), s.Encryption, s.SectorSize, iv}
	return nil
}

// requirements says what a reader would have to know, in words; "" for nothing.
func requirements(raw json.RawMessage) string {
	var r struct {
		Mandatory []string `json:"mandatory"`
	}
	if len(raw) == 0 {
		return ""
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return "it has requirements that are not known"
	}
	if slices.ContainsFunc(r.Mandatory, func(m string) bool { return strings.Contains(m, "reencrypt") }) {
		return "it is being reencrypted, and holds data under two keys"
	}
	if len(r.Mandatory) > 0 {
		return fmt.Sprintf("it requires %.40q, which is not known", r.Mandatory[0])
	}
	return ""
}

// decode64 is nil for what is no text of so many bytes at most.
func decode64(s string, most int) []byte {
	if len(s) > 2*most {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > most {
		return nil
	}
	return b
}

package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// A token's secret is hf_ID_KEY: 8 bytes that find it and 32 random bytes that prove it,
// in hexadecimal. A hash without salt or work is enough for 256 random bits.
const (
	idBytes  = 8
	keyBytes = 32
	prefix   = "hf_"
)

// token is a token as it is kept.
type token struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`   // hexadecimal
	Hash    string    `json:"hash"` // SHA-256 of the key's bytes, hexadecimal
	Created api.Time  `json:"created"`
	By      string    `json:"by"`
	Expires *api.Time `json:"expires,omitempty"`
}

// use is when and from where a token was last used.
type use struct {
	Time time.Time `json:"time"`
	From string    `json:"from"`
}

func (t *token) sound() bool {
	id, err := hex.DecodeString(t.ID)
	hash, hashErr := hex.DecodeString(t.Hash)
	return err == nil && hashErr == nil && len(id) == idBytes && len(hash) == sha256.Size
}

func (t *token) expired(now time.Time) bool { return t.Expires != nil && !now.Before(t.Expires.Time) }

// CreateToken makes a token with a grant of its own, and returns its secret, which is kept
// nowhere. by is who asked for it.
func (s *Store) CreateToken(r api.TokenRequest, by string) (api.NewToken, error) {
	if !plainName(r.Name) {
		return api.NewToken{}, fmt.Errorf("%.40q is no name of a token: up to 64 of letters, digits and . _ + -", r.Name)
	}
	now := s.o.Now()
	if r.Expires != nil && !now.Before(r.Expires.Time) {
		return api.NewToken{}, fmt.Errorf("the token would have expired at %s, before now", r.Expires.UTC().Format(time.RFC3339))
	}
	grant, err := s.newGrant(api.GrantRequest{Who: "token:" + r.Name, Role: r.Role, Machines: r.Machines}, by)
	if err != nil {
		return api.NewToken{}, err
	}
	id, key := make([]byte, idBytes), make([]byte, keyBytes)
	rand.Read(id) // never fails
	rand.Read(key)
	hash := sha256.Sum256(key)
	t := token{Name: r.Name, ID: hex.EncodeToString(id), Hash: hex.EncodeToString(hash[:]), Created: api.At(now), By: by, Expires: r.Expires}
	err = s.change(func(k *kept) error {
		if slices.ContainsFunc(k.Tokens, func(other token) bool { return other.Name == t.Name }) {
			return fmt.Errorf("token %s %w", t.Name, ErrExists)
		}
		if len(k.Tokens) >= maxTokens {
			return fmt.Errorf("there are %d tokens already: revoke those that are not used", maxTokens)
		}
		k.Tokens = append(k.Tokens, t)
		return k.add(&grant)
	})
	if err != nil {
		return api.NewToken{}, err
	}
	return api.NewToken{Token: s.describe(t, []api.Grant{grant}, use{}), Secret: prefix + t.ID + "_" + hex.EncodeToString(key)}, nil
}

func (s *Store) describe(t token, grants []api.Grant, u use) api.Token {
	d := api.Token{Name: t.Name, Created: t.Created, By: t.By, Expires: t.Expires, Expired: t.expired(s.o.Now()), Grants: grants, LastFrom: u.From}
	if d.Grants == nil {
		d.Grants = []api.Grant{}
	}
	if !u.Time.IsZero() {
		at := api.At(u.Time.Truncate(time.Minute))
		d.LastUsed = &at
	}
	return d
}

// Tokens lists the tokens by name, those that have expired too.
func (s *Store) Tokens() []api.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []api.Token{}
	for _, t := range s.kept.Tokens {
		list = append(list, s.describe(t, s.kept.grantsOf("token:"+t.Name), s.used[t.Name]))
	}
	slices.SortFunc(list, func(a, b api.Token) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// RevokeToken ends a token and its grants, at once.
func (s *Store) RevokeToken(name string) error {
	return s.change(func(k *kept) error {
		n := len(k.Tokens)
		k.Tokens = slices.DeleteFunc(k.Tokens, func(t token) bool { return t.Name == name })
		if len(k.Tokens) == n {
			return fmt.Errorf("token %.64q: %w", name, ErrNotFound)
		}
		k.Grants = slices.DeleteFunc(k.Grants, func(g api.Grant) bool { return g.Who == "token:"+name })
		return nil
	})
}

// Bearer returns who presents a secret, or ErrLogin. from is the address that it comes from.
func (s *Store) Bearer(secret, from string) (*Principal, error) {
	id, key, ok := splitSecret(secret)
	if !ok {
		return nil, ErrLogin
	}
	hash := sha256.Sum256(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	for _, t := range s.kept.Tokens {
		if t.ID != id {
			continue
		}
		known, err := hex.DecodeString(t.Hash)
		if err != nil || subtle.ConstantTimeCompare(known, hash[:]) != 1 || t.expired(now) {
			return nil, ErrLogin
		}
		s.note(t.Name, from, now)
		who := "token:" + t.Name
		return &Principal{Name: who, From: from, names: []string{who}, token: id, grants: s.kept.grantsOf(who)}, nil
	}
	return nil, ErrLogin
}

// splitSecret takes a secret apart. Both parts have but one way to be written.
func splitSecret(s string) (id string, key []byte, ok bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	id, text, cut := strings.Cut(rest, "_")
	if !ok || !cut || len(id) != 2*idBytes || len(text) != 2*keyBytes {
		return "", nil, false
	}
	key, err := hex.DecodeString(text)
	return id, key, err == nil && text == strings.ToLower(text)
}

// note remembers that a token was used. It is written once a minute at most, and lost by a
// crash: it is for people, and never worth a request. s.mu is held.
func (s *Store) note(name, from string, now time.Time) {
	s.used[name] = use{Time: now, From: from}
	if now.Sub(s.flushed) < time.Minute && !now.Before(s.flushed) {
		return
	}
	s.flushed = now
	maps.DeleteFunc(s.used, func(name string, _ use) bool {
		return !slices.ContainsFunc(s.kept.Tokens, func(t token) bool { return t.Name == name })
	})
	if b, err := json.Marshal(s.used); err == nil {
		smallfile.Replace(s.uses, b, 0o600, smallfile.Lightly) // for people only: the next minute tries again
	}
}

// readUses reads when tokens were last used; what cannot be read was not known.
func (s *Store) readUses() {
	b, err := readBounded(s.uses)
	var found map[string]use
	if err == nil && json.Unmarshal(b, &found) == nil && found != nil {
		s.used = found
	}
}

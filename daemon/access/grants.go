package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Grants lists the grants, by whom they are for.
func (s *Store) Grants() []api.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]api.Grant{{Who: "root", Role: string(Admin), Machines: []string{All}, Fixed: true}}, s.groupGrant()...)
	return append(all, slices.Clone(s.kept.Grants)...)
}

// groupGrant is what the configuration gives to the members of the group.
func (s *Store) groupGrant() []api.Grant {
	if s.o.GroupRole == None {
		return nil
	}
	return []api.Grant{{Who: "group:" + s.o.Group, Role: string(s.o.GroupRole), Machines: []string{All}, Fixed: true}}
}

// Grant gives a role; a grant that is there already stays as it is. by is who gave it.
func (s *Store) Grant(r api.GrantRequest, by string) (api.Grant, error) {
	g, err := s.newGrant(r, by)
	if err != nil {
		return g, err
	}
	err = s.change(func(k *kept) error {
		if name, ok := strings.CutPrefix(g.Who, "token:"); ok && !slices.ContainsFunc(k.Tokens, func(t token) bool { return t.Name == name }) {
			return fmt.Errorf("token %s: %w", name, ErrNotFound)
		}
		return k.add(&g)
	})
	return g, err
}

// newGrant makes a grant of a request for one.
func (s *Store) newGrant(r api.GrantRequest, by string) (api.Grant, error) {
	who, err := ParseWho(r.Who)
	if err != nil {
		return api.Grant{}, err
	}
	role, err := parseRole(r.Role)
	if err != nil {
		return api.Grant{}, err
	}
	if len(r.Machines) == 0 {
		r.Machines = []string{All}
	}
	if err := checkGlobs(r.Machines); err != nil {
		return api.Grant{}, err
	}
	since := api.At(s.o.Now())
	return api.Grant{Who: who, Role: string(role), Machines: slices.Clone(r.Machines), Since: &since, By: by}, nil
}

// add adds g, or lets it be the one that says the same already.
func (k *kept) add(g *api.Grant) error {
	for _, old := range k.Grants {
		if old.Who == g.Who && old.Role == g.Role && slices.Equal(old.Machines, g.Machines) {
			*g = old
			return nil
		}
	}
	if len(k.Grants) >= maxGrants {
		return fmt.Errorf("there are %d grants already: grant to a group, or with a glob", maxGrants)
	}
	k.Grants = append(k.Grants, *g)
	slices.SortStableFunc(k.Grants, func(a, b api.Grant) int { return strings.Compare(a.Who, b.Who) })
	return nil
}

// Revoke ends the grants of r.Who, all of them or those of a role and of some globs, and
// returns them. None is an error that is ErrNotFound.
func (s *Store) Revoke(r api.GrantRequest) ([]api.Grant, error) {
	who, err := ParseWho(r.Who)
	if err != nil {
		return nil, err
	}
	var role Role
	if r.Role != "" {
		if role, err = parseRole(r.Role); err != nil {
			return nil, err
		}
	}
	gone := []api.Grant{}
	err = s.change(func(k *kept) error {
		k.Grants = slices.DeleteFunc(k.Grants, func(g api.Grant) bool {
			meant := g.Who == who && (role == "" || Role(g.Role) == role) && (len(r.Machines) == 0 || slices.Equal(g.Machines, r.Machines))
			if meant {
				gone = append(gone, g)
			}
			return meant
		})
		if len(gone) == 0 {
			return fmt.Errorf("a grant of %s like that: %w", who, ErrNotFound)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// grantsOf lists what somebody has who goes by these names. s.mu is held.
func (k *kept) grantsOf(names ...string) []api.Grant {
	var found []api.Grant
	for _, g := range k.Grants {
		if slices.Contains(names, g.Who) {
			found = append(found, g)
		}
	}
	return found
}

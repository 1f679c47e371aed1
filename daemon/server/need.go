package server

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// need is a permission that a request takes.
type need struct {
	what  access.Permission
	vault string
	// machine is the one that it takes the permission for, as the client named it. For a
	// caller who may not see all machines it is replaced by the machine's id, so that
	// no other machine can be meant; nil: all machines.
	machine *string
	byName  bool // it is replaced by the name
	orNew   bool // there may be no machine yet that is called so
}

// allowed refuses what the caller may not do. Of the needs only the machine's name is looked at unless the
// caller has the permission on some machine.
func (c *call) allowed(ctx context.Context, least access.Permission, needs func() []need) error {
	if least != "" && !c.who.MaySome(least) {
		for _, n := range needs() {
			if n.machine != nil {
				return c.refuse(ctx, n)
			}
		}
		return c.who.Refuse(least, "")
	}
	for _, n := range needs() {
		if err := c.allow(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) allow(ctx context.Context, n need) error {
	c.entry.Vault = n.vault
	if n.machine != nil && c.entry.Machine == "" {
		c.entry.Machine = *n.machine
	}
	switch {
	case c.who.MayAll(n.what):
		c.noteName(ctx, n)
		return nil
	case n.machine == nil:
		return c.who.Refuse(n.what, "")
	case !c.who.MaySome(n.what):
		return c.refuse(ctx, n)
	}
	m, err := c.meant(ctx, n)
	if err != nil {
		return err
	}
	if m == nil && n.orNew && c.who.May(n.what, *n.machine) && c.unknown(n.vault, *n.machine) {
		return nil
	}
	if m == nil || !c.who.May(n.what, m.Name) {
		return c.refuse(ctx, n)
	}
	c.callBy(*n.machine, m.Name)
	if *n.machine = m.ID; n.byName {
		*n.machine = m.Name
	}
	c.swapped[m.ID] = m.Name
	return nil
}

// unknown tells whether no machine is called so, of a vault whose machines were listed.
func (c *call) unknown(vault, ref string) bool {
	return !slices.ContainsFunc(c.called[vault], func(m api.Machine) bool { return m.ID == ref || m.Name == ref })
}

// machines lists the machines of a vault, once a request.
func (c *call) machines(ctx context.Context, vault string) ([]api.Machine, error) {
	if list, ok := c.known[vault]; ok {
		return list, nil
	}
	list, err := c.s.c.Operations.Machines(ctx, vault)
	if err == nil {
		c.known[vault] = list
	}
	return list, err
}

// refuse says that a need is not met, so that what would grant it names the machine as grants do, by its name: a caller
// who may see it learns nothing from that.
func (c *call) refuse(ctx context.Context, n need) error {
	c.entry.Vault = n.vault
	if c.entry.Machine == "" {
		c.entry.Machine = *n.machine
	}
	if !c.who.MaySome(access.See) {
		return c.who.Refuse(n.what, *n.machine)
	}
	if m, err := c.meant(ctx, n); err == nil && m != nil && c.who.May(access.See, m.Name) {
		c.callBy(*n.machine, m.Name)
		return c.who.Refuse(n.what, m.Name)
	}
	return c.who.Refuse(n.what, *n.machine)
}

// noteName has the audit log call a machine by its name, when content of it is read, even where
// the permission does not depend on it. Where that cannot be told it is called as the client did.
func (c *call) noteName(ctx context.Context, n need) {
	if n.what != access.Read || n.machine == nil {
		return
	}
	if m, err := c.meant(ctx, n); err == nil && m != nil {
		c.callBy(*n.machine, m.Name)
	}
}

// callBy has the audit log call the machine by its name, if it is the one that the request is about: of
// two it is the first.
func (c *call) callBy(asked, name string) {
	if c.entry.Machine == asked {
		c.entry.Machine = name
	}
}

// machine finds a machine by name or id, as it is now; nil when there is none, or more than one is called so.
func (c *call) machine(ctx context.Context, vault, ref string) (*api.Machine, error) {
	list, err := c.named(ctx, vault)
	if err != nil {
		return nil, err
	}
	return machineOf(list, ref), nil
}

// named lists the machines of a vault, of which ids and names are known.
func (c *call) named(ctx context.Context, vault string) ([]api.Machine, error) {
	if list, ok := c.called[vault]; ok {
		return list, nil
	}
	ask := c.machines
	if c.s.c.Names != nil {
		ask = c.s.c.Names
	}
	list, err := ask(ctx, vault)
	if err == nil {
		c.called[vault] = list
	}
	return list, err
}

// meant finds the machine that a need means. Who reads a disk asks a thousand times a second: that
// machines are called what they were called a moment ago is good enough for it.
func (c *call) meant(ctx context.Context, n need) (*api.Machine, error) {
	if n.what != access.Read {
		return c.machine(ctx, n.vault, *n.machine)
	}
	if m := machineOf(c.s.names.lately(n.vault, time.Now()), *n.machine); m != nil {
		return m, nil
	}
	list, err := c.named(ctx, n.vault)
	if err != nil {
		return nil, err
	}
	c.s.names.note(n.vault, list, time.Now())
	return machineOf(list, *n.machine), nil
}

func machineOf(list []api.Machine, ref string) *api.Machine {
	var found *api.Machine
	for i := range list {
		if list[i].ID != ref && list[i].Name != ref {
			continue
		}
		if found != nil && found.ID != list[i].ID {
			return nil
		}
		found = &list[i]
	}
	return found
}

// names maps the ids of a vault's machines to their names, for a caller to whom machines
// differ; it is nil for another.
func (c *call) names(ctx context.Context, vault string) (map[string]string, error) {
	if c.who.MayAll(access.See) && !c.who.MaySome(access.Names) {
		return nil, nil
	}
	list, err := c.named(ctx, vault)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, m := range list {
		names[m.ID] = m.Name
	}
	return names, nil
}

// visible returns those of a list whose machine, by id, the caller may see, as the caller
// may see them.
func visible[T any](ctx context.Context, c *call, vault string, list []T, id func(*T) string, withoutFiles func(*T)) ([]T, error) {
	if c.who.MayAll(access.Names) {
		return notNil(list), nil
	}
	names, err := c.names(ctx, vault)
	if err != nil {
		return nil, err
	}
	see, read := map[string]bool{}, map[string]bool{} // by id of a machine
	left := make([]T, 0, len(list))
	for _, v := range list {
		m := id(&v)
		if _, asked := see[m]; !asked {
			name, known := names[m]
			see[m] = c.who.MayAll(access.See) || known && c.who.May(access.See, name)
			read[m] = known && c.who.May(access.Names, name)
		}
		if !see[m] {
			continue
		}
		if !read[m] {
			withoutFiles(&v)
		}
		left = append(left, v)
	}
	return left, nil
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// inVault is a need of something in a vault that belongs to no machine.
func inVault(what access.Permission, vault string) []need {
	return []need{{what: what, vault: vault}}
}

// onMachine is a need of something on one machine.
func onMachine(what access.Permission, vault string, machine *string) []need {
	return []need{{what: what, vault: vault, machine: machine}}
}

// onEach is a need on each machine that points name; on all where there are none.
func onEach(what access.Permission, vault string, points []api.PointRef) []need {
	if len(points) == 0 {
		return inVault(what, vault)
	}
	var list []need
	for i := range points {
		list = append(list, need{what: what, vault: vault, machine: &points[i].Machine})
	}
	return list
}

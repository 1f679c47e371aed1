package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// joinEvery is how often libvirt is asked for domains with tags of policies.
const joinEvery = 5 * time.Minute

// joining is what is done so that domains with the tag of a policy are protected.
type joining struct {
	protect []api.FoundVM                     // as a machine of their own
	retag   map[blockstore.MachineID][]string // machines whose record tells other tags
}

// joinByTags protects domains of libvirt that have the tag of a policy, until ctx ends.
func (d *Daemon) joinByTags(ctx context.Context) {
	tick := time.NewTicker(joinEvery)
	defer tick.Stop()
	for {
		for _, h := range d.vaults.list() {
			if err := d.join(ctx, h); err != nil && ctx.Err() == nil {
				d.log.Warn("new domains are not looked for", "vault", h.known().Name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// join looks for domains once; a vault without policies of tags asks for nothing.
func (d *Daemon) join(ctx context.Context, h *heldVault) error {
	if !h.isOpen() {
		return nil
	}
	var policies []blockstore.Policy
	var machines []blockstore.Machine
	err := h.use(ctx, service.ToNote, func(o *blockstore.Owner) (err error) {
		if policies, err = o.Policies(ctx); err == nil {
			machines, err = o.Machines(ctx)
		}
		return err
	})
	tags := tagsOf(policies)
	if err != nil || len(tags) == 0 {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	found, err := service.Discover(asking, service.Discovering{Machines: machines})
	if err != nil && len(found) == 0 {
		return err
	}
	j := joins(tags, machines, found)
	for _, vm := range j.protect {
		log := d.log.With("vault", h.known().Name, "machine", vm.Suggested)
		_, err := d.service.Protect(ctx, h.known().Key(), api.ProtectRequest{Name: vm.Suggested, Domain: vm.UUID, Protection: api.Protection{URI: vm.URI}})
		if err != nil {
			log.Error("a domain with the tag of a policy cannot be protected", "domain", vm.Name, "error", err)
			continue
		}
		log.Info("a domain with the tag of a policy is protected from now on", "domain", vm.Name, "tags", vm.Tags)
	}
	return d.retag(ctx, h, tags, found, j)
}

// retag notes the tags of machines, of those that were just made, too.
func (d *Daemon) retag(ctx context.Context, h *heldVault, tags []string, found []api.FoundVM, j joining) error {
	if len(j.protect) == 0 && len(j.retag) == 0 {
		return nil
	}
	err := h.use(ctx, service.ToChange, func(o *blockstore.Owner) error {
		machines, err := o.Machines(ctx)
		if err != nil {
			return err
		}
		for id, has := range joins(tags, machines, found).retag {
			if _, err := o.NoteVM(ctx, id, func(p *blockstore.Protection) { p.Tags = has }); err != nil {
				return err
			}
		}
		return nil
	})
	d.scheduler.poke(h)
	return err
}

func tagsOf(policies []blockstore.Policy) (tags []string) {
	for _, p := range policies {
		if p.Tag != "" {
			tags = append(tags, p.Tag)
		}
	}
	return tags
}

// joins decides which domains are protected, and of which machines the tags are noted anew. Only tags of
// policies count. A domain that is not there keeps its machine's tags.
func joins(tags []string, machines []blockstore.Machine, found []api.FoundVM) (j joining) {
	j.retag = map[blockstore.MachineID][]string{}
	for _, vm := range found {
		var has []string
		for _, t := range vm.Tags {
			if slices.Contains(tags, t) {
				has = append(has, t)
			}
		}
		if vm.Kind != string(blockstore.KindLibvirt) || vm.UUID == "" {
			continue
		}
		i := slices.IndexFunc(machines, func(m blockstore.Machine) bool {
			return m.Protected != nil && (m.Protected.Libvirt != nil && m.Protected.Libvirt.UUID == vm.UUID || m.Protected.VM.UUID == vm.UUID)
		})
		switch {
		case i < 0 && len(has) > 0:
			j.protect = append(j.protect, vm)
		case i >= 0 && !slices.Equal(machines[i].Protected.Tags, has):
			j.retag[machines[i].ID] = has
		}
	}
	return j
}

package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

// hostPatience is how long all VMs of the host together may take to answer.
const hostPatience = 15 * time.Second

// hostFacts are what the VMs of a host told when they were asked for some machines. Nothing of it is changed.
type hostFacts struct {
	asked time.Time
	of    string // the machines, with the generations of their records
	vms   []api.FoundVM
	err   error
	// states of the machines that none of the VMs is, by id.
	states map[blockstore.MachineID]string
}

// askHost asks for the VMs of the host, and how those of machines are. Who asks again within
// [Options.HostKnown] is told the same, unless a machine was changed; one asks at a time.
func (s *Service) askHost(ctx context.Context, f *status.Facts, machines [][]blockstore.Machine) {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	all := slices.Concat(machines...)
	select {
	case s.host <- struct{}{}:
	case <-ctx.Done():
		f.Unasked = "the VMs of this host do not answer: " + ctx.Err().Error()
		return
	}
	if of := generations(all); s.hostFacts == nil || s.hostFacts.of != of || time.Since(s.hostFacts.asked).Abs() >= s.o.HostKnown {
		s.hostFacts = askVMs(ctx, all)
		s.hostFacts.of = of
	}
	facts := s.hostFacts
	if ctx.Err() != nil { // what was not told in time is asked for again
		s.hostFacts = nil
	}
	<-s.host
	f.VMs = slices.Clone(facts.vms)
	if facts.err != nil {
		f.Unasked = facts.err.Error()
	}
	found := map[string]*api.FoundVM{}
	for i := range f.VMs {
		if vm := &f.VMs[i]; vm.Machine != "" {
			found[vm.Machine] = vm
		}
	}
	for i := range f.Vaults {
		for j := range f.Vaults[i].Machines {
			m := &f.Vaults[i].Machines[j]
			if vm := found[m.Machine.Name]; vm != nil && m.Machine.Protected {
				m.VM, m.Machine.State = vm, vm.State
			} else {
				m.Machine.State = facts.states[blockstore.MachineID(m.Machine.ID)]
			}
		}
	}
}

// askVMs finds the VMs of the host, and asks those of machines that are none of them how they are.
func askVMs(ctx context.Context, machines []blockstore.Machine) *hostFacts {
	h := &hostFacts{asked: time.Now(), states: map[blockstore.MachineID]string{}}
	h.vms, h.err = Discover(ctx, Discovering{Machines: machines})
	found := map[string]bool{}
	for _, vm := range h.vms {
		found[vm.Machine] = true
	}
	left := slices.DeleteFunc(slices.Clone(machines), func(m blockstore.Machine) bool { return m.Protected != nil && found[m.Name] })
	for i, state := range statesOf(ctx, left) {
		h.states[left[i].ID] = state
	}
	return h
}

// generations is a text that differs when a machine is another, or its record.
func generations(machines []blockstore.Machine) string {
	var b strings.Builder
	for _, m := range machines {
		fmt.Fprintf(&b, "%s/%d ", m.ID, m.Generation)
	}
	return b.String()
}

package status

import (
	"slices"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// unprotectedVMs are those of the host that no machine stands for, and that somebody minds. One that has neither
// name nor disks has nothing to protect.
func unprotectedVMs(f *Facts) []api.UnprotectedVM {
	all := []api.UnprotectedVM{}
	for i := range f.VMs {
		vm := &f.VMs[i]
		if vm.Machine != "" || isIgnored(vm, f.Ignored) || len(vm.Name)+len(vm.UUID)+len(vm.Disks) == 0 && vm.Unclear == "" {
			continue
		}
		u := api.UnprotectedVM{Name: vm.Name, UUID: vm.UUID, State: vm.State, PID: vm.PID, Ignore: identities(vm)}
		for _, d := range vm.Disks {
			if d.LeftOut == "" {
				u.Size += d.Size
			}
		}
		since := api.At(f.Now)
		if f.Before != nil {
			for _, old := range f.Before.VMs {
				if old.Name == vm.Name && old.UUID == vm.UUID && (vm.Name+vm.UUID != "" || slices.Equal(old.Ignore, u.Ignore)) && old.Since != nil {
					since = *old.Since
				}
			}
		}
		u.Since = &since
		all = append(all, u)
	}
	return all
}

// identities are the words by which a VM can be ignored, of which each is enough: its name, its UUID, and
// of one that has neither the first of its disks. None: nothing tells it from another.
func identities(vm *api.FoundVM) (words []string) {
	for _, w := range []string{vm.Name, vm.UUID} {
		if w != "" {
			words = append(words, w)
		}
	}
	if len(words) > 0 {
		return words
	}
	for _, d := range vm.Disks {
		if d.Source != "" && d.LeftOut == "" {
			return []string{"disk:" + d.Source}
		}
	}
	return nil
}

func isIgnored(vm *api.FoundVM, ignored []string) bool {
	return slices.ContainsFunc(identities(vm), func(w string) bool { return slices.Contains(ignored, w) })
}

// nobodyProtects says that of a VM, and how it can be let be where its name does not tell.
func nobodyProtects(vm *api.UnprotectedVM) string {
	text := "VM " + vm.Label() + ": nobody protects it"
	if vm.Name == "" && len(vm.Ignore) > 0 {
		text += "; `holdfast ignore '" + vm.Ignore[0] + "'` lets it be"
	}
	return text
}

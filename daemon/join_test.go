package daemon

import (
	"reflect"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestDomainsWithTheTagOfAPolicyJoin(t *testing.T) {
	t.Parallel()
	of := func(id, uuid string, tags ...string) blockstore.Machine {
		return blockstore.Machine{ID: blockstore.MachineID(id), Name: id, Protected: &blockstore.Protection{Libvirt: &blockstore.LibvirtVM{UUID: uuid}, Tags: tags}}
	}
	machines := []blockstore.Machine{of("same", "1", "gold"), of("gained", "2"), of("lost", "3", "gold"), of("away", "4", "gold"), {ID: "images", Protected: &blockstore.Protection{VM: blockstore.VM{UUID: "9"}}}, {ID: "points only"}}
	vm := func(name, uuid string, tags ...string) api.FoundVM {
		return api.FoundVM{Name: name, UUID: uuid, Kind: "libvirt", Tags: tags}
	}
	qemu := vm("process", "8", "gold")
	qemu.Kind = "qemu"
	found := []api.FoundVM{vm("same", "1", "gold", "web"), vm("gained", "2", "gold"), vm("lost", "3"), vm("new", "5", "gold"), vm("other", "6", "silver"), vm("images", "9", "gold"), qemu}
	got := joins(tagsOf([]blockstore.Policy{{Tag: "gold"}, {}}), machines, found)
	want := joining{protect: []api.FoundVM{found[3]}, retag: map[blockstore.MachineID][]string{"gained": {"gold"}, "lost": nil, "images": {"gold"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

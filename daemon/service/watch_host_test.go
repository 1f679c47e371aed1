package service

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

func TestTheHostIsAskedAgainWhenAMachineWasChanged(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	m := blockstore.Machine{ID: "00112233445566aa", Name: "web1", Generation: 1, Protected: &blockstore.Protection{VM: blockstore.VM{Kind: blockstore.KindImages},
		Consistency: blockstore.Crash, Images: []blockstore.ImageDisk{{Name: "vda", Path: image, Format: "raw"}}}}
	state := func(s *Service) string {
		f := status.Facts{Vaults: []status.VaultFacts{{Machines: []status.MachineFacts{{Machine: api.Machine{ID: string(m.ID), Name: m.Name, Protected: true}}}}}}
		s.askHost(t.Context(), &f, [][]blockstore.Machine{{m}})
		return f.Vaults[0].Machines[0].Machine.State
	}
	remembers, asks := New(Options{HostKnown: time.Hour}), New(Options{})
	there := state(remembers)
	if there == StateGone || state(asks) != there {
		t.Fatalf("an image that is there is %q", there)
	}
	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	if got := state(asks); got != StateGone {
		t.Errorf("asked anew it is %q", got)
	}
	if got := state(remembers); got != there {
		t.Errorf("asked again within the hour it is %q", got)
	}
	m.Generation++
	if got := state(remembers); got != StateGone {
		t.Errorf("asked after a change it is %q", got)
	}
}

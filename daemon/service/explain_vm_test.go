package service_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

func TestAVMThatSomethingElseWorksOnIsBusy(t *testing.T) {
	t.Parallel()
	for _, err := range []error{qemu.ErrBusy, qemu.ErrInUse, qemu.ErrForeignServer, qmp.ErrBusy} {
		if p := service.Explain(fmt.Errorf("back up web1: %w", err)); p.Kind != "vm-busy" || p.Exit != 5 {
			t.Errorf("%v is %s, exit code %d", err, p.Kind, p.Exit)
		}
	}
}

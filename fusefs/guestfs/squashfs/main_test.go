package squashfs

import (
	"fmt"
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/alone"
)

func TestMain(m *testing.M) {
	if err := alone.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err) // and go on with the mounts of all
	}
	os.Exit(m.Run())
}

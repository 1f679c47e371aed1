package history

import (
	"fmt"
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/alone"
)

func TestMain(m *testing.M) {
	if err := alone.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

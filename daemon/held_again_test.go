package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/config"
)

// TestAVaultThatIsNamedAgainWhileAJobRunsThereIsHeldAtOnce has the configuration forget a vault and think better of it.
func TestAVaultThatIsNamedAgainWhileAJobRunsThereIsHeldAtOnce(t *testing.T) {
	t.Parallel()
	a, b := createVault(t, "a"), createVault(t, "b")
	vs := holdingFor(t, time.Nanosecond, a)
	all, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	both, one := []config.Vault{{Path: a}, {Path: b}}, []config.Vault{{Path: a}}
	vs.set(all, both)
	leave := jobIn(t, vs, b)
	h, err := vs.find(b)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		vs.set(all, one)
		for h.takes() {
			time.Sleep(time.Millisecond)
		}
		vs.set(all, both)
		for !h.takes() {
			time.Sleep(time.Millisecond)
		}
		if err := owning(t, vs, b); err != nil { // beside the job
			t.Fatal(err)
		}
	}
	vs.set(all, one)
	vs.set(all, both) // before anybody took notice, perhaps
	if err := owning(t, vs, b); err != nil && !strings.Contains(err.Error(), "none of this daemon's") {
		t.Fatal(err)
	}
	leave()
	vs.set(all, one)
	for !h.isGone() {
		time.Sleep(time.Millisecond)
	}
	vs.set(all, both) // it is opened anew
	if again, err := vs.find(b); err != nil || again == h {
		t.Errorf("%v, %v", again, err)
	}
	if err := owning(t, vs, b); err != nil {
		t.Error(err)
	}
}

func (h *heldVault) isGone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

package daemon

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// TestAVaultThatIsMovedAwayIsLeftAndHeldAgainWhenItIsBack moves the folder of an open vault, and puts a copy in its
// place: neither is taken for it.
func TestAVaultThatIsMovedAwayIsLeftAndHeldAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	if err := owning(t, vs, dir); err != nil {
		t.Fatal(err)
	}
	away, copied := dir+".away", dir+".copy"
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	read := func() error { return vs.Read(t.Context(), dir, func(*blockstore.Vault) error { return nil }) }
	back := func() {
		t.Helper()
		for err := owning(t, vs, dir); err != nil; err = owning(t, vs, dir) {
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for _, there := range []string{"", copied} {
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if there != "" {
			if err := os.Rename(there, dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := owning(t, vs, dir); !errors.Is(err, blockstore.ErrNotVault) {
			t.Errorf("with %q in its place: %v", there, err)
		}
		if there == "" {
			if err := read(); !errors.Is(err, blockstore.ErrNotVault) {
				t.Errorf("read: %v", err)
			}
		} else if err := os.Rename(dir, dir+".gone"); err != nil { // not removed: it may be held by now, and is written to
			t.Fatal(err)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		back()
	}
}

// TestAJobGoesOnInAVaultThatTheConfigurationNamesNoMore has a job run there for as long as it likes.
func TestAJobGoesOnInAVaultThatTheConfigurationNamesNoMore(t *testing.T) {
	t.Parallel()
	a, b := createVault(t, "a"), createVault(t, "b")
	vs := holdingFor(t, time.Nanosecond, a)
	all, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	vs.set(all, []config.Vault{{Path: a}, {Path: b}})
	leave := jobIn(t, vs, b)
	h, err := vs.find(b)
	if err != nil {
		t.Fatal(err)
	}
	vs.set(all, []config.Vault{{Path: a}})
	for h.takes() {
		time.Sleep(time.Millisecond)
	}
	leave()
}

// jobIn uses a vault until leave is called, which changes it once more first.
func jobIn(t *testing.T, vs *vaults, vault string) (leave func()) {
	t.Helper()
	using, left, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- vs.Own(context.Background(), vault, service.ToStore, func(o *blockstore.Owner) error {
			close(using)
			<-left
			_, err := o.SetPolicy(context.Background(), blockstore.Policy{Name: "p"})
			return err
		})
	}()
	<-using
	return func() {
		t.Helper()
		close(left)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// takes tells whether the vault is open for who wants it.
func (h *heldVault) takes() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current != nil
}

// TestWhoMakesRoomInAFullVaultIsNotCutShortByABackup has a backup want the vault while something uses it that was
// opened to make room.
func TestWhoMakesRoomInAFullVaultIsNotCutShortByABackup(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	if err := owning(t, vs, dir); err != nil {
		t.Fatal(err)
	}
	h, err := vs.find(dir)
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.current.reclaim = blockstore.ErrFull
	h.mu.Unlock()
	err = vs.Own(t.Context(), dir, service.ToChange, func(sweeping *blockstore.Owner) error {
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		store := func(*blockstore.Owner) error { return nil }
		if err := vs.Own(short, dir, service.ToStore, store); !errors.Is(err, blockstore.ErrFull) {
			t.Errorf("a backup meanwhile: %v", err)
		}
		_, err := sweeping.SetPolicy(t.Context(), blockstore.Policy{Name: "p"})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := vs.Own(t.Context(), dir, service.ToStore, func(*blockstore.Owner) error { return nil }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

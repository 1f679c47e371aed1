package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// createVault makes a vault in a folder of its own.
func createVault(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if _, err := blockstore.Create(t.Context(), dir, blockstore.CreateOptions{Name: name}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// holding holds vaults until the test ends.
func holding(t *testing.T, paths ...string) *vaults {
	t.Helper()
	return holdingFor(t, time.Minute, paths...)
}

// holdingFor is holding, with how long what uses them has at the end.
func holdingFor(t *testing.T, leave time.Duration, paths ...string) *vaults {
	t.Helper()
	return holdingWith(t, leave, nil, paths...)
}

// holdingWith is holdingFor, with what opens the vaults; nil: as usual.
func holdingWith(t *testing.T, leave time.Duration, own func(context.Context, string, blockstore.OwnOptions) (*blockstore.Owner, error), paths ...string) *vaults {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	vs := &vaults{log: quiet(), told: func() {}, leave: leave, own: own, pauses: func(int) time.Duration { return 5 * time.Millisecond },
		options: func(config.Vault) (blockstore.OwnOptions, error) { return blockstore.OwnOptions{MinFree: -1}, nil }}
	t.Cleanup(func() {
		cancel()
		vs.wait.Wait()
	})
	var confs []config.Vault
	for _, p := range paths {
		confs = append(confs, config.Vault{Path: p})
	}
	vs.set(ctx, confs)
	return vs
}

// owning tells whether a vault can be written to.
func owning(t *testing.T, vs *vaults, vault string) error {
	return vs.Own(t.Context(), vault, service.ToChange, func(o *blockstore.Owner) error {
		_, err := o.SetPolicy(t.Context(), blockstore.Policy{Name: "p"})
		return err
	})
}

func TestAVaultIsFoundByItsNames(t *testing.T) {
	t.Parallel()
	a, b := createVault(t, "one"), createVault(t, "two")
	vs := holding(t, a, b)
	if err := errors.Join(owning(t, vs, a), owning(t, vs, b)); err != nil {
		t.Fatal(err)
	}
	k, err := vs.Find(t.Context(), a+"/")
	if err != nil || k.Name != "one" || k.ID == "" {
		t.Fatalf("%+v, %v", k, err)
	}
	for _, name := range []string{"one", string(k.ID), a} {
		if got, err := vs.Find(t.Context(), name); err != nil || got != k {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "three", "/"} {
		if _, err := vs.Find(t.Context(), name); !errors.Is(err, blockstore.ErrNotVault) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAVaultThatIsMissingIsHeldAsSoonAsItIsThere(t *testing.T) {
	t.Parallel()
	there := createVault(t, "there")
	late := filepath.Join(filepath.Dir(there), "late")
	vs := holding(t, there, late)
	if err := owning(t, vs, there); err != nil {
		t.Fatal(err)
	}
	if err := owning(t, vs, late); err == nil || !strings.Contains(err.Error(), "is not open") {
		t.Fatalf("%v", err)
	}
	if _, err := blockstore.Create(t.Context(), late, blockstore.CreateOptions{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	for err := owning(t, vs, late); err != nil; err = owning(t, vs, late) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestALentVaultIsAnothersUntilItIsGivenBack(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	using, end := make(chan struct{}), make(chan struct{})
	go vs.Own(context.Background(), dir, service.ToStore, func(*blockstore.Owner) error {
		close(using)
		<-end
		return nil
	})
	<-using
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := vs.lend(short, dir, "anna"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("%v", err)
	}
	if err := owning(t, vs, dir); err != nil {
		t.Fatalf("after a loan that was refused: %v", err)
	}
	close(end)
	release, err := vs.lend(t.Context(), dir, "anna")
	if err != nil {
		t.Fatal(err)
	}
	var lent *LentError
	if err := owning(t, vs, dir); !errors.As(err, &lent) || !strings.Contains(err.Error(), "lent to anna") || service.Explain(err).Exit != 5 {
		t.Errorf("%v", err)
	}
	if _, err := vs.lend(t.Context(), dir, "anna"); !errors.As(err, &lent) {
		t.Errorf("lent twice: %v", err)
	}
	if err := vs.Read(t.Context(), dir, func(v *blockstore.Vault) error { _, err := v.Policies(t.Context()); return err }); err != nil {
		t.Errorf("read while it is lent: %v", err)
	}
	o, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	release()
	release()
	if err := owning(t, vs, dir); err != nil {
		t.Errorf("after it was given back: %v", err)
	}
}

func TestAVaultThatIsJustBeingOpenedIsLentWhenItIsClosedAgain(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	var once sync.Once
	opens, goOn := make(chan struct{}), make(chan struct{})
	vs := holdingWith(t, time.Minute, func(ctx context.Context, path string, o blockstore.OwnOptions) (*blockstore.Owner, error) {
		once.Do(func() { close(opens) })
		<-goOn
		return blockstore.Own(ctx, path, o)
	}, dir)
	<-opens
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := vs.lend(short, dir, "anna"); !errors.Is(err, service.ErrInUse) {
		t.Fatalf("lent while it is being opened: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { close(goOn) })
	release, err := vs.lend(t.Context(), dir, "anna")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	o, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatalf("what is lent: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPanicOfOneUserEndsNobodyElse(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	err := vs.Own(t.Context(), dir, service.ToStore, func(*blockstore.Owner) error { panic("oh") })
	if err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("%v", err)
	}
	if err := owning(t, vs, dir); err != nil {
		t.Error(err)
	}
}

func TestAVaultOfAnotherProcessIsReadAndNotWritten(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	o, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	vs := holding(t, dir)
	var busy *blockstore.BusyError
	if err := owning(t, vs, dir); !errors.As(err, &busy) {
		t.Errorf("%v", err)
	}
	if err := vs.Read(t.Context(), dir, func(v *blockstore.Vault) error { return nil }); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAConfigurationThatChangesAddsAndRemovesVaults(t *testing.T) {
	t.Parallel()
	a, b := createVault(t, "a"), createVault(t, "b")
	vs := holding(t, a)
	if err := owning(t, vs, a); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	vs.set(ctx, []config.Vault{{Path: b}})
	if err := owning(t, vs, b); err != nil {
		t.Fatal(err)
	}
	if err := owning(t, vs, a); !errors.Is(err, blockstore.ErrNotVault) {
		t.Errorf("%v", err)
	}
	o, err := blockstore.Own(t.Context(), a, blockstore.OwnOptions{MinFree: -1, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	cancel()
}

func TestKeysAreReadFromFilesAndCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pass"), []byte("secret\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(string) string { return dir }
	for _, v := range []config.Vault{{PassphraseFile: filepath.Join(dir, "pass")}, {Credential: "pass"}} {
		u, err := unlocker(v, env)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := u.Passphrase(); s != "secret" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
	}
	if _, err := unlocker(config.Vault{Identity: []string{dir + "/none"}}, env); err == nil {
		t.Error("an identity that is not there is taken")
	}
	if _, err := unlocker(config.Vault{Credential: "x"}, func(string) string { return "" }); err == nil {
		t.Error("a credential is taken of a process that systemd did not start")
	}
}

// TestAVaultThatHangsFailsItsUsersAndHarmsNoOther has a file system seem to hang: who uses the vault is
// told so, though its call never returns, the other vault goes on, and the vault is opened again.
func TestAVaultThatHangsFailsItsUsersAndHarmsNoOther(t *testing.T) {
	t.Parallel()
	a, b := createVault(t, "a"), createVault(t, "b")
	vs := holding(t, a, b)
	if err := errors.Join(owning(t, vs, a), owning(t, vs, b)); err != nil {
		t.Fatal(err)
	}
	h, err := vs.find(a)
	if err != nil {
		t.Fatal(err)
	}
	using, end := make(chan struct{}), make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		failed <- vs.Read(context.Background(), a, func(*blockstore.Vault) error {
			close(using)
			<-end
			return nil
		})
	}()
	<-using
	h.mu.Lock()
	c := h.current
	h.mu.Unlock()
	hang := &blockstore.HangError{Path: a, Call: "sync", For: time.Minute}
	c.hangs(hang)
	if err := <-failed; !errors.Is(err, hang) {
		t.Errorf("%v", err)
	}
	if err := owning(t, vs, b); err != nil {
		t.Errorf("the other vault: %v", err)
	}
	for err := owning(t, vs, a); err != nil; err = owning(t, vs, a) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	h.mu.Lock()
	again := h.current != c
	h.mu.Unlock()
	if !again {
		t.Error("it is not opened again")
	}
	close(end)
}

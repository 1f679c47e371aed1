package daemon

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// lasts begins something that goes on until its context ends, and returns that context, and why it ended.
func lasts(t *testing.T, vs *vaults, dir string) (ended chan error) {
	t.Helper()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- vs.Lasting(t.Context(), dir, func(ctx context.Context, v *blockstore.Vault) error {
			if _, err := v.Points(ctx); err != nil {
				t.Error(err)
			}
			close(began)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	<-began
	return ended
}

func TestWhatLastsIsCutShortForWhoNeedsTheVaultAlone(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	if err := owning(t, vs, dir); err != nil {
		t.Fatal(err)
	}
	vs.all[0].lasting = 5 * time.Millisecond
	ended := lasts(t, vs, dir)
	release, err := vs.lend(t.Context(), dir, "the test")
	if err != nil {
		t.Fatalf("a download keeps a vault from being lent: %v", err)
	}
	var needed *NeededError
	if err := <-ended; !errors.As(err, &needed) || service.Explain(err).Exit != 5 {
		t.Errorf("it ended with %v", err)
	}
	while := lasts(t, vs, dir) // a vault of its own is opened for it
	release()
	select {
	case err := <-while:
		t.Errorf("what read while the vault was lent ended with %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := owning(t, vs, dir); err != nil {
		t.Fatal(err)
	}
	again := lasts(t, vs, dir)
	vs.set(t.Context(), nil) // a configuration without the vault
	if err := <-again; !errors.As(err, &needed) {
		t.Errorf("it ended with %v", err)
	}
}

func TestALoanThatIsRefusedLetsWhatBeginsAfterwardsLast(t *testing.T) {
	t.Parallel()
	dir := createVault(t, "v")
	vs := holding(t, dir)
	if err := owning(t, vs, dir); err != nil {
		t.Fatal(err)
	}
	vs.all[0].lasting = 5 * time.Millisecond
	using, end := make(chan struct{}), make(chan struct{})
	go vs.Own(context.Background(), dir, service.ToStore, func(*blockstore.Owner) error {
		close(using)
		<-end
		return nil
	})
	<-using
	defer close(end)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := vs.lend(short, dir, "the test"); err == nil {
		t.Fatal("a vault that is in use was lent")
	}
	ended := lasts(t, vs, dir)
	select {
	case err := <-ended:
		t.Errorf("it ended with %v", err)
	case <-time.After(30 * time.Millisecond):
	}
}

package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// TestAVaultOfAnotherHostIsAtRiskUntilItIsTakenOver has a daemon that cannot own its vault: whoever asks for that vault
// hears of it, and a take-over counts at once.
func TestAVaultOfAnotherHostIsAtRiskUntilItIsTakenOver(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	there := blockstore.OwnOptions{MinFree: -1}
	there.Host = &blockstore.Host{Name: "kvm2", ID: "2", BootID: "2"}
	if _, err := blockstore.TakeOver(t.Context(), v.path, blockstore.TakeOverOptions{Options: there.Options}); err != nil {
		t.Fatal(err)
	}
	o, err := blockstore.Own(t.Context(), v.path, there)
	if err == nil {
		err = o.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t, v, "")
	p := s.launch()
	eventually(t, "the daemon is ready", func() bool { return s.heard("READY=1") > 0 })
	said := ""
	eventually(t, "the daemon knows whose the vault is", func() bool {
		o := s.runs("status", "--nagios", "--no-host")
		said = o.out
		return o.code == 2
	})
	if !strings.Contains(said, "nothing can be stored in it") {
		t.Errorf("the status says %s", said)
	}
	s.must(0, "vault", "takeover", "--yes")
	began := time.Now()
	for {
		o := s.runs("status", "--nagios", "--no-host")
		if o.code == 1 && strings.Contains(o.out, "nothing is protected yet") { // but that all is well
			break
		}
		if time.Since(began) > time.Minute { // its next attempt would be later than that, after a while
			t.Fatalf("the daemon does not know that the vault was taken over: %d %s%s", o.code, o.out, o.err)
		}
	}
	made := s.must(0, "backup", "web1", "--disk", "vda="+randomImage(t, "a", 64), "--verbose")
	if !strings.Contains(made.err, "the daemon that owns the vault does the work") {
		t.Errorf("%s", made.err)
	}
	s.end(p)
	s.must(0, "check", "--data")
}

// TestADaemonWhoseVaultWasMovedAwayEndsWhenItIsTold moves a vault away in which something was stored.
func TestADaemonWhoseVaultWasMovedAwayEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	p := s.begin()
	image := randomImage(t, "a", 64)
	s.must(0, "backup", "web1", "--disk", "vda="+image)
	if err := os.Rename(s.path, s.path+".away"); err != nil {
		t.Fatal(err)
	}
	s.must(6, "backup", "web1", "--disk", "vda="+image)
	if log := s.end(p); !strings.Contains(log, "lies there no more") {
		t.Errorf("%s", log)
	}
	if _, err := os.Stat(s.path); err == nil {
		t.Error("something was made where the vault lay")
	}
	if err := os.Rename(s.path+".away", s.path); err != nil {
		t.Fatal(err)
	}
	s.must(0, "check", "--data")
	if n := len(s.points()); n != 1 {
		t.Errorf("%d points", n)
	}
}

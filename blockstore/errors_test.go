package blockstore

import (
	"testing"
	"time"
)

// The daemon hides process and command line of these from who may not see them, by their words.
func TestWhoHasAVaultIsToldInTheseWords(t *testing.T) {
	t.Parallel()
	e := BusyError{Vault: "/srv/v", State: "stopped", Owner: Ownership{Writer: "w1", Host: "kvm2", PID: 71, Command: "holdfast backup", Opened: time.Date(2026, 11, 22, 22, 0, 5, 0, time.UTC)}}
	here, other, lost := e, e, e
	other.OtherHost, lost.Lost = true, true
	for want, e := range map[string]*BusyError{
		"vault /srv/v is in use by pid 71 (holdfast backup) since 2026-11-22T22:00:05Z; that process is stopped":        &here,
		"vault /srv/v belongs to host kvm2 (writer w1, last opened at 2026-11-22T22:00:05Z by pid 71, holdfast backup)": &other,
		"vault /srv/v was taken over by host kvm2 (pid 71, holdfast backup) at 2026-11-22T22:00:05Z":                    &lost,
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

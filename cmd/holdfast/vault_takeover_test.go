package main

import "testing"

func TestATakeOverOfOnesOwnVaultChangesNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "vault", "takeover").says(t, "belongs to this host already")
	y.must(exitUsage, "vault", "takeover", "--new-id").says(t, "--yes")
	y.must(exitDone, "vault", "takeover", "--new-id", "--yes", "--json").says(t, `"old_id"`)
	y.backup("--quiet")
	y.must(exitDone, "check", "--data")
	y.must(exitDone, "vault", "info").says(t, "(this host)")
}

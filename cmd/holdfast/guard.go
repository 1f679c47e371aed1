package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/quiesce"
)

// guardWord is the hidden only word that makes this program the guard of a
// freeze: see quiesce.RunGuard. It reads no configuration and opens no vault.
const guardWord = "__guard"

// beGuard is the guard's main.
func beGuard() int {
	if err := quiesce.RunGuard(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// guards is how guests are guarded while they are frozen.
func guards() quiesce.Guard {
	return quiesce.Guard{Command: quiesce.GuardCommand(guardWord), Scope: quiesce.SystemdScope()}
}

// freezesIn is the folder of the journal of freezes under the state folder.
func freezesIn(state string) string { return filepath.Join(state, "freezes") }

package blockstore

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"
)

// A backup that may write a byte a second is not finished before somebody ends it.
func TestABackupWaitsForItsPaceOfWriting(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	content := make([]byte, 4<<20)
	rand.Read(content)
	ctx, cancel := context.WithCancel(t.Context())
	b, err := o.Begin(ctx, BackupOptions{Machine: "web1", Time: time.Now().UTC(), Asked: Crash, Reached: Crash, WriteRate: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	err = b.AddDisk(ctx, DiskInfo{Name: "vda"}, memory(string(content)), func(Sizes, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

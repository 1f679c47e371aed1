package main

import (
	"os/exec"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestADiskThatWasCutShortIsDamagedAsOtherThingsAre has an image that ends before the root folder of its ext4.
func TestADiskThatWasCutShortIsDamagedAsOtherThingsAre(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mke2fs")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	script := `PATH=$PATH:/usr/sbin:/sbin; cd "$1"; mkdir -p root/etc; echo root >root/etc/passwd; mke2fs -q -t ext4 -b 1024 -d root vda 32M; truncate -s 324K vda`
	if out, err := exec.Command("sh", "-ec", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	for _, words := range [][]string{{"ls", "web1@latest:vda:/"}, {"find", "web1@latest:vda:/"}, {"cat", "web1@latest:vda:/etc/passwd"}, {"cp", "web1@latest:vda:/etc", y.path("out")},
		{"history", "web1:vda:/etc/passwd"}} {
		y.must(exitDamaged, words...).says(t, "the volume is cut short: it ends before the 1024 bytes at")
	}
	y.must(exitDamaged, "ls", "web1@latest:vda:/").says(t, "other points may hold the rest")
	y.must(exitDone, "volumes", "web1@latest").says(t, "what lies behind the end is missing")
}

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/bitlocker/bitlockertest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestAFileOfAWindowsThatBitLockerEncryptedIsReadWithItsRecoveryPassword from an NTFS of mkntfs.
func TestAFileOfAWindowsThatBitLockerEncryptedIsReadWithItsRecoveryPassword(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mkntfs", "ntfscp")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	report := bytes.Repeat([]byte("what the guest wrote\n"), 10_000)
	for name, text := range map[string]string{"report": string(report), "wrong": "hay\n", "pass": bitlockertest.Recovery + "\n"} {
		y.write(name, []byte(text))
	}
	script := `set -e; PATH=$PATH:/usr/sbin:/sbin; cd $1
		truncate -s 24M vda; mkntfs -F -Q -q vda; ntfscp -f vda report /report.txt`
	if out, err := exec.Command("sh", "-c", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	plain, err := os.ReadFile(y.path("vda"))
	if err != nil {
		t.Fatal(err)
	}
	made := bitlockertest.Build(t, plain, bitlockertest.Options{Method: bitlockertest.XTS256, Recovery: true, TPM: true, Startup: true})
	y.write("vda", made.Volume)
	y.write("key.BEK", made.BEK)
	y.must(exitDone, "backup", "win1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	const path = "win1@latest:bitlocker-" + bitlockertest.GUID + ":/report.txt"
	for _, flag := range []string{"--guest-passphrase-file=" + y.path("pass"), "--guest-key-file=" + y.path("key.BEK")} {
		if o := y.must(exitDone, "cat", flag, path); o.out != string(report) {
			t.Errorf("%s: %d bytes", flag, len(o.out))
		}
	}
	o := y.must(exitRefused, "ls", "win1@latest:vda:/")
	if !strings.Contains(o.err, "it is encrypted (BitLocker)") || !strings.Contains(o.err, "recovery password of 48 digits") {
		t.Errorf("locked: %s", o.err)
	}
	o = y.must(exitRefused, "ls", "--guest-passphrase-file", y.path("wrong"), "win1@latest:vda:/")
	if !strings.Contains(o.err, "it has: TPM, recovery password, startup key") || strings.Contains(o.err, "hay") {
		t.Errorf("a wrong key: %s", o.err)
	}
	if o := y.must(exitDone, "volumes", "--guest-passphrase-file", y.path("pass"), "win1@latest"); !strings.Contains(o.out, "bitlocker-"+bitlockertest.GUID) {
		t.Errorf("volumes: %s", o.out)
	}
}

package guest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/integration/guest/journal"
)

func TestAJournalIsReadBackToItsLastWholeRecord(t *testing.T) {
	var b []byte
	for n := uint64(1); n <= 3; n++ {
		b = append(b, journal.Record(n)...)
	}
	for _, tail := range [][]byte{nil, make([]byte, 40), make([]byte, journal.Size), journal.Record(4)[:100]} {
		if n, err := journal.Parse(append(b[:len(b):len(b)], tail...)); n != 3 || err != nil {
			t.Errorf("with %d bytes more: %d, %v", len(tail), n, err)
		}
	}
	wrong := append([]byte(nil), b...)
	wrong[150] ^= 1
	if _, err := journal.Parse(wrong); err == nil {
		t.Error("a record that changed is not noticed")
	}
	if _, err := journal.Parse(append(journal.Record(1), journal.Record(3)...)); err == nil {
		t.Error("a record that is missing is not noticed")
	}
}

func TestTheGuestStartsAnswersAndWritesBothJournals(t *testing.T) {
	v := guest.Start(t, guest.Options{})
	v.WaitAgent(t)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		if out := v.Exec(t, "cat /data/journal.b 2>/dev/null | wc -c"); len(strings.TrimSpace(out)) > 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the writer does not write")
		}
	}
	v.Kill()
	raw := v.Image("root.raw")
	if out, err := exec.Command("qemu-img", "convert", "-f", "qcow2", "-O", "raw", v.Root, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := guest.Examine(t, raw, v.Data); n < 5 {
		t.Errorf("%d records", n)
	}
	if _, err := os.Stat(v.Console); err != nil {
		t.Error(err)
	}
}

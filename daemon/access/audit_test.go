package access_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func openLog(t testing.TB, dir string, size int64, files int, c *clock) *access.Log {
	t.Helper()
	l, err := access.OpenLog(dir, access.LogOptions{FileSize: size, Files: files, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func read(t testing.TB, l *access.Log, q api.AuditQuery) []api.AuditEntry {
	t.Helper()
	list, err := l.Read(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTheAuditLogKeepsWhatWasWrittenInBoundedRoomAndNeverWritesItAgain(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: start}
	l := openLog(t, dir, 2000, 4, c)
	seen := map[string][]byte{} // what each file held when it was last looked at
	for i := range 300 {
		if err := l.Append(api.AuditEntry{Who: "anna", Action: "delete", Object: fmt.Sprint(i), Outcome: api.AuditDone, Detail: strings.Repeat("x", i%200)}); err != nil {
			t.Fatal(err)
		}
		c.add(time.Second)
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(files) > 4 {
			t.Fatalf("%d files", len(files))
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(b, seen[f]) || len(b) > 2000 {
				t.Fatalf("%s was written again, or is %d bytes long", f, len(b))
			}
			seen[f] = b
		}
		if i == 150 { // begun again, it goes on where it was
			l.Close()
			l = openLog(t, dir, 2000, 4, c)
		}
	}
	list := read(t, l, api.AuditQuery{})
	for i, e := range list {
		if want := fmt.Sprint(300 - len(list) + i); e.Object != want {
			t.Fatalf("entry %d is %s, not %s", i, e.Object, want)
		}
	}
	if len(list) < 20 {
		t.Errorf("only %d entries are kept", len(list))
	}
	if last := read(t, l, api.AuditQuery{Limit: 3}); len(last) != 3 || last[2].Object != "299" || last[0].Object != "297" {
		t.Errorf("the last three: %v", last)
	}
	since := api.At(start.Add(290 * time.Second))
	if few := read(t, l, api.AuditQuery{Since: &since}); len(few) != 10 || few[0].Object != "290" {
		t.Errorf("since then: %v", few)
	}
}

func TestALineThatWasCutShortHarmsNoOther(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: start}
	l := openLog(t, dir, 0, 0, c)
	l.Append(api.AuditEntry{Who: "anna", Action: "one"})
	l.Close()
	path := filepath.Join(dir, "audit-00000001.jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"time":"2026-11-22T22:00:00Z","who":"be`)
	f.Close()
	l = openLog(t, dir, 0, 0, c)
	l.Append(api.AuditEntry{Who: "carl", Action: "three", Detail: strings.Repeat("é", 5000), Object: "a\nb\x00\xff"})
	list := read(t, l, api.AuditQuery{})
	if len(list) != 2 || list[0].Action != "one" || list[1].Action != "three" || len(list[1].Detail) > 1100 {
		t.Errorf("%+v", list)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
	os.WriteFile(path, bytes.Repeat([]byte("x"), 200000), 0o600) // what nobody wrote here
	if list := read(t, l, api.AuditQuery{}); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestManyWriteIntoTheAuditLogAtOnce(t *testing.T) {
	l := openLog(t, t.TempDir(), 5000, 1000, &clock{now: start})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 50 {
				if err := l.Append(api.AuditEntry{Who: fmt.Sprint(w), Action: "x", Object: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Go(func() { read(t, l, api.AuditQuery{}) })
	wait.Wait()
	if n := len(read(t, l, api.AuditQuery{})); n != 400 {
		t.Errorf("%d entries", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Append(api.AuditEntry{Action: "late"}); err == nil {
		t.Error("it was written after the end")
	}
}

package access

import (
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestTheAuditLogSaysWhichOfItsLinesAreMissing(t *testing.T) {
	l, err := OpenLog(t.TempDir(), LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Append(api.AuditEntry{Action: "before"})
	whole := l.f
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	l.f = full
	for range 3 {
		if err := l.Append(api.AuditEntry{Action: "lost"}); err == nil {
			t.Fatal("a full disk took a line")
		}
	}
	if n, since := l.Lost(); n != 3 || since.IsZero() {
		t.Errorf("it misses %d lines since %v", n, since)
	}
	l.f = whole
	l.Append(api.AuditEntry{Action: "after"})
	l.Append(api.AuditEntry{Action: "later"})
	list, err := l.Read(t.Context(), api.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Action+e.Detail)
	}
	want := "before, audit-gap3 lines could not be written since "
	if text := strings.Join(got, ", "); len(got) != 4 || !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "after, later") {
		t.Errorf("the log says %q", got)
	}
	if n, _ := l.Lost(); n != 0 {
		t.Errorf("it still misses %d lines", n)
	}
}

package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func FuzzATimeIsReadAsItWasWrittenOrRefused(f *testing.F) {
	for _, s := range []string{`"2026-11-22T22:00:05Z"`, `"2026-11-22T23:00:05.9+01:00"`, `""`, `null`, `"`, `7`, `"9999-12-31T23:59:59-23:59"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second api.Time
		if first.UnmarshalJSON(text) != nil {
			return
		}
		b, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if first.Year() > 9999 || first.Year() < 0 {
			return // only the zone takes a time there
		}
		if err := second.UnmarshalJSON(b); err != nil || !second.Equal(first.Time) {
			t.Errorf("%s was read as %v, written as %s and read as %v, %v", text, first, b, second, err)
		}
	})
}

func TestTimesThatCannotBeToldAreNot(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(1<<50, 0), time.Unix(-1<<50, 0)} {
		if got := api.Moment(at); got != nil {
			t.Errorf("%d is told as %v", at.Unix(), got)
		}
	}
	if got := api.Moment(time.Unix(5, 0)); got == nil || got.Unix() != 5 {
		t.Error(got)
	}
}

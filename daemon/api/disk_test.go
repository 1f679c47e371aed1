package api

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAMapThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	for text, fits := range map[string]bool{
		`{"size":100,"until":100,"ranges":[]}`:                                                        true,
		`{"size":100,"until":60,"ranges":[{"offset":10,"length":20},{"offset":30,"length":30}]}`:      true,
		`{"size":100,"until":100,"ranges":[{"offset":10,"length":20},{"offset":29,"length":30}]}`:     false,
		`{"size":100,"until":50,"ranges":[{"offset":10,"length":41}]}`:                                false,
		`{"size":100,"until":100,"ranges":[{"offset":10,"length":0}]}`:                                false,
		`{"size":100,"until":100,"ranges":[{"offset":-5,"length":10}]}`:                               false,
		`{"size":100,"until":100,"ranges":[{"offset":10,"length":9223372036854775807}]}`:              false,
		`{"size":100,"until":101,"ranges":[]}`:                                                        false,
		`{"size":100,"until":5,"ranges":[]}`:                                                          false, // it goes nowhere
		`{"size":9223372036854775807,"until":9223372036854775807,"ranges":[{"offset":9,"length":9}]}`: true,
	} {
		var m DiskRanges
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if err := m.check(5); (err == nil) != fits {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzAMapOfADiskIsSaneOrRefused(f *testing.F) {
	f.Add([]byte(`{"size":100,"until":60,"ranges":[{"offset":10,"length":20}]}`), int64(5))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		var m DiskRanges
		if json.Unmarshal(b, &m) != nil || offset < 0 || m.check(offset) != nil {
			return
		}
		at := offset
		for _, r := range m.Ranges {
			end := r.Offset + r.Length
			if r.Offset < at || end <= r.Offset || end > m.Until || m.Until > m.Size {
				t.Fatalf("%+v from %d on", m, offset)
			}
			at = end
		}
	})
}

func FuzzAPurposeIsALineOfBoundedLength(f *testing.F) {
	f.Add("cat%20web1@latest:%2Fetc%2Fpasswd")
	f.Add("%ff%0a%1b" + strings.Repeat("%C3%A4", 300))
	f.Fuzz(func(t *testing.T, header string) {
		words := ReadPurpose(header)
		if len(words) > maxPurpose+3 || strings.ContainsFunc(words, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(words) {
			t.Errorf("%q", words)
		}
		if again := ReadPurpose(escapePurpose(words)); len(words) <= maxPurpose && again != words {
			t.Errorf("%q became %q", words, again)
		}
	})
}

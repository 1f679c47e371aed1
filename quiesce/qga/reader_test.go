package qga

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestAStreamIsCutIntoMessages(t *testing.T) {
	long := strings.Repeat("x", maxString+1000)
	tests := []struct {
		name, stream string
		want         []string // a + before a delimited one
	}{
		{"lines", "{}\n\r\n\n{\"a\":1}\r\n", []string{"{}", "{\"a\":1}"}},
		{"what stood before a delimiter is dropped", "{\"a\":\"half\xff{}\n{}\n", []string{"+{}", "{}"}},
		{"a long string is cut, and ends", "{\"a\":\"" + long + "\",\"b\":2}\n", []string{"{\"a\":\"" + long[:maxString] + "\",\"b\":2}"}},
		{"quotes that are escaped end no string", "{\"a\":\"\\\"" + long + "\"}\n", []string{"{\"a\":\"\\\"" + long[:maxString-2] + "\"}"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newReader(strings.NewReader(test.stream))
			for _, want := range test.want {
				message, delimited, err := r.next()
				got := string(message)
				if delimited {
					got = "+" + got
				}
				if err != nil || got != want {
					t.Fatalf("%.80q, %v; want %.80q", got, err, want)
				}
			}
			if _, _, err := r.next(); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func FuzzAStreamNeverYieldsMoreThanItsBounds(f *testing.F) {
	f.Add([]byte("{}\n\xff{\"return\":\"\\\\\"}\n"))
	f.Add([]byte("\"\\"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newReader(bytes.NewReader(stream))
		total := 0
		for {
			message, _, err := r.next()
			if err != nil {
				break
			}
			if len(message) == 0 || bytes.ContainsAny(message, "\n\r") || bytes.IndexByte(message, delimiter) >= 0 {
				t.Fatalf("message %q", message)
			}
			total += len(message)
		}
		if total > len(stream) {
			t.Errorf("%d bytes out of %d", total, len(stream))
		}
	})
}

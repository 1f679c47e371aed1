package wtf8

import (
	"encoding/binary"
	"testing"
)

func bytesOf(units ...uint16) (b []byte) {
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func TestNamesComeThroughWhole(t *testing.T) {
	for _, c := range []struct {
		name  string
		units []uint16
		want  string
	}{
		{"ascii", []uint16{'a', '.', 'b'}, "a.b"},
		{"two bytes", []uint16{0xE4}, "ä"},
		{"three bytes", []uint16{0x65E5, 0x672C}, "日本"},
		{"a pair", []uint16{0xD83D, 0xDE00}, "😀"},
		{"a high one alone", []uint16{0xD800, 'x'}, "\xED\xA0\x80x"},
		{"a low one alone", []uint16{0xDFFF}, "\xED\xBF\xBF"},
		{"high at the end", []uint16{'x', 0xDBFF}, "x\xED\xAF\xBF"},
		{"pair the wrong way round", []uint16{0xDE00, 0xD83D}, "\xED\xB8\x80\xED\xA0\xBD"},
	} {
		if got := Decode(bytesOf(c.units...)); got != c.want {
			t.Errorf("%s: decoded %q, want %q", c.name, got, c.want)
		}
		if got := bytesOf(Encode(c.want)...); string(got) != string(bytesOf(c.units...)) {
			t.Errorf("%s: encoded % x, want % x", c.name, got, bytesOf(c.units...))
		}
	}
}

// FuzzDecode: any UTF-16 comes back as it was.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("a\x00\x00\xd8\x00\xdc\xff\xdf"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:len(b)&^1]
		if got := bytesOf(Encode(Decode(b))...); string(got) != string(b) {
			t.Fatalf("% x came back as % x", b, got)
		}
	})
}

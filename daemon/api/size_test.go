package api

import (
	"math"
	"testing"
)

func TestSizesAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 10: "64 KiB",
		1<<20 - 1: "1 MiB", 1<<30 - 1: "1 GiB", 161<<20 + 5: "161 MiB", 6 << 40: "6 TiB", 99*1024 + 1000: "100 KiB",
		math.MaxInt64: "8 EiB", -1024: "-1 KiB", math.MinInt64: "-8 EiB",
	} {
		if got := FormatSize(bytes); got != want {
			t.Errorf("%d is written %q, want %q", bytes, got, want)
		}
	}
}

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "65536": 65536, "64K": 64 << 10, "64k": 64 << 10, "64KiB": 64 << 10, "64 KiB": 64 << 10, "64kib": 64 << 10,
		"1GiB": 1 << 30, "1.5GiB": 3 << 29, "2T": 2 << 40, "7E": 7 << 60, "512B": 512, "0.5M": 1 << 19,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is read as %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1", "64KB", "1.2.3G", "1e9", "5%", "0x10", "64 K iB", "64XiB", "8E", "99999999999999999999", "inf", "NaN", "1_000", "1,5G", "64KKiB", "64Ki"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is read as %d, want an error", text, got)
		}
	}
}

func FuzzASizeIsReadOrRefused(f *testing.F) {
	for _, s := range []string{"64KiB", "1.5G", "", "-1", "9223372036854775807", "1.E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err == nil && n < 0 {
			t.Errorf("%q is read as %d", s, n)
		}
		if err == nil {
			if _, err := ParseSize(FormatSize(n)); err != nil && n < math.MaxInt64/1024*1023 {
				t.Errorf("%q, written %q, is not read again: %v", s, FormatSize(n), err)
			}
		}
	})
}

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/service"
)

// formatSize writes bytes for people: the only way in which sizes are shown.
func formatSize(bytes int64) string { return service.FormatSize(bytes) }

// parseSize reads a number of bytes: 65536, 64K, 64KiB, 1.5GiB. Units are
// powers of 1024.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTPEbkmgtpei ")
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	if strings.HasSuffix(unit, "B") && len(unit) == 2 {
		return 0, fmt.Errorf("size %q: %s means 1000 to some and 1024 to others, write %siB", s, unit, unit[:1])
	}
	factor, ok := int64(0), false
	for i, u := range service.SizeUnits {
		if full := strings.ToUpper(u); unit == full || unit == full[:1] || unit == "" && i == 0 {
			factor, ok = int64(1)<<(10*i), true
		}
	}
	number, err := strconv.ParseFloat(digits, 64)
	if strings.Trim(digits, "0123456789.") != "" || err != nil || !ok {
		return 0, fmt.Errorf("size %.40q: write a number and a unit, for example 64KiB or 1.5GiB", s)
	}
	if whole, err := strconv.ParseInt(digits, 10, 64); err == nil {
		if whole > math.MaxInt64/factor {
			return 0, fmt.Errorf("size %.40q is too large", s)
		}
		return whole * factor, nil
	}
	bytes := number * float64(factor)
	if bytes >= math.MaxInt64 {
		return 0, fmt.Errorf("size %.40q is too large", s)
	}
	return int64(bytes), nil
}

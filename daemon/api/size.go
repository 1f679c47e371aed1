package api

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// FormatSize writes bytes for people: the only way in which sizes are shown.
func FormatSize(bytes int64) string {
	if bytes < 0 {
		return "-" + FormatSize(-max(bytes, -math.MaxInt64))
	}
	value, unit := float64(bytes), 0
	// 1023.95 would be printed as 1024.0 of its unit, and from 99.95 on no
	// decimal is shown, so that 1023.5 would.
	for unit < len(sizeUnits)-1 && value >= 1023.5 {
		value /= 1024
		unit++
	}
	decimals := 1
	if value >= 99.95 {
		decimals = 0
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', decimals, 64), ".0") + " " + sizeUnits[unit]
}

// ParseSize reads a number of bytes: 65536, 64K, 64KiB, 1.5GiB. Units are
// powers of 1024.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTPEbkmgtpei ")
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	if strings.HasSuffix(unit, "B") && len(unit) == 2 {
		return 0, fmt.Errorf("size %q: %s means 1000 to some and 1024 to others, write %siB", s, unit, unit[:1])
	}
	factor, ok := int64(0), false
	for i, u := range sizeUnits {
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

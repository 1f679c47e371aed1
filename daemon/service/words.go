package service

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// SizeUnits are those of sizes, each 1024 times the one before.
var SizeUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// FormatSize writes bytes for people: the only way in which sizes are shown.
func FormatSize(bytes int64) string {
	if bytes < 0 {
		return "-" + FormatSize(-max(bytes, -math.MaxInt64))
	}
	value, unit := float64(bytes), 0
	// 1023.95 would be printed as 1024.0 of its unit, and from 99.95 on no
	// decimal is shown, so that 1023.5 would.
	for unit < len(SizeUnits)-1 && value >= 1023.5 {
		value /= 1024
		unit++
	}
	decimals := 1
	if value >= 99.95 {
		decimals = 0
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', decimals, 64), ".0") + " " + SizeUnits[unit]
}

// Count writes a number of things.
func Count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

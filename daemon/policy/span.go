package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxSpan is the longest span that is understood.
const MaxSpan = 3660 * 24 * time.Hour

var units = []struct {
	words []string
	long  time.Duration
}{
	{[]string{"w", "week", "weeks"}, 7 * 24 * time.Hour},
	{[]string{"d", "day", "days"}, 24 * time.Hour},
	{[]string{"h", "hour", "hours"}, time.Hour},
	{[]string{"m", "min", "minute", "minutes"}, time.Minute},
	{[]string{"s", "second", "seconds"}, time.Second},
}

// ParseSpan reads a length of time: 90m, 4h, 1d12h, 2 weeks. It is not
// negative and at most MaxSpan; a day has 24 hours.
func ParseSpan(text string) (time.Duration, error) {
	bad := fmt.Errorf("%.40q is no length of time such as 30m, 4h, 2d or 1w", text)
	rest := strings.ReplaceAll(strings.ToLower(text), " ", "")
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, bad
	}
	var sum time.Duration
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		long := unitOf(rest[:letters])
		rest = rest[letters:]
		if err != nil || long == 0 {
			return 0, bad
		}
		if int64(n) > int64(MaxSpan/long) {
			return 0, fmt.Errorf("%.40q is more than %s", text, FormatSpan(MaxSpan))
		}
		if sum += time.Duration(n) * long; sum > MaxSpan {
			return 0, fmt.Errorf("%.40q is more than %s", text, FormatSpan(MaxSpan))
		}
	}
	return sum, nil
}

func unitOf(word string) time.Duration {
	for _, u := range units {
		for _, w := range u.words {
			if w == word {
				return u.long
			}
		}
	}
	return 0
}

// FormatSpan writes a length of time as ParseSpan reads it, to the second.
func FormatSpan(d time.Duration) string {
	if d < time.Second {
		return "0"
	}
	var b strings.Builder
	for _, u := range units[1:] {
		if n := d / u.long; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.words[0])
			d -= n * u.long
		}
	}
	return b.String()
}

package status

import "fmt"

// Span writes seconds for people who look at one screen: the two largest units, 3h20m, 2d4h, 45s.
func Span(seconds int64) string {
	if seconds < 60 {
		return fmt.Sprintf("%ds", max(seconds, 0))
	}
	units := []struct {
		name string
		long int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}}
	for i, u := range units {
		n := seconds / u.long
		if n == 0 {
			continue
		}
		if i+1 < len(units) {
			if rest := seconds % u.long / units[i+1].long; rest > 0 {
				return fmt.Sprintf("%d%s%d%s", n, u.name, rest, units[i+1].name)
			}
		}
		return fmt.Sprintf("%d%s", n, u.name)
	}
	return "0s"
}

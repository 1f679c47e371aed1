package backup

import (
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// SafeName makes of what a VM is called a name that a machine can have: other
// characters become dashes. It has at most length bytes, and is none that taken
// knows; nil knows none.
func SafeName(name string, length int, taken func(string) bool) string {
	var b strings.Builder
	for _, r := range name {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+", r)) {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
	}
	safe := strings.Trim(b.String(), "-")
	safe = strings.TrimRight(safe[:min(len(safe), length-4)], "-")
	if blockstore.CheckMachineName(safe) != nil {
		safe = strings.TrimLeft("vm-"+strings.Trim(safe, "."), ".")
		safe = strings.TrimRight(safe, "-")
	}
	for n, base := 2, safe; taken != nil && taken(safe); n++ {
		safe = fmt.Sprintf("%s-%d", base, n)
	}
	return safe
}

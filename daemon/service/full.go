package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// fullPatience bounds the look at what fills a vault: a backup that failed
// does not wait long for advice.
const fullPatience = 10 * time.Second

// whatHelps adds to an error of a full vault what gives space back, in bytes.
// It reads and writes nothing.
func whatHelps(ctx context.Context, v *blockstore.Vault, err error) error {
	ctx, cancel := context.WithTimeout(ctx, fullPatience)
	defer cancel()
	u, e := v.Usage(ctx)
	if e != nil {
		return Hinted(err, "the recovery points are whole and can be restored; `holdfast sweep --dry-run` says what can go, `holdfast sweep --plan-free SIZE` which points to give up")
	}
	return Hinted(err, adviceOn(u))
}

func adviceOn(u *blockstore.Usage) string {
	lines := []string{"the recovery points are whole and can be restored. What gives space back:"}
	add := func(bytes int64, what, command string) {
		if bytes > 0 {
			lines = append(lines, fmt.Sprintf("  %s %s: `%s`", api.FormatSize(bytes), what, command))
		}
	}
	add(u.Trash, fmt.Sprintf("only in the trash (%s)", Count(u.InTrash, "point")), "holdfast trash empty --now")
	add(u.Unnamed, "of backups that did not end, and of dropped points", "holdfast sweep --now")
	add(u.Dead, "that nothing names, among what is needed", "holdfast sweep --full")
	lines = append(lines, "  points that can be given up: `holdfast sweep --plan-free 10GiB` names them")
	return strings.Join(lines, "\n")
}

package service

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// FormatSize writes bytes for people.
func FormatSize(bytes int64) string { return api.FormatSize(bytes) }

// Count writes a number of things.
func Count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

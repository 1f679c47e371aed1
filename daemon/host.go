package daemon

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/notify"
)

// bootTime is when this host started; zero where that cannot be told.
func bootTime() time.Time {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
				return time.Unix(n, 0)
			}
		}
	}
	return time.Time{}
}

// HostZone is the name of this host's time zone, UTC where it has none.
func HostZone(getenv func(string) string) string {
	if z := strings.TrimPrefix(getenv("TZ"), ":"); z != "" && !strings.HasPrefix(z, "/") {
		return z
	}
	target, err := os.Readlink("/etc/localtime")
	if _, name, ok := strings.Cut(target, "zoneinfo/"); err == nil && ok {
		return name
	}
	return "UTC"
}

// ReadConfig reads a file of configuration on this host.
func ReadConfig(path string, getenv func(string) string) (config.Config, error) {
	return config.ReadFile(path, HostZone(getenv), &notify.Config{})
}

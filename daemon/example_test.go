package daemon_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/notify"
)

// The end of the package's example, with its notifications taken out of their comment, is right.
func TestTheExampleOfNotificationsIsRight(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../integration/package/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	usual, section, _ := strings.Cut(string(b), "# notifications:")
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := usual + "notifications:" + regexp.MustCompile(`(?m)^#`).ReplaceAllString(section, "")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := daemon.ReadConfig(file, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	n, ok := c.Notifications.(*notify.Config)
	if !ok || len(n.Webhooks) != 2 || n.Heartbeat == (notify.Heartbeat{}) {
		t.Errorf("%+v", c.Notifications)
	}
	for _, of := range []any{notify.Config{}, notify.Webhook{}, notify.Mail{}, notify.Heartbeat{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if !regexp.MustCompile(`(?m)\b` + key + `: `).MatchString(strings.ReplaceAll(section, ":\n", ": \n")) {
				t.Errorf("the key %s is not shown", key)
			}
		}
	}
}

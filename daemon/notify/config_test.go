package notify

import (
	"errors"
	"strings"
	"testing"
)

func TestAConfigurationThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	mail := func(change func(*Mail)) Config {
		m := &Mail{Server: "smtp.example.com:587", From: "a@example.com", To: []string{"b@example.com"}}
		change(m)
		return Config{Mail: m}
	}
	for _, c := range []struct {
		c    Config
		want string // key; "": it is taken
	}{
		{Config{}, ""},
		{mail(func(*Mail) {}), ""},
		{Config{Webhooks: []Webhook{{URL: "https://x/y", On: []string{"failure"}}}, Repeat: "2w", Heartbeat: Heartbeat{URL: "http://x"}}, ""},
		{Config{Webhooks: []Webhook{{}}}, "webhooks.0.url"},
		{Config{Webhooks: []Webhook{{URL: "x"}}}, "webhooks.0.url"},
		{Config{Webhooks: []Webhook{{URL: "ftp://x/"}}}, "webhooks.0.url"},
		{Config{Webhooks: []Webhook{{URL: "https://u:p@x/"}}}, "webhooks.0.url"},
		{Config{Webhooks: []Webhook{{URL: "https://x/", URLFile: "/f"}}}, "webhooks.0.url"},
		{Config{Webhooks: []Webhook{{URLFile: "f"}}}, "webhooks.0.url-file"},
		{Config{Webhooks: []Webhook{{URL: "https://x/", TokenFile: "f"}}}, "webhooks.0.token-file"},
		{Config{Webhooks: []Webhook{{URL: "https://x/", Format: "xml"}}}, "webhooks.0.format"},
		{Config{Webhooks: []Webhook{{URL: "https://x/", On: []string{"all"}}}}, "webhooks.0.on"},
		{Config{Webhooks: make([]Webhook, 21)}, "webhooks"},
		{Config{Heartbeat: Heartbeat{URL: "x"}}, "heartbeat.url"},
		{Config{Repeat: "1x"}, "repeat"}, {Config{Repeat: "h"}, "repeat"}, {Config{Repeat: "0d"}, "repeat"}, {Config{Repeat: "99w"}, "repeat"},
		{Config{Name: "a\nb"}, "name"},
		{mail(func(m *Mail) { m.Server = "smtp.example.com" }), "mail.server"},
		{mail(func(m *Mail) { m.Server = ":25" }), "mail.server"},
		{mail(func(m *Mail) { m.From = "nobody" }), "mail.from"},
		{mail(func(m *Mail) { m.To = nil }), "mail.to"},
		{mail(func(m *Mail) { m.To = []string{"a@b.c", "x"} }), "mail.to"},
		{mail(func(m *Mail) { m.User = "u" }), "mail.user"},
		{mail(func(m *Mail) { m.User, m.PasswordFile, m.TLS = "u", "/f", "none" }), "mail.tls"},
		{mail(func(m *Mail) { m.PasswordFile = "f"; m.User = "u" }), "mail.password-file"},
		{mail(func(m *Mail) { m.TLS = "ssl" }), "mail.tls"},
	} {
		wrong := c.c.Check()
		if (wrong == nil) != (c.want == "") {
			t.Errorf("%+v: %v, want %q", c.c, wrong, c.want)
		}
		if c.want == "" {
			continue
		}
		found := false
		for _, err := range wrong.(interface{ Unwrap() []error }).Unwrap() {
			var at *KeyError
			found = found || errors.As(err, &at) && strings.Join(at.Key, ".") == c.want
		}
		if !found {
			t.Errorf("%v: %q is not named", wrong, c.want)
		}
	}
}

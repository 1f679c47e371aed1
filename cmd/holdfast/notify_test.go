package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestATestMessageGoesToEverybody(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "config.yaml")
	config := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("state: /x\nvaults: []\nnotifications:\n  webhooks:\n    - url: %s/hook\n      format: slack\n  heartbeat: {url: %s/beat}\n", server.URL, server.URL)
	config(good)
	s.must(exitDone, "test-notify", "--config", file).says(t, "webhook 1: taken\nheartbeat: taken\n")
	if a, b := <-asked, <-asked; a != "POST /hook" || b != "GET /beat" {
		t.Errorf("%s, %s", a, b)
	}
	config(good + "  mail:\n    server: 127.0.0.1:1\n    from: a@example.com\n    to: [b@example.com]\n  repeat: 2d\n")
	s.must(exitFailed, "test-notify", "--config", file).says(t, "1 of 3 were not reached")
	for text, want := range map[string]string{
		"vaults: []\n":                                     "there is no section notifications",
		"notifications: {}\n":                              "notifications is empty",
		"notifications: [1]\n":                             "line 1",
		"notifications:\n  webhook: []\n":                  `line 2: unknown field "webhook"`,
		"notifications:\n  webhooks: [{url: 'ftp://x'}]\n": "webhooks.0.url",
		"{": "line 1",
	} {
		config(text)
		s.must(exitFailed, "test-notify", "--config", file).says(t, want)
	}
	s.must(exitNotFound, "test-notify", "--config", file+".not")
}

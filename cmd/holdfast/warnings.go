package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// warnings is a slog.Handler that says what matters to people in the console's
// way: `warning: message: value`. It does not count them for the exit code.
type warnings struct {
	k     *console
	attrs []slog.Attr
}

// Enabled tells whether a level is for people.
func (w warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle says one record.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := []string{r.Message}
	add := func(a slog.Attr) bool {
		value := strings.TrimSpace(a.Value.Resolve().String())
		if a.Key != "error" {
			value = fmt.Sprintf("%s %s", a.Key, value)
		}
		text = append(text, value)
		return true
	}
	for _, a := range w.attrs {
		add(a)
	}
	r.Attrs(add)
	w.k.say("warning: %s", strings.Join(text, ": "))
	return nil
}

// WithAttrs is part of slog.Handler.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.k, append(append([]slog.Attr{}, w.attrs...), attrs...)}
}

// WithGroup is part of slog.Handler; groups do not show.
func (w warnings) WithGroup(string) slog.Handler { return w }

package api

import "context"

// Caller is on whose behalf something is asked of [Operations].
type Caller struct {
	Name    string // of a user or a token, as a job shows it
	Trusted bool   // has the rights of the process itself: may name paths
	PID     int    // of the process of this host that asks; 0: not known
}

type callerKey struct{}

// WithCaller returns a context of what c asks for.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who asks; ok is false where it is the process itself.
func CallerOf(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	return c, ok
}

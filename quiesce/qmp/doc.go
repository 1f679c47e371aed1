// Package qmp speaks QEMU's monitor protocol over a Unix socket.
//
// A [Client] is one connection. [Client.Do] carries out one command and may be
// called by many goroutines at once: each command carries a number, and its
// answer is found by it. Whatever QEMU says by itself comes as an [Event].
//
// The package promises that
//
//   - nothing waits for ever: connecting, greeting, sending and every answer have
//     a deadline, whether or not the context has one;
//   - an answer may be as long as QEMU likes (its schema is hundreds of KiB on one
//     line), but not longer than [MaxMessage], and nothing else takes memory
//     without bound: events that nobody fetches are dropped and counted;
//   - a socket that takes a connection but says nothing is told apart from one that
//     is absent: a monitor serves one client at a time ([ErrBusy]).
//
// A command whose context ends before its answer came may still be carried out.
//
// The protocol is described in docs/interop/qmp-spec of QEMU's sources.
package qmp

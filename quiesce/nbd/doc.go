// Package nbd reads and writes disks that an NBD server exports over a Unix
// socket or TCP, as QEMU and qemu-nbd do.
//
// A [Client] is one connection to one export. Many goroutines may read through
// it at once: requests are numbered, sent without waiting for each other, and
// answered in any order. What the export says of its ranges (allocated, zero,
// changed since a bitmap was begun) is asked for by [Client.BlockStatus].
//
// Where a server takes changes, [Client.WriteAt], [Client.Zero], [Client.Trim] and
// [Client.Flush] make them; a server that keeps a writer waiting for minutes is left.
//
// The server is not trusted. Every length, count, offset, number and name that
// it sends is checked before it is used; bytes that it did not send are never
// taken for zeros. The first violation of the protocol ends the connection, and
// every call on it, pending or later, returns an error that names the violation.
// So does a server that has requests to answer and finishes none of them for a while
// ([Options.Stall]), however many bytes it lets drip.
//
// Of Client's locks no two are held at once, and nothing is sent or received while
// mu is held: a server that does not listen holds up who sends, not who receives.
//
// The protocol is described at
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. Only its
// fixed newstyle handshake is spoken, without TLS.
package nbd

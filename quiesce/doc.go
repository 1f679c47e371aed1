// Package quiesce brings about a consistent moment of a machine: what a backup
// reads lies below it, each kind of source in a package of its own.
//
//	quiesce/image  image files and block devices of machines that are off
//	quiesce/nbd    client of NBD servers, which QEMU and qemu-nbd are
package quiesce

// Package procs finds the QEMU processes of this host and reads from their command lines
// which machine each runs: name, UUID, sockets of its monitor and of its guest agent,
// and its disks.
//
// [List] looks through /proc, [Get] at one process, and [Parse] understands a command
// line. Nothing is asked of QEMU, and no file but those of /proc is opened. Whoever may
// start a process chooses its command line: what is found is a claim, to be confirmed
// by asking the monitor, and never obeyed. Options that are not understood are passed
// over; a line of any content is parsed in time and memory proportional to its length.
//
// The syntax is that of QEMU's manual page: options with one or two dashes, values of
// key=value pairs between commas, a comma within a value being written twice; -blockdev,
// -device and -object values may be JSON.
package procs

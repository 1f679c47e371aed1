// Package quiesce brings about a consistent moment of a machine: what a backup
// reads lies below it, each kind of source in a package of its own.
//
//	quiesce/image    image files and block devices of machines that are off
//	quiesce/nbd      client of NBD servers, which QEMU and qemu-nbd are
//	quiesce/qga      client of the guest agent
//
// [Quiesce] runs the hooks, freezes the guest's file systems, has the snapshot
// taken, thaws, and reports what was reached. A guest is never left frozen:
//
//   - before a freeze it is written down in a [Journal], on disk, and a [Guard], a
//     process of its own, is told;
//   - whatever happens after that, thaw is tried again and again until the agent says that
//     nothing is frozen; a freeze that timed out may still happen later, and ends
//     the same way;
//   - the guard thaws within a second when this process dies, and wakes it, or kills it,
//     when it stands still;
//   - [ThawLeftovers] thaws what both left behind. It needs the journal's folder and nothing
//     else.
//
// Nothing better is claimed than what was seen: see [Report.Reached].
package quiesce

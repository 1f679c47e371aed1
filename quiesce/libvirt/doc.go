// Package libvirt backs up libvirt's domains: it lists them, keeps what defines
// them, holds their guests still and takes snapshots of their disks, all through
// virsh.
//
// A [Host] is a connection, a [Domain] a machine that it knows, running or not. An
// [Agent] holds the guest still. [Domain.Snapshot] starts a backup job of libvirt's in
// pull mode, with a checkpoint for the disks that can have one, and yields each disk as
// a source of a backup; [Snapshot.Release] ends it. The package promises that
//
//   - a domain is addressed by its UUID, so that no name is ever taken for an option;
//     no shell is involved; every call has a deadline and its output a limit;
//   - only what carries our names is touched: checkpoints hf-<vault>-<point>, and a backup
//     job that exports on a socket of ours. A job or checkpoint of others is left
//     alone, and [BusyError] says that there is one;
//   - after a run that failed, the parent's checkpoint still holds all that changed
//     since; one that cannot be believed is replaced, and the disk is read whole;
//   - scratch files are watched, and the job ended before they can stop the guest;
//   - QEMU's and libvirt's monitor and agent sockets are never connected to beside
//     libvirt;
//   - nothing that taints a domain is done unless it was asked for.
//
// Formats: https://libvirt.org/formatdomain.html, formatbackup.html and
// formatcheckpoint.html.
package libvirt

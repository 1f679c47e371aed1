// Package fusefs shows the recovery points of a vault as a read-only tree:
//
//	<mount>/<machine>/<2026-11-22T22-00-05Z>/point.json
//	                                         config/<name>
//	                                         disks/<disk>.raw
//	                                         files/volumes.json
//	                                         files/<volume>/<the guest's files>
//	                                         files/root/<the same, as the guest sees them>
//	<mount>/<machine>/latest -> the newest point's folder
//
// [Mount] mounts it and returns a [Server]; [Vault] and [Disk] are what it needs
// of a vault. It is the only importer of go-fuse.
//
// # Names
//
// A machine's folder has the name that its newest point carries. Where several
// machine ids share a name, each of their folders is called <name>-<machine id>.
// A point's folder is its time in UTC to the second. Where several points of a
// machine share a second, the first of them has that name and each later one
// is called <time>-<point id>: a name does not change when another point
// appears or goes, as long as the mount lasts. After a remount names are the same,
// unless the first of such points went meanwhile. Whatever a folder is called,
// its inode number (ino.go) stays.
//
// # Files of guests
//
// files/ has a folder for each volume that can be read in user space
// (fusefs/guestfs); volumes.json names the others, too, and why they cannot. Nothing
// of a guest is read before its files/ is. Inside, everything is as the guest has
// it: owners, modes, times, links, holes, extended attributes. The mounting user reads all
// of it whatever owners say; where others are let in, the kernel judges by them. Devices are
// shown and cannot be opened (nodev). A few volumes are open at a time, and none for long
// when nobody uses it: guests.go.
//
// files/root is the guest's root as a whole, where one is found: its volumes joined by its
// fstab, or a folder for each drive of Windows by its letter (files/root/C). What the point
// does not hold there is a line of volumes.json and of the log, and the folder that lies below
// it is shown. Absolute links are as everywhere in files/: they lead where they say, or
// within files/root if that is asked for.
//
// These inodes are not nodes of the library, which keeps each that the kernel knows in
// memory: their kernel names say all ([guestTree]), so that walking millions of files
// takes nothing.
//
// # Promises
//
// Bytes come from [Disk.ReadAt], which verifies them, straight into the reply; a
// range that cannot be read is EIO, with one log line that names machine, point,
// disk and offset. A reply is never short before a disk's end, since the kernel
// would take that for the end of the file and show zeros.
//
// Content never changes, so the kernel is told to keep it for an hour and across
// opens. Folders of the root and of machines follow the vault: a new point is
// seen, and a dropped one gone, within [Options.Refresh]. A disk of a dropped point
// that is still open goes on reading whatever can still be read.
//
// Nothing in this package opens, stats or lists a path on its own mount: that
// could wait for itself. Nothing is locked across a read. Three goroutines live
// as long as the mount (mount.go starts them, [Server.Wait] waits for them).
package fusefs

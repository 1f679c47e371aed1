// Package image reads the disks of machines that are off: raw files, block
// devices and qcow2 images with their backing files, as sources of a backup; and
// changes them in place for a restore.
//
// A [Spec] names an image; [Open] makes it an [Image], which yields size, bytes
// and extents. [Hold] keeps QEMU away from it by QEMU's own locks, until Release; an
// [Editor] of a [Held] changes it, qcow2 through qemu-nbd, which inherits the locks so
// that they last as long as anything is written. The package promises that
//
//   - nothing is probed: a format that is not named is raw, and what looks like
//     another one is refused with the option to give;
//   - no header names files for us: the chain of backing files is walked here,
//     inside the folders of the Spec, and the process that reads a qcow2 image
//     (qemu-nbd, read-only) is given each layer's format and open file;
//   - of files that another process opened ([Spec].Files), whose rights are less than ours, only
//     those are read, if they were opened for reading and lie where images do;
//   - an image in use is refused, unless the Spec says otherwise: QEMU's locks,
//     loop devices and, for block devices, everything that [DeviceUsers] sees;
//   - reading never keeps a machine from starting: [Image.Watch] reports it within
//     a second, and [Image.Verify] looks once more at the end;
//   - bytes that cannot be read are an error, never zeros.
//
// What it cannot see: other hosts that share a device, writers in containers whose
// processes are hidden, and writers who lock nothing until they write.
package image

// Package lvm reads volume groups of LVM2 from the disks and partitions that are
// their physical volumes. It knows nothing of what lies in a volume.
//
// [ReadPV] tells a physical volume and reads its newest metadata; [Assemble] joins
// those of one group, over as many disks as there are, and gives its logical
// volumes as io.ReaderAt: linear, striped, mirrored, RAID, thin ones and their
// snapshots, and cached ones whose origin has all that was written. A [Volume] that
// cannot be read says why in Err: a physical volume is missing (a
// [MissingError]), or it is of a kind that is only named (a [KindError]).
//
// Everything read is bounded: the text of metadata, the depth and number of its
// values, segments, stripes, and volumes that lie in volumes.
//
// Sources: LVM2's documentation of its on-disk format (label and metadata areas,
// text format 1), lvm.conf(5), lvmraid(7).
package lvm

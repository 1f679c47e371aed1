// Package part reads partition tables: GPT, from its backup copy too, and MBR
// with logical partitions. It knows nothing of what lies in a partition.
//
// [Read] promises for any content of a disk: it ends, takes no more than a few
// MiB, and every [Partition] that it returns lies within the disk.
//
// Sources: UEFI specification 2.10, section 5 (GPT, protective MBR); the layout
// of MBR and EBR as Linux reads it.
package part

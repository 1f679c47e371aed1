package fusefs

import (
	"crypto/sha256"
	"encoding/binary"
)

// The kinds of nodes, as they enter inode numbers.
const (
	kindMachine   = "machine"
	kindLatest    = "latest"
	kindPoint     = "point"
	kindPointJSON = "point.json"
	kindConfigs   = "config"
	kindConfig    = "config file"
	kindDisks     = "disks"
	kindDisk      = "disk"

	kindFiles       = "files"
	kindVolumesJSON = "volumes.json"
	kindVolume      = "volume" // the number that its inodes are moved by
	kindMount       = "mount"  // the same of a volume as part of the guest's root
	kindDrives      = "drives"
)

// rootIno is the root's inode number.
const rootIno = 1

// ino computes an inode number: the first 63 bits of the SHA-256 of the kind,
// the id of the point (or machine) and the name of the file within it, separated
// by zero bytes. Numbers depend on nothing else, so they are the same after a
// remount, in other mounts and whatever folders are called. They stay clear of 0,
// of the root's and of the upper half, which the library hands out itself. Two
// among a million files share a number with a probability of 5e-8.
func ino(kind, id, name string) uint64 {
	h := sha256.Sum256([]byte(kind + "\x00" + id + "\x00" + name))
	n := binary.BigEndian.Uint64(h[:]) >> 1
	if n <= rootIno {
		n += 2
	}
	return n
}

package libvirt

import (
	"errors"
)

// Rewrite says what to change in a domain's definition. Fields that are empty
// change nothing.
type Rewrite struct {
	Name    string
	UUID    string // "new" makes one
	NewMACs bool   // every interface gets a MAC address of its own
	// Disks are where disks lie now, by name of the target. Those that are not named stay.
	Disks map[string]NewDisk
	// Remove takes disks out, by name of the target.
	Remove []string
	NVRAM  string // path of the file
}

// NewDisk is where a disk lies now. Its layers below, encryption and network
// addresses are forgotten.
type NewDisk struct {
	Path   string
	Format string // raw or qcow2
	Block  bool   // it is a block device
	NBD    *NewNBD
}

// NewNBD is an export that a disk is now.
type NewNBD struct {
	Host   string
	Port   int
	Socket string // instead of Host and Port
	Export string
}

// RewriteXML changes a domain's definition and keeps all that it does not know.
func RewriteXML(text string, r Rewrite) (string, error) {
	return "", errors.New("not built yet")
}

package qemu

// ScratchOptions say where what the guest overwrites is kept while a snapshot is
// read. The zero value is what is usual.
type ScratchOptions struct {
	Folder   string // empty: DefaultScratch. QEMU's user must be able to enter it
	Cap      int64  // bytes that all runs together may use in it; 0: no cap
	LowWater int64  // bytes that stay free on its file system; 0: 5 % of it, and at least 1 GiB
}

// DefaultScratch is a folder that the usual profiles of AppArmor and SELinux let
// machines of libvirt use.
const DefaultScratch = "/var/lib/libvirt/qemu/holdfast"

func (o *ScratchOptions) folder() string {
	if o.Folder == "" {
		return DefaultScratch
	}
	return o.Folder
}

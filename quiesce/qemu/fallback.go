package qemu

func (m *Machine) fallsBack(d *Disk) bool { return d.IOThread != "" && m.version.before(9, 0) }

// refusal says why a disk cannot be backed up at all.
func (m *Machine) refusal(d *Disk) string {
	if m.fallsBack(d) && !m.features.fuse {
		return "it is served by an I/O thread (" + d.IOThread + "), QEMU " + m.version.String() +
			" would die of an NBD export of it, and has no FUSE exports: take the iothread from the disk, or use QEMU 9.0 or newer"
	}
	return ""
}

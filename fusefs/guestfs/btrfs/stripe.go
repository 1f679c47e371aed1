package btrfs

// copies is how many places hold what lies at an address of the chunk.
func (c *chunk) copies() int {
	switch {
	case c.profile&profileRaid10 != 0:
		return c.sub
	case c.profile&(profileRaid0|profileRaid5|profileRaid6) != 0:
		return 1
	}
	return len(c.stripes) // single, DUP and mirrors
}

// place returns where a copy of an address lies, and how many bytes follow there in
// one piece. How profiles spread stripes over devices: "Chunks" of the documentation.
func (c *chunk) place(logical uint64, copy int) (stripe, uint64) {
	off := logical - c.start
	n := uint64(len(c.stripes))
	nr, in := off/c.stripeLen, off%c.stripeLen
	column, row := uint64(copy), uint64(0)
	switch {
	case c.profile&profileRaid0 != 0:
		column, row = nr%n, nr/n
	case c.profile&profileRaid10 != 0:
		groups := n / uint64(c.sub)
		column, row = nr%groups*uint64(c.sub)+uint64(copy), nr/groups
	case c.profile&(profileRaid5|profileRaid6) != 0:
		data := n - 1
		if c.profile&profileRaid6 != 0 {
			data = n - 2
		}
		row = nr / data
		column = (nr%data + row) % n // parity moves on by one device with each row
	default:
		s := c.stripes[column]
		return stripe{s.device, s.off + off}, c.length - off
	}
	s := c.stripes[column]
	return stripe{s.device, s.off + row*c.stripeLen + in}, min(c.stripeLen-in, c.length-off)
}

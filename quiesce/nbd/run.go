package nbd

import "context"

// Run says how far from off on the export is all zeros or all something else, at most
// length bytes, and which of them, as base:allocation has it. Where the server does not
// tell, nothing is zero.
func (c *Client) Run(ctx context.Context, off, length int64) (n int64, zero bool) {
	status, err := c.BlockStatus(ctx, off, length)
	extents := status[BaseAllocation]
	if err != nil || len(extents) == 0 {
		return length, false
	}
	zero = extents[0].Flags&ZeroBytes != 0
	for _, x := range extents {
		if (x.Flags&ZeroBytes != 0) != zero {
			break
		}
		n += x.Length
	}
	return min(n, length), zero
}

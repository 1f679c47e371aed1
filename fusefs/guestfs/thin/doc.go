// Package thin reads pools of thin volumes of device-mapper (dm-thin), their volumes and
// snapshots, from the two devices of a pool: metadata and data.
//
// [Open] reads the superblock; [Pool.Volume] gives a volume by its number as an
// io.ReaderAt, whose blocks that were never written read as zeros. The last committed
// state is read, which is what the kernel begins with after a power cut. Every block of
// metadata counts only with its checksum and its own number; trees are bounded in depth,
// and a pool keeps at most 4 MiB of them in memory.
//
// Sources: the documentation of thin provisioning and of persistent data in the Linux
// kernel, and the output of thin_dump(8) on known pools.
package thin

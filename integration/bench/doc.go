// Bench measures Holdfast beside its peers (borg, restic, qemu-img, cp, a FUSE
// file served from memory) in one run, and says which of the figures that the
// project promises were reached.
//
// It makes a disk image of real files and a second day of changes, keeps image,
// vaults, repositories and targets on tmpfs so that no disk's mood is measured,
// runs ours and the peer in turn for several rounds, and takes the best of each.
// Memory that tmpfs hands out for the first time costs more than memory that was
// used before, above all in a virtual machine: before each run that writes, as
// much is written and freed again. CPU seconds are those of the process and its
// children; RssAnon is sampled every few milliseconds.
//
// Machines that run are a QEMU without a guest, whose disks are written through a file that
// QEMU itself shows, so that each write takes the way of a guest's, and a guest under TCG
// where one is to be frozen. A slow vault is one behind FUSE that takes 20 MB a second; the quick
// one beside it lies behind FUSE as well.
//
//	go run ./integration/bench --holdfast bin/holdfast             everything
//	go run ./integration/bench --holdfast bin/holdfast --only mount,sweep
//	go run ./integration/bench --keep --work DIR                   leaves the image for the next run
package main

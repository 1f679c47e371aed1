// Package integration holds the tests of the whole: the built binary, as a
// person runs it, on real disk images, real mounts and the tools of the host.
// It also holds what belongs to no package: the list of arrows between
// packages (layers_test.go), the demo (demo.sh), the packages that tests, demo
// and benchmark need from Debian (install-deps), and the benchmark beside its
// peers (bench).
//
// Tests that need root, FUSE or a tool of the host skip where it is missing and
// say so; with HOLDFAST_CI=1 they fail instead (package needs).
package integration

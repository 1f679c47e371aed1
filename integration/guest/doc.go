// Package guest gives tests a real guest: a small Debian with the QEMU guest agent, two
// disks and a program that keeps a journal on both (package journal says how it is
// examined). It runs under TCG, so that no test needs KVM, and answers its agent after 15 to 60 seconds.
//
// The guest's files are built once (by the script build, as root, about a minute) and kept
// in the user's cache folder, under a name that changes with whatever they are
// made from. HOLDFAST_GUEST names a folder with files that were made elsewhere.
//
// Where the guest cannot be built or started, tests are skipped, and fail when
// HOLDFAST_CI=1.
package guest

// Package daemon is Holdfast as a service of a host: it joins the packages below it, and adds
// what only something that stays can do.
//
// [Run] is a daemon from its start to its end. It holds its vaults: each is opened, and opened again
// whenever that failed, its file system hung, or a command had it for itself; none keeps anything from
// the others. Its scheduler starts what is due in each vault, as a pure function of a situation decides:
// the time, the policies, the last jobs and points, what is held. Domains of libvirt with the tag of
// a policy are protected by themselves.
//
// It promises:
//
//   - A run that is due is begun, late where it must be, and once: after any stop, and whatever the clocks do.
//   - A vault that does not answer fails its jobs within a minute; thawing, other vaults and the interface go on.
//   - A configuration that is wrong changes nothing.
//   - When Run returns no guest is frozen, nothing of ours is left in a VM, nothing is mounted, and the vaults
//     are closed; where it was killed, the next one sees to that.
//
// Locks: scheduler.mu comes before vaults.mu, and that before heldVault.mu; none is held while a vault is read or
// a job is started or cancelled. The loops of a daemon are listed in one function, live, which waits for them.
package daemon

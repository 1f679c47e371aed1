// Package status says whether all is well: pure functions over facts that it is given.
//
// [Compose] makes an [api.Status] of [Facts] about vaults, their machines and the VMs of a
// host. What is at risk is decided here and nowhere else: a machine without a good point, or whose
// newest good one is older than its policy allows, one that fell out of every policy, a vault that
// cannot be read, is damaged, nearly full, or whose clock is not believed. It also says when a vault will be
// full. [Usage] says what machines used, month by month, and [Nagios] puts a status in one line.
//
// Nothing here opens a vault, asks a host or knows the time, except from its arguments; nothing
// that is returned shares memory with them.
package status

package blockstore

import "golang.org/x/sys/unix"

// Beside is the path of something that grows by itself, such as the disk of a
// machine, and shares the vault's file system, for which twice the floor is
// kept free there; "" when none is known, or the owner was told how much to leave
// free. See [BackupOptions].
func (o *Owner) Beside() string {
	if p := o.beside.Load(); p != nil {
		return *p
	}
	return ""
}

// lookBeside finds out whether one of some files shares the vault's file
// system.
func (o *Owner) lookBeside(paths []string) {
	if o.opts.MinFree != 0 || o.Beside() != "" {
		return
	}
	done := o.dir.Call("stat", ".")
	var vault unix.Stat_t
	err := unix.Stat(o.dir.Root(), &vault)
	done()
	if err != nil {
		return // who writes there hears of it
	}
	for _, p := range paths {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Dev == vault.Dev && st.Mode&unix.S_IFMT != unix.S_IFBLK {
			o.beside.Store(&p)
			return
		}
	}
}

package api

// DoneBy says which job of a daemon made the backup.
func (b *Backup) DoneBy(job string) { b.Job = job }

// DoneBy says which job of a daemon swept.
func (s *Sweep) DoneBy(job string) { s.Job = job }

// DoneBy says which job of a daemon checked. A nil check is left so.
func (c *Check) DoneBy(job string) {
	if c != nil {
		c.Job = job
	}
}

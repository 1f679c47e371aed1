// Package jobs is the table of what takes its time: backups, prunes, sweeps and the like, those that
// wait, run, and are over.
//
// A [Table] starts a job when its turn has come: so many at once on the host and in a vault, one at a
// time of what must be alone, jobs of low priority when no other waits. The body of a job, a
// function, tells how it comes along through a [Report]; anybody may follow that without ever holding
// the job up. A table with a folder keeps each job in small files there.
//
// Promises:
//
//   - A job that [Table.Start] returned is known after the process was killed at any moment: what had not
//     ended is then interrupted. What became of a job that is over survives a loss of power. A file that cannot be read is set aside and said, and harms no other.
//   - Of a history only so much is kept, by age and by number; a job that is not over is always kept. A clock that
//     jumps ahead makes no job too old: time counts as far as job follows job.
//   - A cancelled job has the cause as that of its context, and is over when its body has returned.
//   - When [Table.Close] returned nil no body runs any more.
//
// Table.mu comes before the lock of a job, and that of a job's files before both. No lock is held while a
// body, a follower or [Options.Changed] is called.
//
// # Files
//
// ID.json holds the job, without result and log, and what was asked for; ID.more.json holds the result
// and the log of a job that is over, and is written before it. Both are replaced as a whole. LOCK is
// locked by the process whose table it is.
package jobs

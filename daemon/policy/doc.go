// Package policy says when to back up, and what to keep: pure functions of time,
// which know nothing of vaults, machines' hosts or clocks.
//
// [ParseSchedule] reads `daily at 22:00` or a cron expression, in a named time zone; a
// [Timetable] adds a window and an offset, and says when the next run begins. [Rules]
// decide which recovery points of one machine are kept, and why; [Simulate] plays a
// timetable and rules through for any number of days. [Choose] finds the policy of a machine.
//
// It promises:
//
//   - Rules count periods that have points, never age: where no new points are made, nothing goes.
//   - Without rules everything is kept. The newest point, the newest good point and
//     locked points are always kept.
//   - A point that is not good never takes the place of one that is.
//   - A run that falls into an hour that the clocks skip is not lost, and one in an hour
//     that they repeat is not done twice.
//
// Values are immutable once made; everything is safe for concurrent use.
package policy

package policy

import "time"

// Simulation is what a timetable and rules lead to.
type Simulation struct {
	Runs    int
	First   time.Time     // run
	Longest time.Duration // between two runs
	Pruned  int
	Kept    []Point // at the end, oldest first
	Why     []Verdict
	Days    []int // points at the end of each day, pruned
}

// MaxRuns is how many runs a simulation has at most.
const MaxRuns = 1_000_000

// Simulate plays as many days from a time on, in which every run makes a good
// point; points are pruned each day. It ends early after MaxRuns.
func Simulate(t Timetable, r Rules, from time.Time, days int) Simulation {
	var s Simulation
	at := from
	for day := 1; day <= days && s.Runs < MaxRuns; day++ {
		end := from.Add(time.Duration(day) * 24 * time.Hour)
		for s.Runs < MaxRuns {
			next := t.Next(at)
			if next.IsZero() || next.After(end) {
				break
			}
			if s.Runs > 0 {
				s.Longest = max(s.Longest, next.Sub(at))
			} else {
				s.First = next
			}
			at = next
			s.Runs++
			s.Kept = append(s.Kept, Point{Time: next, Reached: Application})
		}
		s.prune(r, end)
		s.Days = append(s.Days, len(s.Kept))
	}
	return s
}

// prune leaves what the rules keep.
func (s *Simulation) prune(r Rules, now time.Time) {
	verdicts := r.Decide(s.Kept, now)
	kept := make([]Point, 0, len(s.Kept))
	s.Why = s.Why[:0]
	for i, v := range verdicts {
		if !v.Keep {
			s.Pruned++
			continue
		}
		kept = append(kept, s.Kept[i])
		s.Why = append(s.Why, v)
	}
	s.Kept = kept
}

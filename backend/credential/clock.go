package credential

import "time"

const (
	// longestRequest is how long after a request is sent its deadline can be.
	longestRequest = time.Minute
	// longestWindow is how long wrong old passwords count at most.
	longestWindow = time.Hour
)

// CorrectClock returns the record with deadlines and times of queued passwords that are too far in the future to be right,
// because a clock was ahead, counted from now instead. It reports whether there were any. skew is how far clocks may differ.
// The time since when the current password is in force stays as it was recorded.
func (r Record) CorrectClock(now time.Time, skew time.Duration) (Record, bool) {
	wrong := false
	r.eachTime(func(t *time.Time, longest time.Duration) { wrong = wrong || t.After(now.Add(longest+skew)) })
	if !wrong {
		return r, false
	}
	out := r.clone()
	out.eachTime(func(t *time.Time, longest time.Duration) {
		if t.After(now.Add(longest + skew)) {
			*t = now.Add(longest)
		}
	})
	return out, true
}

// eachTime calls f with the times that delay something, and how far each may be in the future.
func (r *Record) eachTime(f func(t *time.Time, longest time.Duration)) {
	f(&r.NotBefore, longestRequest)
	f(&r.OldTries.Until, longestWindow)
	if r.Current != nil {
		f(&r.Current.OpenUntil, longestRequest)
	}
	if n := r.Next; n != nil {
		f(&n.SentUntil, longestRequest)
		f(&n.UnresolvedUntil, longestRequest)
		f(&n.StagedSince, 0)
	}
	for i := range r.Candidates {
		f(&r.Candidates[i].SentUntil, longestRequest)
		f(&r.Candidates[i].StagedSince, 0)
	}
}

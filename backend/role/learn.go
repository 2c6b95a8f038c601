package role

import (
	"maps"
	"math"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Learn applies the results of logins, in the order in which they were made, and plans the next one. margin is that of Env.
// It reports whether they changed what readers get.
func (r *Role) Learn(logins []LoginResult, now time.Time, margin time.Duration) (changed bool) {
	before, was := r.Record, r.Record.View(now)
	if r.Proofs.Wanted { // the first logins since the last request
		r.Proofs.Wanted, r.Proofs.Unsettled = false, 0
	}
	if len(logins) == 0 {
		if !r.Proofs.Next.After(now) { // there is nothing to log in with
			r.Proofs.Next = time.Time{}
		}
		return false
	}
	r.Proofs.Time = now
	r.Proofs.remember(worstOf(logins))
	l := lesson{r, logins, now, margin}
	works := l.works()
	if !works || r.Record.Next.Unproved() { // the one before works
		l.refused()
	}
	rec := r.Record
	if rec.Current != nil && (before.Current == nil || before.Current.Version != rec.Current.Version) {
		r.Due = r.Options.DueAfter(now)
	}
	switch last := r.Retry.Last; {
	case before.Unfinished() && !rec.Unfinished():
		r.Retry = Retry{}
	case works && last != nil && last.Class == provider.Mismatch: // the old password is known now
		r.Retry.NextAttempt = time.Time{}
	}
	if !rec.Open(now) {
		r.Record = rec.Trim(r.Options.HistorySize)
	}
	l.plan(works)
	is := r.Record.View(now)
	return is.State != was.State || versionOf(is.Password) != versionOf(was.Password)
}

func versionOf(p *credential.Password) int {
	if p == nil {
		return 0
	}
	return p.Version
}

// remember keeps the result of a login.
func (p *Proofs) remember(l LoginResult) {
	p.Version, p.Part, p.Verdict, p.Reason = l.Version, l.Part, l.Verdict, l.Reason
}

// worstOf returns the login that stands for all: of the last ones at each part, one that was refused, or else one that could
// not tell.
func worstOf(logins []LoginResult) LoginResult {
	last := map[string]LoginResult{}
	for _, l := range logins {
		if _, made := last[l.Part]; !l.Blocked() || !made { // one that the budget did not allow says less than one before it
			last[l.Part] = l
		}
	}
	for _, verdict := range []provider.Verdict{provider.Refused, provider.CannotTell} {
		for _, l := range logins {
			if l.Verdict == verdict && last[l.Part] == l {
				return l
			}
		}
	}
	return logins[len(logins)-1]
}

// lesson is what logins show about a role.
type lesson struct {
	*Role

	logins []LoginResult
	now    time.Time
	margin time.Duration
}

// works applies the logins that worked, and reports whether one password works on all parts.
func (l lesson) works() bool {
	on := map[int][]string{}
	for _, login := range l.logins {
		switch login.Verdict {
		case provider.Works:
			on[login.Version] = append(on[login.Version], login.Part)
			l.Record = l.Record.NotInForceOn(0, login.Part) // but this one
		case provider.Refused:
			l.Record = l.Record.NotInForceOn(login.Version, login.Part)
			l.Restarts.refused(l.Record.Next, login)
		default:
		}
	}
	l.Proofs.Worked = l.Proofs.Worked || len(on) > 0
	before := l.Record.Current
	for _, version := range slices.Sorted(maps.Keys(on)) {
		l.Record = l.Record.ProvedOn(version, on[version], l.Target.Parts, l.now, l.margin)
	}
	if l.Record.QueuedSince().IsZero() {
		l.SettlesAt = time.Time{}
	}
	current := l.Record.Current
	return current != nil && (before == nil || current.Version != before.Version || len(on[current.Version]) >= max(1, len(l.Target.Parts)))
}

// refused applies logins that have not shown what is in force.
func (l lesson) refused() {
	next, current := l.Record.Next, l.Record.Current
	switch {
	case next.Unproved() && refusedIn(l.logins, next.Version):
		at := slices.IndexFunc(l.logins, func(login LoginResult) bool { return login.Version == next.Version })
		l.Proofs.remember(l.logins[at]) // although the one before may work
		l.Record = l.Record.LoginRefused(next.Version, l.now, l.margin)
		if current != nil && refusedIn(l.logins, current.Version) { // otherwise it stays the one to use
			l.Record = l.Record.LoginRefused(current.Version, l.now, l.margin)
		}
	case next.Unproved() && next.LoginsRefused == 0: // what the remote system reports has to do
		l.Record = l.Record.Applied(l.now, next.Exclusive)
	case next.Exposed(): // a request may be late, a restart may come
	default:
		margin := l.margin
		if len(l.Target.Parts) > 0 { // it may wait for a restart
			margin = math.MaxInt64
		}
		for _, login := range l.logins {
			if login.Verdict == provider.Refused && l.Record.VersionOn(login.Part) == 0 {
				l.Record = l.Record.LoginRefused(login.Version, l.now, margin)
			}
		}
	}
}

// refusedIn reports whether a login with this version was refused.
func refusedIn(logins []LoginResult, version int) bool {
	return slices.ContainsFunc(logins, func(l LoginResult) bool { return l.Version == version && l.Verdict == provider.Refused })
}

// plan sets when to log in again.
func (l lesson) plan(works bool) {
	proof, next, current := &l.Proofs, l.Record.Next, l.Record.Current
	wait := func(d time.Duration) { proof.Next = l.now.Add(timing.Scaled(d)) }
	made := slices.ContainsFunc(l.logins, func(login LoginResult) bool { return !login.Blocked() })
	switch {
	case made && proof.Verdict == provider.CannotTell:
		proof.Unsettled, proof.CannotTell = proof.Unsettled+1, proof.CannotTell+1
	case made:
		proof.Unsettled, proof.CannotTell = proof.Unsettled+1, 0
	}
	proof.Next = time.Time{}
	drifted := drifted(l.Role)
	if works || !drifted {
		proof.Recovering, proof.Refused = false, nil
	}
	switch {
	case l.Record.Contradicted():
		wait(lastMissing)
	case next.Unproved():
		wait(doubled(repeatRefused, proof.Unsettled, lastMissing))
	case staged(l.Role):
		wait(doubled(firstPoll, proof.Unsettled-1, lastPoll))
		if current == nil { // each login is refused until then
			wait(lastPoll)
		}
		if !l.SettlesAt.IsZero() && proof.Verdict != provider.CannotTell && !OldRefused(l.Role) {
			l.SettlesAt = proof.Next
		}
	case settledByRequest(l.Role):
		proof.Recovering, proof.Refused = false, nil
	case drifted:
		l.planRecovery()
	case proof.Verdict == provider.CannotTell, current != nil && !current.Confirmed: // another may follow
		wait(doubled(firstMissing, proof.Unsettled, lastMissing))
	default:
		proof.Unsettled = 0
	}
	if !made && !proof.Next.IsZero() { // it is made as soon as the budget allows it
		proof.Next = l.now
	}
	for _, login := range l.logins {
		if !proof.Next.IsZero() {
			proof.Next = timing.Later(proof.Next, login.Until)
		}
	}
}

// planRecovery plans what on_drift says about a password in force that was refused.
func (l lesson) planRecovery() {
	proof := &l.Proofs
	for _, login := range l.logins {
		if login.Verdict == provider.Refused && !slices.Contains(proof.Refused, login.Version) {
			proof.Refused = append(proof.Refused, login.Version)
		}
	}
	proof.Recovering = l.Options.OnDrift == DriftRecover && (proof.Recovering || refusedIn(l.logins, l.Record.Current.Version))
	switch {
	case len(l.trials(true, proof.Refused)) == 0: // the next recovery begins anew
		proof.Recovering, proof.Refused = false, nil
	case !proof.Recovering && (l.Options.OnDrift != DriftRecover || proof.Verdict != provider.CannotTell):
	case proof.Verdict == provider.CannotTell && !l.logins[len(l.logins)-1].Blocked():
		proof.Next = l.now.Add(timing.Scaled(doubled(repeatRefused, proof.Unsettled, lastMissing)))
	default:
		proof.Next = l.now
	}
}

// doubled returns the wait, doubled for each time after the first, at most longest.
func doubled(wait time.Duration, times int, longest time.Duration) time.Duration {
	for ; times > 1 && wait < longest; times-- {
		wait *= 2
	}
	return min(wait, longest)
}

package role

import (
	"maps"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Proofs is what the engine remembers about the logins that prove passwords of a role.
type Proofs struct {
	// Time is when logins were last made or attempted. Version, Part, Verdict and Reason are of the one that an operator has to
	// know: one that was refused or could not tell, if there is one.
	Time    time.Time        `json:"time,omitzero"`
	Version int              `json:"version,omitempty"`
	Part    string           `json:"part,omitempty"`
	Verdict provider.Verdict `json:"verdict,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	// Worked: a login has worked with the role's present options, so one that is refused means something.
	Worked bool `json:"worked,omitempty"`
	// Wanted: a login has to show what became of the last request, before anything else is sent.
	Wanted bool `json:"wanted,omitempty"`
	// Next is when to log in again; zero if that is not planned.
	Next time.Time `json:"next,omitzero"`
	// Unsettled counts rounds of logins in a row that settled nothing.
	Unsettled int `json:"unsettled,omitempty"`
	// Recovering: the password in force is refused, and the engine tries the others. Refused are the versions that were refused,
	// which a recovery leaves out until all have been tried.
	Recovering bool  `json:"recovering,omitempty"`
	Refused    []int `json:"refused,omitempty"`
}

// LoginResult is the result of one login, with the password of a version, at a part of the account; "" if it has no parts.
type LoginResult struct {
	provider.Proof
	Version int
	Part    string
	// Until is when the budget of refused logins allows the login, which was not made; zero if it was.
	Until time.Time
}

// Waits between logins.
const (
	// firstPoll is how long after a password was staged the engine looks whether it is in force. Then it looks less and less
	// often, until once in lastPoll.
	firstPoll = time.Minute
	lastPoll  = 15 * time.Minute
	// firstMissing is the first wait for the next login after one that cannot tell whether the password in force works.
	firstMissing = 5 * time.Minute
	lastMissing  = time.Hour
	// repeatRefused is the wait before a login is repeated that contradicts the remote system.
	repeatRefused = time.Minute
	// maxPolls is how many rounds of logins may show that a queued password is not in force before an operator is asked. They
	// take about an hour.
	maxPolls = 8
)

// prove returns when the engine logs in to find out which password works. first: it does nothing else before.
func (r *Role) prove(now time.Time, env Env) (step Step, first bool) {
	next := r.Record.Next
	if !r.Options.Proves() || r.Options.Disabled && !env.Requested || r.inFlight(now) || next.AwaitsForce() {
		return Step{}, false
	}
	step = Step{Do: Prove, At: r.Proofs.Next, Why: Proving}
	switch {
	case r.Proofs.Wanted:
		step.At, first = time.Time{}, true
	case r.Restarts.Part != "", r.Record.ToResend(): // the restart makes its own logins; it is sent again
		return Step{}, false
	case next.Unproved():
		first = true
	case env.ChangesOnly, len(r.Trials(r.Proofs.Recovering)) == 0:
		return Step{}, false
	case !r.Proofs.Next.IsZero():
	case r.Record.Exposed() && !r.Record.Unfinished(): // it is staged again, because what replaced it was withdrawn
		step.At = r.SettlesAt
	default:
		return Step{}, false
	}
	if env.Frozen && !env.Requested {
		if env.FrozenUntil.IsZero() {
			return Step{Why: Frozen}, first
		}
		step.delay(now, env.FrozenUntil, Frozen)
	}
	return step, first
}

// ProvesFirst reports whether a login has to show something before anything else is done. The caller holds the role's lock, so a
// request that storage has in flight has ended.
func (r *Role) ProvesFirst(now time.Time, env Env) bool {
	ended := *r
	ended.Record = r.Record.Unresolved()
	step, first := ended.prove(now, env)
	return first && step.Ready(now)
}

// PlanPolls plans the first login after a password was staged.
func (r *Role) PlanPolls(now time.Time) {
	r.Proofs.Next, r.Proofs.Unsettled = time.Time{}, 0
	switch {
	case !r.Options.Proves():
	case !r.SettlesAt.IsZero():
		r.Proofs.Next = r.SettlesAt
	default:
		r.Proofs.Next = now.Add(timing.Scaled(firstPoll))
	}
}

// PlanProof plans a login if it would prove something that it did not with the options before.
func (r *Role) PlanProof(before Options, now time.Time) {
	switch {
	case !r.Options.Proves():
		r.Proofs = Proofs{}
	case r.Options.Verification() != before.Verification():
		r.Proofs.Next, r.Proofs.Worked = now, false
	case r.Options.VerifyPeriod != before.VerifyPeriod || r.Options.OnDrift != before.OnDrift:
		r.Proofs.Next = now
	}
}

// settlesByTime reports whether a queued password counts as in force when its time has passed: always, if no login can show
// it.
func (r *Role) settlesByTime() bool {
	noneTells := r.Proofs.Verdict == provider.CannotTell || oldRefused(r)
	return !r.Options.Proves() || r.Options.Disabled || noneTells && !r.Proofs.Time.Before(r.SettlesAt)
}

// oldRefused reports whether the last login, with the password in force, was refused, and none was made with the staged one
// because of the budget: that one is probably in force.
func oldRefused(r *Role) bool {
	current, proof := r.Record.Current, r.Proofs
	return r.Record.Next.Staged() && current != nil && proof.Version == current.Version && proof.Verdict == provider.Refused
}

// StaysQueued reports whether logins have shown for long that the queued password of a role is not in force: the remote system
// has probably dropped it.
func StaysQueued(r *Role) bool {
	return r.Options.Proves() && !r.Record.QueuedSince().IsZero() && r.Proofs.Unsettled > maxPolls
}

// Trials returns the passwords to log in with, in that order, until one works. The one that is most likely to work is first,
// because refused logins may block Vault. all adds those that were in force before.
func (r *Role) Trials(all bool) []credential.Password {
	rec, next, current := r.Record, r.Record.Next, r.Record.Current
	var out []credential.Password
	add := func(p credential.Password) {
		known := func(q credential.Password) bool { return q.Value == p.Value }
		if slices.ContainsFunc(out, known) || all && slices.Contains(r.Proofs.Refused, p.Version) {
			return
		}
		out = append(out, p)
	}
	drifted := current != nil && current.Refused
	resting := !rec.Exposed() && !drifted
	later := next.Staged() || len(r.Target.Parts) > 0 && !next.Unproved() // servers take a password at their next restart
	if current != nil && !drifted && (resting || later) {
		add(current.Password)
	}
	if next.Exposed() {
		add(next.Password)
	}
	if !resting || all || current == nil {
		for _, c := range slices.Backward(rec.Candidates) {
			add(c.Password)
		}
	}
	if current != nil && (!all || !drifted) {
		add(current.Password)
	}
	if p := rec.Previous; p != nil && (all || drifted || current != nil && current.Basis.Assumed()) {
		add(p.Password)
	}
	for _, p := range rec.History {
		if all {
			add(p.Password)
		}
	}
	if current != nil {
		add(current.Password)
	}
	return out
}

// FirstAt returns the passwords to log in with in the order for one part of the account: the one that is known to be in force
// there comes first or, if the old one was refused there and the budget allowed no other login, the staged one.
func FirstAt(r *Role, part string, passwords []credential.Password) []credential.Password {
	out, version := slices.Clone(passwords), r.Record.VersionOn(part)
	if version == 0 && oldRefused(r) && r.Proofs.Part == part {
		version = r.Record.Next.Version
	}
	if at := slices.IndexFunc(out, func(p credential.Password) bool { return p.Version == version }); at > 0 {
		out = slices.Insert(slices.Delete(out, at, at+1), 0, passwords[at])
	}
	return out
}

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
	l.plan(works)
	rec := r.Record
	if rec.Current != nil && (before.Current == nil || before.Current.Version != rec.Current.Version) {
		r.Due = r.Options.DueAfter(now)
	}
	if before.Unfinished() && !rec.Unfinished() {
		r.Retry = Retry{}
	}
	if !rec.Open(now) {
		r.Record = rec.Trim(r.Options.HistorySize)
	}
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
		if _, made := last[l.Part]; l.Until.IsZero() || !made { // one that the budget did not allow says less than one before it
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
		if login.Verdict == provider.Works {
			on[login.Version] = append(on[login.Version], login.Part)
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
		for _, login := range l.logins {
			if login.Verdict == provider.Refused && l.Record.VersionOn(login.Part) == 0 {
				l.Record = l.Record.LoginRefused(login.Version, l.now, l.margin)
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
	proof.Unsettled++
	proof.Next = time.Time{}
	drifted := current != nil && current.Refused
	if works || !drifted {
		proof.Recovering, proof.Refused = false, nil
	}
	switch {
	case l.Record.Contradicted():
		wait(lastMissing)
	case next.Unproved():
		wait(doubled(repeatRefused, proof.Unsettled, lastMissing))
	case l.Record.Exposed() && !l.Record.Unfinished(): // staged
		wait(doubled(firstPoll, proof.Unsettled-1, lastPoll))
		if current == nil { // each login is refused until then
			wait(lastPoll)
		}
		if !l.SettlesAt.IsZero() && proof.Verdict != provider.CannotTell && !oldRefused(l.Role) {
			l.SettlesAt = proof.Next
		}
	case l.Record.Unfinished() && (l.Record.Exposed() || !drifted): // the next request settles it
	case drifted:
		l.planRecovery()
	case proof.Verdict == provider.CannotTell, current != nil && !current.Confirmed: // another may follow
		wait(doubled(firstMissing, proof.Unsettled, lastMissing))
	default:
		proof.Unsettled = 0
		l.nextPeriod()
	}
	for _, login := range l.logins {
		if !proof.Next.IsZero() {
			proof.Next = timing.Later(proof.Next, login.Until)
		}
	}
}

// nextPeriod plans the next login of verify_period.
func (l lesson) nextPeriod() {
	if l.Options.VerifyPeriod > 0 {
		l.Proofs.Next = l.now.Add(timing.Seconds(l.Options.VerifyPeriod))
	}
}

// planRecovery plans what on_drift says about a password in force that was refused.
func (l lesson) planRecovery() {
	proof := &l.Proofs
	l.nextPeriod()
	for _, login := range l.logins {
		if login.Verdict == provider.Refused && !slices.Contains(proof.Refused, login.Version) {
			proof.Refused = append(proof.Refused, login.Version)
		}
	}
	proof.Recovering = l.Options.OnDrift == DriftRecover && (proof.Recovering || refusedIn(l.logins, l.Record.Current.Version))
	switch {
	case len(l.Trials(true)) == 0: // the next recovery begins anew
		proof.Recovering, proof.Refused = false, nil
	case !proof.Recovering:
	case proof.Verdict == provider.CannotTell:
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

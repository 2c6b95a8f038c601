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
	// Time is when the last login was made or attempted, with the password of Version. Verdict and Reason are its result.
	Time    time.Time        `json:"time,omitzero"`
	Version int              `json:"version,omitempty"`
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
)

// prove returns when the engine logs in to find out which password works. first: it does nothing else before.
func (r *Role) prove(now time.Time, env Env) (step Step, first bool) {
	next := r.Record.Next
	if !r.Options.Proves() || r.Options.Disabled && !env.Requested || r.inFlight(now) || next.AwaitsForce() || r.Restarts.Part != "" {
		return Step{}, false
	}
	step = Step{Do: Prove, At: r.Proofs.Next, Why: Proving}
	switch {
	case r.Proofs.Wanted:
		step.At, first = time.Time{}, true
	case next.Unproved() && next.ToResend(): // it is sent again
		return Step{}, false
	case next.Unproved():
		first = true
	case r.Proofs.Next.IsZero():
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

// ProvesFirst reports whether a login has to show something before anything else is done.
func (r *Role) ProvesFirst(now time.Time, env Env) bool {
	step, first := r.prove(now, env)
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
	return !r.Options.Proves() || r.Options.Disabled || r.Proofs.Verdict == provider.CannotTell && !r.Proofs.Time.Before(r.SettlesAt)
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
	later := next.Staged() && !next.Partial() || len(r.Target.Parts) > 0 // servers take a password at their next restart
	if current != nil && !drifted && (resting || later) {
		add(current.Password)
	}
	if next.Exposed() {
		add(next.Password)
	}
	if !resting || all {
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

// ToProve returns the parts on which it is not known whether the next password is in force.
func (r *Role) ToProve() []string {
	next := r.Record.Next
	if !next.Exposed() || len(next.InForceOn) == 0 {
		return r.Target.Parts
	}
	return slices.DeleteFunc(slices.Clone(r.Target.Parts), func(part string) bool { return slices.Contains(next.InForceOn, part) })
}

// Learn applies the results of logins, in the order in which they were made, and plans the next one. margin is that of Env.
// It reports whether they changed what readers get.
func (r *Role) Learn(logins []LoginResult, now time.Time, margin time.Duration) (changed bool) {
	before, was := r.Record, r.Record.View(now)
	r.Proofs.Wanted = false
	if len(logins) == 0 { // there is nothing to prove
		r.Proofs.Next, r.Proofs.Recovering = time.Time{}, false
		return false
	}
	last := decisive(logins)
	r.Proofs.Time, r.Proofs.Version, r.Proofs.Verdict, r.Proofs.Reason = now, last.Version, last.Verdict, last.Reason
	if last.Part != "" && len(r.Target.Parts) > 1 {
		r.Proofs.Reason = "server " + last.Part + ": " + last.Reason
	}
	works := learnWorks(r, logins, now, margin)
	if !works || r.Record.Next.Unproved() { // the one before works
		learnRefused(r, logins, now, margin)
	}
	planProof(r, works, logins, now)
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

// decisive returns the login that says most: of the last ones of all parts one that was refused, or that could not tell.
func decisive(logins []LoginResult) LoginResult {
	rank := map[provider.Verdict]int{provider.CannotTell: 1, provider.Refused: 2}
	out := logins[len(logins)-1]
	for i, l := range logins {
		lastOfPart := i == len(logins)-1 || logins[i+1].Part != l.Part
		if lastOfPart && rank[l.Verdict] > rank[out.Verdict] {
			out = l
		}
	}
	return out
}

// learnWorks applies the logins that worked, and reports whether one password works on all parts.
func learnWorks(r *Role, logins []LoginResult, now time.Time, margin time.Duration) bool {
	parts, on := r.Target.Parts, map[int][]string{}
	for _, l := range logins {
		if l.Verdict == provider.Works {
			on[l.Version] = append(on[l.Version], l.Part)
		}
	}
	r.Proofs.Worked = r.Proofs.Worked || len(on) > 0
	before := r.Record.Current
	for _, version := range slices.Sorted(maps.Keys(on)) {
		if len(on[version]) >= len(parts) {
			r.Record = r.Record.Proved(version, now, margin)
		} else {
			r.Record = r.Record.ProvedOn(version, on[version], parts, now, margin)
		}
	}
	if r.Record.QueuedSince().IsZero() {
		r.SettlesAt = time.Time{}
	}
	current := r.Record.Current
	return current != nil && (before == nil || current.Version != before.Version || len(on[current.Version]) >= max(1, len(parts)))
}

// learnRefused applies logins that have not shown what is in force.
func learnRefused(r *Role, logins []LoginResult, now time.Time, margin time.Duration) {
	next, current := r.Record.Next, r.Record.Current
	switch {
	case next.Unproved() && refusedIn(logins, next.Version):
		r.Record = r.Record.LoginRefused(next.Version, now, margin)
		if current != nil && refusedIn(logins, current.Version) { // otherwise it stays the one to use
			r.Record = r.Record.LoginRefused(current.Version, now, margin)
		}
	case next.Unproved() && next.LoginsRefused == 0: // what the remote system reports has to do
		r.Record = r.Record.Applied(now, next.Exclusive)
	case next.Exposed(): // a request may be late, a restart may come
	default:
		for _, l := range logins {
			if l.Verdict == provider.Refused {
				r.Record = r.Record.LoginRefused(l.Version, now, margin)
			}
		}
	}
}

// refusedIn reports whether a login with this version was refused.
func refusedIn(logins []LoginResult, version int) bool {
	return slices.ContainsFunc(logins, func(l LoginResult) bool { return l.Version == version && l.Verdict == provider.Refused })
}

// planProof sets when to log in again.
func planProof(r *Role, works bool, logins []LoginResult, now time.Time) {
	proof, next := &r.Proofs, r.Record.Next
	wait := func(d time.Duration) { proof.Next = now.Add(timing.Scaled(d)) }
	proof.Unsettled++
	proof.Next = time.Time{}
	drifted := r.Record.Current != nil && r.Record.Current.Refused
	if works || !drifted {
		proof.Recovering, proof.Refused = false, nil
	}
	switch {
	case next.Contradicted():
		wait(lastMissing)
	case next.Unproved():
		wait(repeatRefused)
	case r.Record.Exposed() && !r.Record.Unfinished(): // staged
		wait(doubled(firstPoll, proof.Unsettled-1, lastPoll))
		if r.Record.Current == nil { // each login is refused until then
			wait(lastPoll)
		}
		if !r.SettlesAt.IsZero() && proof.Verdict != provider.CannotTell {
			r.SettlesAt = proof.Next
		}
	case r.Record.Unfinished(): // the next request settles it
	case drifted:
		planRecovery(r, logins, now)
	case proof.Verdict == provider.CannotTell:
		wait(doubled(firstMissing, proof.Unsettled, lastMissing))
	default:
		proof.Unsettled = 0
		if r.Options.VerifyPeriod > 0 {
			proof.Next = now.Add(timing.Seconds(r.Options.VerifyPeriod))
		}
	}
	for _, l := range logins {
		if !proof.Next.IsZero() {
			proof.Next = timing.Later(proof.Next, l.Until)
		}
	}
}

// planRecovery plans what on_drift says about a password in force that was refused.
func planRecovery(r *Role, logins []LoginResult, now time.Time) {
	proof := &r.Proofs
	if r.Options.VerifyPeriod > 0 {
		proof.Next = now.Add(timing.Seconds(r.Options.VerifyPeriod))
	}
	for _, l := range logins {
		if l.Verdict == provider.Refused && !slices.Contains(proof.Refused, l.Version) {
			proof.Refused = append(proof.Refused, l.Version)
		}
	}
	found := !proof.Recovering && refusedIn(logins, r.Record.Current.Version)
	proof.Recovering = r.Options.OnDrift == DriftRecover && (proof.Recovering || found)
	switch {
	case len(r.Trials(true)) == 0: // the next recovery begins anew
		proof.Recovering, proof.Refused = false, nil
		return
	case !proof.Recovering:
		return
	}
	proof.Next = now
	if proof.Verdict == provider.CannotTell {
		proof.Next = now.Add(timing.Scaled(doubled(repeatRefused, proof.Unsettled, lastMissing)))
	}
}

// doubled returns the wait, doubled for each time after the first, at most longest.
func doubled(wait time.Duration, times int, longest time.Duration) time.Duration {
	for ; times > 1 && wait < longest; times-- {
		wait *= 2
	}
	return min(wait, longest)
}

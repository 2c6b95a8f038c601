package role

import (
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
	// Next is when to log in again; zero if only verify_period says that.
	Next time.Time `json:"next,omitzero"`
	// Unsettled counts rounds of logins in a row that settled nothing, and CannotTell those that could not tell.
	Unsettled  int `json:"unsettled,omitempty"`
	CannotTell int `json:"cannot_tell,omitempty"`
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

// Blocked reports whether the budget did not allow the login.
func (l LoginResult) Blocked() bool { return !l.Until.IsZero() }

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
	// maxCannotTell is how many rounds in a row may be unable to tell whether a password has come into force before an operator is
	// asked. A server that restarts cannot be reached for a while.
	maxCannotTell = 4
)

// prove returns when the engine logs in to find out which password works. first: it does nothing else before.
func (r *Role) prove(now time.Time, env Env) (step Step, first bool) {
	next := r.Record.Next
	if !r.Options.Proves() || r.Options.Disabled && !env.Requested || r.inFlight(now) || next.AwaitsForce() {
		return Step{}, false
	}
	step = Step{Do: Prove, At: NextLogin(r), Why: Proving}
	switch {
	case r.Proofs.Wanted:
		step.At, first = time.Time{}, true
	case r.Restarts.Part != "" && r.Restarts.Failed == "", r.Record.ToResend(): // the restart makes its own logins; it is sent again
		return Step{}, false
	case next.Unproved():
		first = true
	case env.ChangesOnly, len(r.Trials(r.Proofs.Recovering)) == 0:
		return Step{}, false
	case !step.At.IsZero():
	case staged(r): // again, because what replaced it was withdrawn
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

// NextLogin returns when the engine plans to log in next; zero if it does not plan to.
func NextLogin(r *Role) time.Time {
	current := r.Record.Current
	resting := current != nil && !staged(r) && !settledByRequest(r)
	if !r.Proofs.Next.IsZero() || !resting || !r.Options.Proves() || r.Options.VerifyPeriod == 0 {
		return r.Proofs.Next
	}
	last := r.Proofs.Time
	if last.IsZero() {
		last = current.Since
	}
	return last.Add(timing.Seconds(r.Options.VerifyPeriod))
}

// settledByRequest reports whether the next request settles what is open, so that no login has to.
func settledByRequest(r *Role) bool {
	noOld := r.Record.OldTries.Counted() && r.Record.OldExhausted() // so there is no next request
	return r.Record.Unfinished() && (r.Record.Exposed() || !drifted(r)) && !noOld
}

// staged reports whether a password waits for the remote system to put it into force.
func staged(r *Role) bool { return r.Record.Exposed() && !r.Record.Unfinished() }

// drifted reports whether the password in force was refused.
func drifted(r *Role) bool { return r.Record.Current != nil && r.Record.Current.Refused }

// Unproved reports whether a role verifies its passwords, and no login has proved the one in force, or the last one could not
// tell.
func Unproved(r *Role) bool {
	c := r.Record.Current
	return r.Options.Proves() && c != nil && (c.Basis != credential.BasisProof || c.Refused || r.Proofs.Verdict == provider.CannotTell)
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
		if r.Options.OnDrift == DriftRecover && drifted(r) && r.Proofs.Version == r.Record.Current.Version && r.Proofs.Verdict == provider.Refused {
			r.Proofs.Recovering, r.Proofs.Refused = true, []int{r.Proofs.Version}
		}
	}
}

// settlesByTime reports whether a queued password counts as in force when its time has passed: always, if no login can show
// it.
func (r *Role) settlesByTime() bool {
	noneTells := r.Proofs.Verdict == provider.CannotTell || OldRefused(r)
	return !r.Options.Proves() || r.Options.Disabled || noneTells && !r.Proofs.Time.Before(r.SettlesAt)
}

// OldRefused reports whether the last login, with the password in force, was refused, and none was made with the staged one
// because of the budget: that one is probably in force.
func OldRefused(r *Role) bool {
	current, proof := r.Record.Current, r.Proofs
	return r.Record.Next.Staged() && current != nil && proof.Version == current.Version && proof.Verdict == provider.Refused
}

// StaysQueued reports whether logins have shown for long that the queued password of a role is not in force: the remote system
// has probably dropped it.
func StaysQueued(r *Role) bool {
	return r.Options.Proves() && !r.Record.QueuedSince().IsZero() && r.Proofs.Unsettled > maxPolls
}

// LoginsCannotTell reports whether logins have not been able to tell for long whether the next password of a role is in force.
func LoginsCannotTell(r *Role) bool {
	return r.Options.Proves() && r.Proofs.CannotTell >= maxCannotTell
}

// Recovers reports whether the engine is trying the older passwords of a role by itself. If it has for long, an operator is
// asked.
func Recovers(r *Role) bool {
	return r.Proofs.Recovering && r.Options.Proves() && !r.Options.Disabled && r.Proofs.Unsettled <= maxPolls
}

// Trials returns the passwords to log in with, in that order, until one works. The one that is most likely to work is first,
// because refused logins may block Vault. all adds those that were in force before, but leaves out what the recovery that is
// going on has tried, unless nothing else is left.
func (r *Role) Trials(all bool) []credential.Password {
	if !all {
		return r.trials(false, nil)
	}
	if untried := r.trials(true, r.Proofs.Refused); len(untried) > 0 {
		return untried
	}
	return r.trials(true, nil)
}

// trials is Trials without these versions.
func (r *Role) trials(all bool, without []int) []credential.Password {
	rec, next, current := r.Record, r.Record.Next, r.Record.Current
	var out, refused []credential.Password
	add := func(p credential.Password) {
		known := func(q credential.Password) bool { return q.Value == p.Value }
		if slices.ContainsFunc(out, known) || slices.Contains(without, p.Version) {
			return
		}
		out = append(out, p)
	}
	drifted := drifted(r)
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
			if c.Refused {
				refused = append(refused, c.Password)
				continue
			}
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
	for _, p := range refused {
		add(p)
	}
	return out
}

// FirstAt returns the passwords to log in with in the order for one part of the account: the one that is known to be in force
// there comes first or, if the old one was refused there and the budget allowed no other login, the staged one.
func FirstAt(r *Role, part string, passwords []credential.Password) []credential.Password {
	out, version := slices.Clone(passwords), r.Record.VersionOn(part)
	if version == 0 && OldRefused(r) && r.Proofs.Part == part {
		version = r.Record.Next.Version
	}
	if at := slices.IndexFunc(out, func(p credential.Password) bool { return p.Version == version }); at > 0 {
		out = slices.Insert(slices.Delete(out, at, at+1), 0, passwords[at])
	}
	return out
}

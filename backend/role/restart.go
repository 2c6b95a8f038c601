package role

import (
	"cmp"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Restarts is how far the engine is with restarting the servers of a role after a change, one at a time.
type Restarts struct {
	// Version is the version for which the servers are restarted; 0 if none ever was.
	Version int `json:"version,omitempty"`
	// Part is the server that is being restarted; "" if none is. Since is when its restart was requested, or was about to be,
	// and Job is that of provider.Restart.
	Part  string    `json:"part,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Job   string    `json:"job,omitempty"`
	// Back: the server is running again, and a login has to show that the password works. Refused: one was refused.
	Back    bool `json:"back,omitempty"`
	Refused bool `json:"refused,omitempty"`
	// Done are the servers that have been restarted.
	Done []string `json:"done,omitempty"`
	// Tries counts requests in a row that were not carried out. NotBefore is when to make the next one.
	Tries     int       `json:"tries,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// Failed is why the restarts have stopped, as a clause, and FailedPart the server; "" if they have not.
	Failed     string `json:"failed,omitempty"`
	FailedPart string `json:"failed_part,omitempty"`
}

// DefaultRestartTimeout is how long a server may take to be back if the target does not say, in seconds.
const DefaultRestartTimeout = 600

// NextRestart returns the server that has to be restarted next, so that the next password comes into force; "" if there is
// none, or if an operator restarts them.
func (r *Role) NextRestart() string {
	next := r.Record.Next
	if r.Target.Restart == "" || next == nil || next.Phase != credential.RestartRequired || next.Partial() || r.RestartsFailed() != "" {
		return ""
	}
	for _, part := range r.Target.Parts {
		done := r.Restarts.Version == next.Version && slices.Contains(r.Restarts.Done, part)
		if !done && !slices.Contains(next.InForceOn, part) {
			return part
		}
	}
	return ""
}

// RestartsFailed returns why the restarts for the next password have stopped, as a clause; "" if they have not.
func (r *Role) RestartsFailed() string {
	if next := r.Record.Next; next == nil || next.Version != r.Restarts.Version {
		return ""
	}
	return r.Restarts.Failed
}

// FollowsRestart reports whether a server is being restarted, and may be turned off: a freeze does not stop that, until its
// timeout. After that, this Vault may be a copy.
func (r *Role) FollowsRestart(now time.Time) bool {
	return r.Restarts.Part != "" && !r.Restarts.Late(r.Target, now)
}

// Pending reports whether a server is being restarted: it is looked at until it is back or, if it should be back already, until
// another password has to be put in force.
func (of *Restarts) Pending(r *Role) bool {
	return of.Part != "" && (of.Failed == "" || r.NextRestart() == "")
}

// All reports whether all servers were restarted for the next password.
func (of *Restarts) All(r *Role) bool {
	next := r.Record.Next
	left := func(part string) bool {
		return !slices.Contains(of.Done, part) && !slices.Contains(next.InForceOn, part)
	}
	return next != nil && next.Version == of.Version && !slices.ContainsFunc(r.Target.Parts, left)
}

// restart returns when the engine restarts a server, or looks at the one that it has restarted. That is looked at whatever
// happens to the role, because it may be turned off.
func (r *Role) restart(now time.Time, env Env) Step {
	step := Step{Do: Restart, Why: Restarting}
	switch {
	case r.Restarts.Pending(r):
		if r.FollowsRestart(now) {
			env.Requested = true
		} else { // a change that is due comes first
			step.At = now
		}
		return r.obstacles(step, now, env)
	case r.NextRestart() == "" || !env.MayRestart || r.Options.Disabled && !env.Requested:
		return Step{Why: AwaitingRestart}
	}
	if r.Restarts.Version == r.Record.Next.Version {
		step.delay(now, r.Restarts.NotBefore, Retrying)
	}
	return r.attempt(step, time.Time{}, r.Record.Next.Reason == ReasonDue && !env.Requested, now, env)
}

// Begin records that the restart of a server, for the password of this version, is about to be requested.
func (of *Restarts) Begin(version int, part string, now time.Time) {
	if of.Version != version {
		*of = Restarts{Version: version}
	}
	of.Part, of.Since, of.Job, of.Back, of.Refused = part, now, "", false, false
}

// Answered records the answer to the request. If it was not carried out, it is repeated after wait, unless that needs an
// operator.
func (of *Restarts) Answered(result provider.Result, job string, now time.Time, wait func(tries int) time.Duration) {
	failure := &Failure{Class: result.Outcome, Scope: result.Scope, Code: result.Code, Reason: result.Reason}
	switch {
	case failure.NeedsOperator():
		of.fail("the remote system refuses to restart it: " + failure.String())
	case result.Outcome.Unchanged():
		of.Tries++
		of.Part, of.NotBefore = "", now.Add(max(min(result.RetryAfter, timing.LastBackoff), wait(of.Tries)))
	default: // it may have been carried out, and must not be requested again
		of.Tries, of.Job = 0, job
	}
}

// Followed records how far the restart of a server of the target is.
func (of *Restarts) Followed(target provider.Target, progress provider.Progress, job, reason string, now time.Time) {
	of.Job = job
	switch {
	case progress == provider.Restarted:
		of.Back = true
	case progress == provider.RestartFailed:
		of.fail("the remote system reports that its restart failed: " + reason)
	case !of.Late(target, now):
	case target.Restart == provider.RestartHard: // it is followed until it is back
		of.Failed, of.FailedPart = "it has not come back within restart_timeout, and may be turned off; if it is, the engine turns it on", of.Part
	default:
		of.fail("it has not come back within restart_timeout")
	}
}

// Late reports whether the server should be back.
func (of *Restarts) Late(target provider.Target, now time.Time) bool {
	timeout := cmp.Or(target.RestartTimeout, DefaultRestartTimeout)
	return now.After(of.Since.Add(timing.Scaled(timing.Seconds(timeout))))
}

// Trials returns the passwords of the role to log in with at a server that is back. At first, the new one is the most likely.
func (of *Restarts) Trials(r *Role) []credential.Password {
	if !of.Refused && of.expected(r) {
		for _, p := range r.Record.List() {
			if p.Version == of.Version {
				return []credential.Password{p.Password}
			}
		}
	}
	return r.Trials(false)
}

// expected reports whether the restart of a server puts the password in force for which it was requested: no other one has
// been sent since.
func (of *Restarts) expected(r *Role) bool {
	if next := r.Record.Next; next.Exposed() {
		return next.Version == of.Version
	}
	return slices.ContainsFunc(r.Record.Candidates, func(c credential.Candidate) bool { return c.Version == of.Version })
}

// RestartProved applies the logins at a server that is back.
func (r *Role) RestartProved(logins []LoginResult, now time.Time, margin time.Duration) {
	of, expected := &r.Restarts, r.Restarts.expected(r)
	r.Learn(logins, now, margin)
	made := func(l LoginResult) bool { return !l.Blocked() }
	works := func(l LoginResult) bool { return l.Version == of.Version && l.Verdict == provider.Works }
	switch refused := refusedIn(logins, of.Version); {
	case !expected:
		of.drop()
	case slices.ContainsFunc(logins, works):
		of.done()
	case !slices.ContainsFunc(logins, made): // it is back, and tried once the budget allows it
	case of.Late(r.Target, now) && (refused || of.Refused):
		of.fail("it was restarted, but the new password does not log in there")
	case of.Late(r.Target, now):
		of.fail("it was restarted, but it is not known whether the new password works there: " + worstOf(logins).Reason)
	case refused:
		of.Refused = true
	}
}

// RestartUnproved records that a server is back that nobody logs in to.
func (r *Role) RestartUnproved(now time.Time) {
	of, before := &r.Restarts, r.Record.Current
	if !of.expected(r) {
		of.drop()
		return
	}
	r.Record = r.Record.RestartedOn(of.Version, []string{of.Part}, r.Target.Parts, now)
	if after := r.Record.Current; after != nil && (before == nil || after.Version != before.Version) {
		r.Due = r.Options.DueAfter(now)
		if !r.Record.Unfinished() {
			r.Retry = Retry{}
		}
		if !r.Record.Open(now) {
			r.Record = r.Record.Trim(r.Options.HistorySize)
		}
	}
	of.done()
}

// refused stops the restarts if a server that has been restarted refuses the password.
func (of *Restarts) refused(next *credential.Next, login LoginResult) {
	if next != nil && next.Version == of.Version && login.Version == of.Version && slices.Contains(of.Done, login.Part) {
		of.Failed, of.FailedPart = "it was restarted, and does not accept the new password any more", login.Part
	}
}

// done records that the server has been restarted.
func (of *Restarts) done() {
	of.Done = append(slices.Clone(of.Done), of.Part)
	of.drop()
}

// fail stops the restarts.
func (of *Restarts) fail(reason string) {
	of.Failed, of.FailedPart = reason, of.Part
	of.drop()
}

// drop forgets the restart of the server: what it did to the password is not known, unless it is done.
func (of *Restarts) drop() { of.Part, of.Job, of.Back, of.Refused = "", "", false, false }

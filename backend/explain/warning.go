package explain

import (
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Warning says what is open after a request; "" if nothing is.
func (f Facts) Warning() string {
	r, last := f.Role, f.Role.Retry.Last
	switch {
	case contradicted(f.Role):
		return f.state() + f.hindrances() + " " + f.Advice()
	case f.View.State == credential.StateActive && r.Record.Current.Basis != credential.BasisProof && noLogin(r) != "": // the remote system confirmed it
		return strings.TrimSpace(noLogin(r))
	case last == nil || r.Record.Next.Staged() && r.Record.Next.Partial():
		return f.Staged()
	case f.View.State == credential.StateUncertain:
		text := f.state() + f.hindrances() + " " + f.Advice()
		if at := f.lastAttempt(); !at.IsZero() {
			text += fmt.Sprintf(" The last attempt was at %s.", Time(at))
		}
		return text
	case f.View.State == credential.StateRestartRequired && partlyRefused(r.Record) != 0:
		return fmt.Sprintf("%s The last attempt failed: %s. %s; see status/%s.", f.state(), last, upper(f.nextAttempt()), r.Name)
	default:
		return f.Staged()
	}
}

// Replaced says what a request did to a password that waited to be sent.
const Replaced = "The password that an operator chose before was never sent, and is discarded"

// NotForced says why a request with force=true made no attempt, as a clause. That request may be a repetition of the one whose
// attempt failed last.
func NotForced(last time.Time, wait time.Duration) string {
	return fmt.Sprintf("force=true makes no attempt within %s of a failure, because Vault's client repeats failed requests: the last one was at %s, so to force another attempt, repeat this request after %s",
		wait, Time(last), Time(last.Add(wait)))
}

// TooSoon says why rotate-role did nothing: the last change was less than min_rotation_interval ago.
func TooSoon(name string, changed time.Time, interval time.Duration) string {
	return fmt.Sprintf("Nothing was done: the password was changed at %s, and min_rotation_interval in the mount's settings allows rotate-role/%s to change it again at %s. Before that, an operator can choose a password with set-password/%s.",
		Time(changed), name, Time(changed.Add(interval)), name)
}

// Failed reports whether the answer to a request is its last failure: the password was not changed.
func (f Facts) Failed() bool {
	rec := f.Role.Record
	switch {
	case f.Role.Retry.Last == nil, f.View.State == credential.StateUncertain, rec.Next.Staged() && rec.Next.Partial():
		return false
	default:
		return f.View.State != credential.StateRestartRequired || partlyRefused(rec) == 0
	}
}

// NotChanged is the error of a request that changed nothing, or not yet.
func (f Facts) NotChanged() string {
	lead := "the password of role %q was not changed"
	if next := f.Role.Record.Next; next != nil && !next.Staged() {
		lead = "the password of role %q has not been changed yet"
	}
	return f.Failure(fmt.Sprintf(lead, f.Role.Name))
}

// NotSet is the error of a request whose password was not set and is not kept.
func (f Facts) NotSet() string {
	lead, last := fmt.Sprintf("the password given for role %q was not set", f.Role.Name), f.Role.Retry.Last
	if last.Class == provider.Rejected && last.Scope == provider.ScopePassword {
		return fmt.Sprintf("%s: %s. Choose another password", lead, last)
	}
	return f.Failure(lead)
}

// Failure returns the last failure and what follows from it. lead is a clause that says what it means for the password.
func (f Facts) Failure(lead string) string {
	last := f.Role.Retry.Last
	text := fmt.Sprintf("%s: %s. ", lead, last)
	switch {
	case last.Class == provider.Rejected, last.Class == provider.Mismatch:
		return text + upper(f.failureAdvice())
	case last.Class == provider.Denied && last.Scope == provider.ScopeTarget:
		return text + sentence(f.failureAdvice()) + " " + upper(f.nextAttempt())
	default:
		return text + upper(f.nextAttempt())
	}
}

// Staged says what the next password waits for; "" if it waits for nothing.
func (f Facts) Staged() string {
	r, next := f.Role, f.Role.Record.Next
	switch {
	case !next.Staged():
		return ""
	case next.Partial():
		return fmt.Sprintf("%s%s %s; see status/%s.", f.state(), f.partFailures(), upper(f.nextAttempt()), r.Name)
	case next.Phase == credential.Accepted:
		return f.state()
	case f.Step.Why == role.AwaitingRestart: // nothing that hinders the engine matters
		return f.state() + " " + sentence(f.restartAdvice())
	default:
		return f.state() + f.hindrances() + " " + f.Advice()
	}
}

// partFailures says why some servers did not take a password; "" if that is not known.
func (f Facts) partFailures() string {
	last := f.Role.Retry.Last
	if last == nil {
		return ""
	}
	var why []string
	for _, part := range last.Parts {
		why = append(why, part.Part+": "+failure(part.Code, part.Reason))
	}
	if len(why) == 0 || len(why) > MaxNames {
		return " " + sentence(last.String())
	}
	return " " + strings.Join(why, "; ") + "."
}

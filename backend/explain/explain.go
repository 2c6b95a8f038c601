// Package explain holds every sentence that operators read about a role or a connection: reasons, advice, warnings and
// errors.
//
// They are in one place so that every path says the same about the same [Facts], and they are pure functions: the package
// has no engine, no clock and no storage. A message says what happened, what that means for the password, and what to do,
// in this order and each once. It never contains a password, a key, or text from a response of a remote system.
//
// testdata/messages.golden lists all messages. To update it, run "go test ./backend/explain -update".
package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Facts are what the engine knows about a role.
type Facts struct {
	Role *role.Role
	View credential.View
	// Step is the role's next step for its password: with [role.Env].ChangesOnly.
	Step role.Step
	Now  time.Time
	// Freeze is the mount's freeze, and Pause the connection's pause, if there is one.
	Freeze *role.Freeze
	Pause  *connection.Pause
	// Hold is the hold of the connection's calls, if there is one.
	Hold connection.Hold
	// Unsettled: see [role.Role.Unsettled]. Step may be another one that comes first.
	Unsettled bool
	// Otherwise tells an operator how the role can do without the current password; "" if it cannot.
	Otherwise string
	// NotAllowed is why the connection does not allow the role, or nil.
	NotAllowed *connection.NotAllowedError
	// Stuck is why work on the role failed before a call was made, or why the mount's storage fails; nil if neither does.
	Stuck *Stuck
}

// Stuck is a failure of work on a role, or of the mount, that is not one of the remote system.
type Stuck struct {
	// Reason says what failed, as a clause. Unless it is Vault's storage, it also says what an operator can do.
	Reason  string
	Storage bool
	// Since is when it failed first, and Next is when it is tried again; zero for the mount, which tries again every minute.
	Since, Next time.Time
}

// Reason explains the role's state, and why a due rotation has not been made.
func (f Facts) Reason() string {
	text := f.state() + f.progress() + f.lateness() + f.clock()
	if f.Freeze != nil && strings.Contains(text, Freeze(f.Freeze)) {
		f.Freeze = nil
	}
	return text + f.hindrances()
}

// hindrances says what keeps the engine from working on the role, other than the role itself; "" if nothing does.
func (f Facts) hindrances() string {
	var text string
	if f.Freeze != nil && f.Step.Why == role.Frozen && (f.Role.Record.Unfinished() || f.Role.NextRestart() != "") {
		text += " " + sentence(Freeze(f.Freeze))
	}
	if f.Pause != nil {
		text += fmt.Sprintf(" The connection %q has been paused since %s: %s.", f.Role.Connection, Time(f.Pause.Since), f.Pause.Reason)
	}
	if f.NotAllowed != nil {
		text += " " + sentence(notAllowed(f.NotAllowed))
	}
	if stuck := f.stuck(); stuck != nil {
		what := "Work on this role"
		if stuck.Next.IsZero() {
			what = "Vault's storage"
		}
		text += fmt.Sprintf(" %s has failed since %s: %s.", what, Time(stuck.Since), stuck.Reason)
	}
	return text
}

// stuck returns Stuck, unless another fact explains it.
func (f Facts) stuck() *Stuck {
	if f.NotAllowed != nil || f.Unsettled || f.Step.Why == role.Drifted {
		return nil
	}
	return f.Stuck
}

// state explains the role's state, and what it means for readers of creds.
func (f Facts) state() string {
	text := f.stateOnly()
	if f.Unsettled {
		text += " Too many passwords of this role have an unknown outcome, so no other one is sent until an operator states which one is in force."
	}
	return text
}

func (f Facts) stateOnly() string {
	r, rec := f.Role, f.Role.Record
	switch f.View.State {
	case credential.StateNone:
		return noPassword(r)
	case credential.StateActive:
		return inForce(r)
	case credential.StateAssumed:
		return assumed(r)
	case credential.StateAccepted:
		if role.StaysQueued(r) {
			return fmt.Sprintf("The remote system has queued the next password%s, but it has not taken effect: no login with it works.%s%s",
				f.nextVersion(), f.readers("Until it does, "), alsoOpen(r))
		}
		return fmt.Sprintf("The remote system has queued the next password%s and does not report when it takes effect. %s.%s%s",
			f.nextVersion(), upper(inForceAt(r)), f.readers("Until then, "), alsoOpen(r))
	case credential.StateRestartRequired:
		switch version := partlyRefused(rec); {
		case version != 0 && !rec.Next.Staged():
			return fmt.Sprintf("Some servers took version %d and others refused it, so all of them need a new password. A server that took version %d uses it from its next restart.%s",
				version, version, alsoOpen(r))
		case rec.Next.Partial():
			return fmt.Sprintf("Only %d of %d servers took the next password%s, which takes effect on each at its next restart. It is missing on: %s.%s%s",
				len(rec.Next.Taken), len(r.Target.Parts), f.nextVersion(), list(rec.Next.Missing(r.Target.Parts)),
				f.readers("Until all servers use it, "), alsoOpen(r))
		}
		return fmt.Sprintf("The next password%s is set and takes effect when %s.%s%s%s%s", f.nextVersion(), restarting(r), f.restarts(), lastLogin(r, f.Now), f.readers("Until then, "), alsoOpen(r))
	case credential.StateUncertain:
		return f.uncertain()
	default:
		return drifted(r)
	}
}

// uncertain explains the state uncertain, with what was seen.
func (f Facts) uncertain() string {
	if contradicted(f.Role) {
		return f.contradiction()
	}
	why, failed, retry := "it may or may not be in force", "", f.Role.Retry
	switch {
	case retry.Last == nil:
	case retry.Last.Class == provider.Unknown:
		why = retry.Last.String()
	case f.Role.Record.Next.AwaitsForce():
		why = fmt.Sprintf("the remote system confirmed it, but has not reported it in force: %s", retry.Last)
	default:
		failed = fmt.Sprintf(" The last attempt failed: %s.", retry.Last)
	}
	text := fmt.Sprintf("A new password%s was sent and its outcome is unknown: %s.%s%s%s", f.nextVersion(), why, noLogin(f.Role), f.readers(""), failed)
	if f.staysUnknown() {
		text += fmt.Sprintf(" The outcome has been unknown since %s; attempts without a usable response: %d.", Time(retry.UnknownSince), retry.Unknowns)
	}
	return text
}

// staysUnknown reports whether the outcome has been unknown so often, or for so long, that an operator should look.
func (f Facts) staysUnknown() bool {
	from := f.Role.Retry.OperatorFrom()
	return f.View.State == credential.StateUncertain && !from.IsZero() && !f.Now.Before(from)
}

// noPassword explains the state none.
func noPassword(r *role.Role) string {
	n := len(r.Record.Candidates)
	if n == 0 {
		return "No password has been set yet."
	}
	last, why := r.Record.Candidates[n-1], "was sent and then discarded"
	if last.Refused {
		why = "was sent, but the remote system refuses it"
	}
	return fmt.Sprintf("No password is known to be in force. Version %d %s; see history/%s.", last.Version, why, r.Name)
}

// assumed explains why a password that the remote system has not confirmed, or not for good, counts as in force.
func assumed(r *role.Role) string {
	current := r.Record.Current
	others := versions(r, func(credential.Candidate) bool { return true })
	switch basis := current.Basis; {
	case others != "":
		lead := map[credential.Basis]string{
			credential.BasisAnswer: "The remote system confirmed version %d", credential.BasisProof: "A login has proved version %d",
		}[basis]
		lead = fmt.Sprintf(cmp.Or(lead, "Version %d is believed to be in force"), current.Version)
		return fmt.Sprintf("%s, but %s also sent and could still take effect; see history/%s.", lead, others, r.Name)
	case basis == credential.BasisAnswer:
		return fmt.Sprintf("The remote system confirmed the password, but an older one that it never confirmed could still take effect; see history/%s.", r.Name)
	case basis == credential.BasisProof:
		return fmt.Sprintf("A login has proved the password, but an earlier request with another one may still be running on the remote system; see history/%s.", r.Name)
	case basis == credential.BasisTime:
		return "The remote system queued the password, and enough time has passed for it to take effect. The remote system has not confirmed it." + noLogin(r)
	case basis == credential.BasisRestart:
		return "The engine restarted every server after the remote system had set the password." + cmp.Or(noLogin(r), " No login has proved it.")
	case basis == credential.BasisOperator:
		return "An operator stated that this password is in force, with confirm-role or when creating the role. The remote system has not confirmed it." + noLogin(r)
	default:
		return "The password counts as in force, but the remote system has not confirmed it."
	}
}

// progress says what the engine is doing about the next password.
func (f Facts) progress() string {
	switch next := f.Role.Record.Next; {
	case next == nil:
		return ""
	case next.Phase == credential.Unsent:
		return fmt.Sprintf(" Version %d is waiting to be sent (%s).", next.Version, next.Reason)
	case next.Phase != credential.Sending || f.Now.After(next.SentUntil):
		return ""
	case next.Unresolved:
		return " It is being sent again."
	case next.Stage != "":
		return " It is being sent to the other servers."
	default:
		return fmt.Sprintf(" Version %d is being sent (%s).", next.Version, next.Reason)
	}
}

// readers says what creds returns while the next password is not known to be in force.
func (f Facts) readers(lead string) string {
	name, current := f.Role.Name, f.Role.Record.Current
	switch {
	case f.View.Next != nil && current != nil && !current.Refused:
		return fmt.Sprintf(" %screds/%s returns the old password, and the new one as next_password.", lead, name)
	case f.View.Password == nil:
		return fmt.Sprintf(" creds/%s returns no password.", name)
	case f.View.State == credential.StateUncertain && current == nil:
		return fmt.Sprintf(" No password of this role is known to work: creds/%s returns this one, which may not work.", name)
	case f.View.State == credential.StateUncertain:
		return fmt.Sprintf(" creds/%s returns the password that is most likely in force.", name)
	default:
		return fmt.Sprintf(" %sVault knows no password that works: creds/%s already returns the new one.", lead, name)
	}
}

// nextVersion is the version of the next password in parentheses; "" if it has none of its own.
func (f Facts) nextVersion() string {
	if n := NextVersion(f.Role, f.View); n != 0 {
		return fmt.Sprintf(" (version %d)", n)
	}
	return ""
}

// NextVersion returns the version of the password that may come into force, in the states accepted, restart_required and
// uncertain; 0 if there is none.
func NextVersion(r *role.Role, view credential.View) int {
	switch view.State {
	case credential.StateAccepted, credential.StateRestartRequired, credential.StateUncertain:
	default:
		return 0
	}
	current := r.Record.Current
	switch {
	case view.Next != nil:
		return view.Next.Version
	case view.Password != nil && (current == nil || current.Version != view.Password.Version):
		return view.Password.Version
	default:
		return 0
	}
}

// restarting names what has to restart, with its verb.
func restarting(r *role.Role) string {
	switch parts := r.Target.Parts; {
	case len(parts) == 0:
		return "the remote system restarts"
	case len(parts) == 1:
		return "server " + parts[0] + " restarts"
	case r.Record.Next != nil && len(r.Record.Next.InForceOn) > 0:
		return "these servers restart: " + list(unconfirmed(r)) + " (it is in force on the others)"
	default:
		return fmt.Sprintf("the %d servers restart", len(parts))
	}
}

// unconfirmed returns the servers on which the next password is not known to be in force.
func unconfirmed(r *role.Role) []string {
	on := r.Record.Next.InForceOn
	return slices.DeleteFunc(slices.Clone(r.Target.Parts), func(part string) bool { return slices.Contains(on, part) })
}

// partlyRefused returns the version that some servers took and others refused; 0 if there is none.
func partlyRefused(rec credential.Record) int {
	at := slices.IndexFunc(rec.Candidates, func(c credential.Candidate) bool {
		return c.Why == credential.WhyRefused && c.Stage != "" && !c.Overtaken
	})
	if at < 0 {
		return 0
	}
	return rec.Candidates[at].Version
}

// alsoOpen names the passwords that were sent before the next one and may be in force; "" if there are none.
func alsoOpen(r *role.Role) string {
	others := versions(r, func(c credential.Candidate) bool { return !c.Overtaken && c.Stage == "" })
	if others == "" {
		return ""
	}
	return fmt.Sprintf(" %s sent before with an unknown outcome and may be in force instead; see history/%s.", upper(others), r.Name)
}

// versions names the candidates that match, with the verb: "version 2 was", "versions 2 and 3 were"; "" if there are none.
func versions(r *role.Role, match func(credential.Candidate) bool) string {
	var numbers []string
	for _, c := range r.Record.Candidates {
		if match(c) {
			numbers = append(numbers, strconv.Itoa(c.Version))
		}
	}
	switch n := len(numbers); n {
	case 0:
		return ""
	case 1:
		return "version " + numbers[0] + " was"
	default:
		return "versions " + strings.Join(numbers[:n-1], ", ") + " and " + numbers[n-1] + " were"
	}
}

// Server is the state of one of several servers that share the account.
type Server struct {
	credential.PartView
	// LastError is why it did not take the last password; "" if it did, or if that is not known.
	LastError string
}

// Servers returns the state of each server of the role.
func (f Facts) Servers() []Server {
	var out []Server
	for _, view := range f.Role.Record.Parts(f.Role.Target.Parts, f.Now) {
		s := Server{PartView: view}
		if last := f.Role.Retry.Last; last != nil {
			if at := slices.IndexFunc(last.Parts, func(p provider.PartFailure) bool { return p.Part == view.Part }); at >= 0 {
				s.LastError = failure(last.Parts[at].Code, last.Parts[at].Reason)
			}
		}
		if of := f.Role.Restarts; f.Role.RestartsFailed() != "" && of.FailedPart == view.Part && view.Version != of.Version {
			s.LastError = of.Failed
		}
		out = append(out, s)
	}
	return out
}

package rotation

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// report is how the role stands, without judging it.
func (e *Engine) report(role *Role) *Report {
	now := e.clock()
	view := role.Record.View(now)
	return &Report{Role: role, View: view, TTL: ttl(role, view, now, e.frozen() != nil)}
}

// answer turns the last failure of a role into the answer to a request: an error where nothing was changed, a report with
// a warning where nobody knows.
func (e *Engine) answer(role *Role) (*Report, error) {
	report := e.report(role)
	report.Warning = e.stagedWarning(role)
	last := role.Retry.Last
	if last == nil || role.Record.Next.Staged() && role.Record.Next.Partial() {
		return report, nil
	}
	if report.View.State == credential.StateUncertain {
		where := "it is kept as next_password"
		if report.View.Next == nil {
			where = "creds gives the one that is most likely in force"
		}
		report.Warning = fmt.Sprintf("a new password was sent and its outcome is unknown: %s; %s, and %s", last, where, e.goesOn(role))
		return report, nil
	}
	if report.View.State == credential.StateRestartRequired && partlyRefused(role.Record) {
		report.Warning = fmt.Sprintf("some servers took a password that others refused: %s; another one for all is made, and %s; read status/%s", last, e.goesOn(role), role.Name)
		return report, nil
	}
	if err := e.failed(role, fmt.Sprintf("role %q: nothing was changed%s", role.Name, yet(role))); err != nil {
		return nil, err
	}
	return report, nil
}

// yet tells that a new password waits to be sent.
func yet(role *Role) string {
	if role.Record.Next == nil || role.Record.Next.Staged() {
		return ""
	}
	return " yet"
}

// failed is the error for the last failure of a role whose password is what it was; nil if there is none.
func (e *Engine) failed(role *Role, lead string) error {
	last := role.Retry.Last
	if last == nil {
		return nil
	}
	switch last.Class {
	case provider.Rejected, provider.Mismatch:
		return Mistake("%s: %s; %s", lead, last, e.failureAdvice(role))
	case provider.Busy:
		return busy("%s: %s; %s", lead, last, e.goesOn(role))
	case provider.Denied, provider.Unreachable:
		if last.Class == provider.Denied && last.Scope == provider.ScopeTarget {
			return unreachable("%s: %s; %s; %s", lead, last, e.failureAdvice(role), e.goesOn(role))
		}
		return unreachable("%s: %s; %s", lead, last, e.goesOn(role))
	default:
		return nil
	}
}

// goesOn says what the engine does next by itself.
func (e *Engine) goesOn(role *Role) string {
	frozen := e.frozen()
	switch {
	case role.stuck():
		return "the engine makes no more passwords before somebody says which one is in force"
	case !role.Record.Unfinished():
		return "nothing is tried again before the next request"
	case role.Options.Disabled:
		return "the engine does not go on by itself, since disable_automated_rotation is set: ask again after " + stamp(role.Retry.NextAttempt)
	case frozen != nil:
		return "the engine does not go on by itself, since " + frozen.String()
	default:
		return "the engine goes on by itself at " + stamp(role.Retry.NextAttempt) + e.tried(role)
	}
}

// tried says of when the last failure is: requests in between get the same answer.
func (e *Engine) tried(role *Role) string {
	if role.Retry.Last == nil || e.clock().Sub(role.Retry.Last.Time) < time.Second { // by this very request
		return ""
	}
	return " (last tried at " + stamp(role.Retry.Last.Time) + ")"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Status explains a role to an operator.
type Status struct {
	Report *Report
	Reason string
	Advice string
	// Next is when the engine goes on by itself; zero: it does not have to.
	Next time.Time
	// Servers that take the password each by itself; empty where the account is one.
	Servers []ServerStatus
	// Due is when the password is due to be changed; zero: only by hand.
	Due time.Time
}

// explain puts a role's state into words.
func (e *Engine) explain(role *Role, pause *Pause) Status {
	report := e.report(role)
	s := Status{Report: report, Due: role.dueTime(), Advice: sentence(e.advice(role, report.View)), Reason: e.reason(role, report.View)}
	s.Servers = servers(role, e.clock())
	if at, waits := role.nextAction(e.clock()); waits {
		s.Next = later(at, e.clock())
		if frozen := e.frozen(); frozen != nil {
			e.explainFreeze(role, &s, frozen)
		}
	}
	if pause != nil {
		s.Reason += fmt.Sprintf(" The connection %q is paused since %s: %s.", role.Connection, stamp(pause.Since), pause.Reason)
		credentials := fmt.Sprintf("Write a working credential to config/%s; %s.", role.Connection, pause.triedAgain())
		if role.held(report.View) { // that is another matter
			credentials = s.Advice + " " + credentials
		}
		s.Advice = credentials
	}
	return s
}

// explainFreeze says what a freeze does to a role that waits for something.
func (e *Engine) explainFreeze(role *Role, s *Status, frozen *Freeze) {
	if !frozen.Until.IsZero() && s.Next.After(frozen.Until) { // it ends before
		return
	}
	s.Next = frozen.Until // zero: not by itself
	if !strings.Contains(s.Reason, frozen.String()) && role.Record.Unfinished() {
		s.Reason += " " + sentence(frozen.String())
	}
	const thaw = "vault delete MOUNT/freeze"
	switch {
	case strings.Contains(s.Advice, thaw):
	case s.Advice == "Nothing.":
		s.Advice = "Nothing, if it can wait for the end of the freeze; else end it with: " + thaw + ", or write rotate-role/" + role.Name + "."
	default:
		s.Advice += " To end the freeze: " + thaw + "."
	}
}

func (e *Engine) reason(role *Role, view credential.View) string {
	text := stateReason(role, view)
	switch next := role.Record.Next; {
	case next == nil:
	case next.Phase == credential.Sending:
		text += " A new password is being sent (" + next.Reason + ")."
	case next.Phase == credential.Unsent:
		text += fmt.Sprintf(" A new password of version %d waits to be sent (%s).", next.Version, next.Reason)
	}
	return text + e.lateness(role, view)
}

// lateness says why a role is not changed that is due; "" if it is not due, or is being changed.
func (e *Engine) lateness(role *Role, view credential.View) string {
	now := e.clock()
	due := role.dueTime()
	if due.IsZero() || !now.After(due) {
		return ""
	}
	since := " It is due since " + stamp(due)
	frozen := e.frozen()
	missed, late := role.missed(now)
	switch {
	case role.held(view):
		return fmt.Sprintf("%s, and held until version %d is in force.", since, e.report(role).NextVersion())
	case role.Options.Disabled:
		return since + ", and not changed automatically: disable_automated_rotation is set."
	case frozen != nil:
		return fmt.Sprintf("%s, and not changed: %s.", since, frozen)
	case late:
		opens, _ := role.Options.inWindow(missed, now)
		return fmt.Sprintf("%s, and has missed its window of %d seconds: the next one opens at %s.", since, role.Options.RotationWindow, stamp(opens))
	case role.Record.Unfinished():
		return since + "."
	case role.Options.RotationMode == ModeOnRead:
		return since + ": the next read changes it."
	case role.Retry.Last != nil:
		return fmt.Sprintf("%s, and is late because %s.", since, role.Retry.Last)
	default:
		return since + ", and waits for its turn."
	}
}

func stateReason(role *Role, view credential.View) string {
	rec := role.Record
	switch view.State {
	case credential.StateNone:
		if len(rec.Candidates) > 0 {
			return fmt.Sprintf("No password is known to be in force. %d was sent and discarded (history has it).", rec.Candidates[len(rec.Candidates)-1].Version)
		}
		return "No password has been set yet."
	case credential.StateActive:
		return "The remote system confirmed the password."
	case credential.StateAssumed:
		if len(rec.Candidates) > 0 {
			return "Version " + strconv.Itoa(rec.Current.Version) + " is believed in force, but another one was sent whose fate nobody confirmed, and which could still follow (history has it)."
		}
		return assumedReason(rec.Current.Basis)
	case credential.StateAccepted:
		return fmt.Sprintf("The remote system has queued the next password. It says nothing when it is done: the password counts as in force at %s.", stamp(role.queued())) + alsoOpen(rec)
	case credential.StateRestartRequired:
		if !rec.Next.Staged() && partlyRefused(rec) {
			return "Some servers have taken a password that others refused; another one for all is made." + alsoOpen(rec)
		}
		if rec.Next.Partial() {
			return fmt.Sprintf("%d of %d servers have taken the next password, which comes into force when each restarts. Not yet: %s.",
				len(rec.Next.Taken), len(role.Target.Parts), listed(rec.Next.Missing(role.Target.Parts))) + alsoOpen(rec)
		}
		return fmt.Sprintf("The next password is set and comes into force when %s.", restarts(role)) + alsoOpen(rec)
	case credential.StateUncertain:
		return "A password was sent and nobody knows yet whether it is in force."
	default:
		return "The remote system refuses the passwords that Vault holds: somebody else changed it."
	}
}

// assumedReason says why a password is believed to be in force that nobody confirmed.
func assumedReason(basis credential.Basis) string {
	switch basis {
	case credential.BasisTime:
		return "The remote system had queued the password, and the time has passed that this takes. Nobody has confirmed it."
	case credential.BasisWord:
		return "Somebody said that this password is in force: with confirm-role, or when the role adopted the account. The remote system has not confirmed it."
	default:
		return "The password was settled without the remote system's confirmation."
	}
}

// advice says what an operator can do, as a clause.
func (e *Engine) advice(role *Role, view credential.View) string {
	name, last := role.Name, role.Retry.Last
	switch view.State {
	case credential.StateDrifted:
		return fmt.Sprintf("write the account's present password to confirm-role/%s (password=…)%s", name, e.otherwise(role))
	case credential.StateAccepted:
		return "nothing: the engine settles it by itself"
	case credential.StateRestartRequired:
		if role.Record.Next.Partial() && last != nil {
			return fmt.Sprintf("mend what keeps the other servers from taking it (servers says what), and restart each that has; then write confirm-role/%s with the version of next_password, and servers where it is only some of them", name)
		}
		if role.Record.Next == nil || !role.Record.Next.Staged() {
			return fmt.Sprintf("if a restart has put the password in force that waits, write confirm-role/%s with its version (history/%s has it)", name, name)
		}
		return restartAdvice(role)
	case credential.StateUncertain:
		text := "find out which password works (history/%s has them all) and write confirm-role/%s with its version, or with password=… where it is not waiting"
		if !role.stuck() {
			text = "wait for the engine, or " + text
		}
		return fmt.Sprintf(text, name, name)
	case credential.StateNone:
		switch {
		case len(role.Record.Candidates) > 0:
			return fmt.Sprintf("write rotate-role/%s to set another one, or confirm-role/%s with the version of one that works", name, name)
		case last == nil:
			return fmt.Sprintf("read creds/%s or write rotate-role/%s to set one", name, name)
		}
	default: // the password is in force; what remains is the last failure
		rec := role.Record
		if last != nil || rec.Current == nil || rec.Current.Basis != credential.BasisTime {
			break
		}
		if rec.Previous == nil || rec.Exposed() {
			return fmt.Sprintf("nothing, if the password works; if it does not, write the one that does to confirm-role/%s (password=…)", name)
		}
		return fmt.Sprintf("nothing, if the password works; if it does not, write confirm-role/%s with version=%d and discard=true: creds/%s then gives the one before", name, rec.Current.Version, name)
	}
	if last == nil {
		return "nothing"
	}
	return e.failureAdvice(role)
}

// failureAdvice says what an operator can do about the last failure, as a clause.
func (e *Engine) failureAdvice(role *Role) string {
	name, last := role.Name, role.Retry.Last
	switch last.Class {
	case provider.Rejected:
		if last.Scope == provider.ScopePassword {
			return "give another password, or set a password_policy whose passwords the remote system takes"
		}
		return "see whether the account still exists and the role names it rightly, mend what is said here, and ask again"
	case provider.Mismatch:
		return fmt.Sprintf("write the account's present password to confirm-role/%s (password=…)%s", name, e.otherwise(role))
	case provider.Denied:
		if last.Scope == provider.ScopeTarget {
			return fmt.Sprintf("the credential of config/%s works, so this is about the account alone: check its user's rights to it, and that the role names it rightly", role.Connection)
		}
		return fmt.Sprintf("check the rights and the credential of config/%s", role.Connection)
	case provider.Unreachable:
		return fmt.Sprintf("check the network between Vault and the url of config/%s", role.Connection)
	default:
		if role.Options.Disabled || !role.Record.Unfinished() || e.frozen() != nil {
			return e.goesOn(role)
		}
		return "wait: " + e.goesOn(role)
	}
}

// otherwise is how the role can do without the present password, as the end of an advice.
func (e *Engine) otherwise(role *Role) string {
	if kind := e.types[role.Provider]; kind != nil {
		if way := kind.OldPassword(role.Target).Otherwise; way != "" {
			return ", or " + way + " and rotate it"
		}
	}
	return ""
}

// sentence makes a clause a sentence.
func sentence(clause string) string {
	if clause == "" {
		return ""
	}
	return strings.ToUpper(clause[:1]) + clause[1:] + "."
}

func (e *Engine) pausedError(connection string, pause *Pause) error {
	return busy("the connection %q is paused since %s, because the remote system refuses its credential: %s; nothing was changed. Write a working credential to config/%s; %s",
		connection, stamp(pause.Since), pause.Reason, connection, pause.triedAgain())
}

func (e *Engine) driftedError(role *Role) error {
	if role.Record.Current == nil && len(role.Record.Candidates) == 0 {
		return Mistake("the remote system changes this password only for who presents the present one, and Vault does not know it: write it to confirm-role/%s (password=…)", role.Name)
	}
	return Mistake("the remote system refuses every password that Vault holds for the role %q as the old one, so nothing was sent: write the present password to confirm-role/%s (password=…)%s",
		role.Name, role.Name, e.otherwise(role))
}

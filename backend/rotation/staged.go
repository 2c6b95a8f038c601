package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
)

// A remote system may take a change and put it in force later: when its queue comes to it, or at its next start. The
// record knows what waits (credential.Next.Stage); here is what time alone does to it, and how it is told.

// read returns a role as it stands now: what time has settled since it was stored is settled. It returns nil without an
// error where there is none.
func (e *Engine) read(ctx context.Context, s store, name string) (*Role, error) {
	role, err := s.role(ctx, name)
	if err == nil && role.sending() {
		role, err = e.lookAgain(ctx, s, role)
	}
	if err != nil || role == nil {
		return role, err
	}
	return role, e.bringUpToDate(ctx, s, role)
}

// bringUpToDate makes a role as storage has it one as it stands now.
func (e *Engine) bringUpToDate(ctx context.Context, s store, role *Role) error {
	role.ripen(e.clock())
	role.derive(e.clock())
	if role.Options.RotateAfterRead > 0 {
		f, err := e.firstRead(ctx, s, role.Name)
		if err != nil {
			return err
		}
		role.heedRead(f)
	}
	return nil
}

// sending tells whether a request is under way by what storage says. A process that was ended while one was left that behind.
func (r *Role) sending() bool {
	return r != nil && r.Record.Next != nil && r.Record.Next.Phase == credential.Sending
}

// lookAgain returns a role, of which storage said a moment ago that a password is being sent, as a reader is to see it.
// Where nobody here works on it that password may be in force already, and no answer will come.
func (e *Engine) lookAgain(ctx context.Context, s store, role *Role) (*Role, error) {
	if e.locks.held(role.Name) || !e.writable() { // in this order: to be told whether it is writable costs a call of Vault
		return role, nil
	}
	again, err := s.role(ctx, role.Name) // the work may just have ended
	if err == nil && again.sending() && again.Record.Next.Version == role.Record.Next.Version {
		again.Record = again.Record.Unresolved()
	}
	return again, err
}

// ripen puts the queued password in force once its time has passed. Whoever reads the role sees the same from that moment
// on, whether or not the engine has come to store it.
func (r *Role) ripen(now time.Time) {
	if r.SettlesAt.IsZero() || now.Before(r.SettlesAt) {
		return
	}
	at := r.SettlesAt
	r.SettlesAt = time.Time{}
	r.ripened = true
	if r.Record.QueuedSince().IsZero() { // a person has settled it
		return
	}
	r.Record = r.Record.Ripe(at, at).Trim(r.Options.HistorySize)
	r.Due = r.Options.dueAfter(at)
}

// queued is when the password that waits in the remote system's queue counts as in force; the zero time: none waits.
func (r *Role) queued() time.Time {
	if r.Record.QueuedSince().IsZero() {
		return time.Time{}
	}
	return r.SettlesAt
}

// held tells whether a due change waits until the last one is in force: of two that wait for one restart the first is
// lost.
func (r *Role) held(view credential.View) bool {
	return view.State == credential.StateAccepted || view.State == credential.StateRestartRequired
}

// stuck tells whether the engine has something to find out, and may make no other password for it.
func (r *Role) stuck() bool {
	return r.Record.Next == nil && r.Record.Unfinished() && len(r.Record.Candidates) > credential.MaxCandidates
}

// NextVersion is the version of the password that may come into force, in the states accepted, restart_required and
// uncertain; 0: there is none.
func (r *Report) NextVersion() int {
	current := r.Role.Record.Current
	switch r.View.State {
	case credential.StateAccepted, credential.StateRestartRequired, credential.StateUncertain:
	default:
		return 0
	}
	switch {
	case r.View.Next != nil:
		return r.View.Next.Version
	case r.View.Password != nil && (current == nil || current.Version != r.View.Password.Version):
		return r.View.Password.Version
	default:
		return 0
	}
}

// settled stores what time has settled, and tells of it.
func (e *Engine) settled(ctx context.Context, c *change) standing {
	e.logger.Info("the queued password counts as in force", "role", c.role.Name, "connection", c.l.Name, "provider", c.l.Provider)
	failpoint.Reach(failpoint.BeforeSettled, c.role.Name)
	c.events = append(c.events, EventRotate)
	err := c.conclude(ctx)
	failpoint.Reach(failpoint.Settled, c.role.Name)
	return e.driven(c, err)
}

// stagedWarning says what the new password waits for; "" if it waits for nothing.
func (e *Engine) stagedWarning(role *Role) string {
	next := role.Record.Next
	switch {
	case !next.Staged():
		return ""
	case next.Partial():
		return fmt.Sprintf("only %d of %d servers have taken the new password (version %d); not yet: %s. %s, and %s; read status/%s",
			len(next.Taken), len(role.Target.Parts), next.Version, listed(next.Missing(role.Target.Parts)), lastOf(role), e.goesOn(role), role.Name)
	case next.Phase == credential.Accepted:
		return fmt.Sprintf("the remote system has queued the new password (version %d), and says nothing when it is done: it counts as in force at %s; %s",
			next.Version, stamp(role.SettlesAt), untilThen(role)) + dotted(alsoOpen(role.Record))
	default:
		return fmt.Sprintf("the new password (version %d) is set and waits for a restart; %s; %s", next.Version, untilThen(role), restartAdvice(role)) + dotted(alsoOpen(role.Record))
	}
}

// dotted puts a full stop before a sentence that follows a clause.
func dotted(sentence string) string {
	if sentence == "" {
		return ""
	}
	return "." + sentence
}

// untilThen is what creds gives while a password waits.
func untilThen(role *Role) string {
	if role.Record.Current == nil {
		return "until then Vault knows no password that works: creds gives this one already"
	}
	return "until then creds gives the one before as password, and this one as next_password"
}

// restartAdvice says what a person has to do for a password that waits for a restart, as a clause.
func restartAdvice(role *Role) string {
	next := role.Record.Next
	confirm := fmt.Sprintf("write confirm-role/%s with version=%d", role.Name, next.Version)
	switch {
	case len(role.Target.Parts) == 0:
		return fmt.Sprintf("restart the remote system and try the password: if it works, %s, if not, the same with discard=true", confirm)
	case len(role.Target.Parts) == 1:
		return fmt.Sprintf("restart the server %s and try the password: if it works, %s, if not, the same with discard=true", role.Target.Parts[0], confirm)
	case len(next.InForceOn) == 0:
		return fmt.Sprintf("restart the servers (%s) and try the password on each: if it works on all, %s; on some, the same with servers=ID; on none, with discard=true",
			listed(role.Target.Parts), confirm)
	default:
		return fmt.Sprintf("restart the servers that have not confirmed it yet (%s) and try the password on each: where it works, %s and servers=ID",
			listed(unconfirmed(role)), confirm)
	}
}

// unconfirmed are the servers on which nobody has said that the password that waits is in force.
func unconfirmed(role *Role) []string {
	on := role.Record.Next.InForceOn
	return slices.DeleteFunc(slices.Clone(role.Target.Parts), func(part string) bool { return slices.Contains(on, part) })
}

// lastOf is the last failure as a clause.
func lastOf(role *Role) string {
	last := role.Retry.Last
	if last == nil {
		return "they are still being asked"
	}
	var why []string
	for _, f := range last.Parts {
		why = append(why, f.Part+": "+(&Failure{Code: f.Code, Reason: f.Reason}).String())
	}
	if len(why) == 0 || len(why) > namedInErrors {
		return last.String()
	}
	return strings.Join(why, "; ")
}

// restarts names what has to restart, with its verb.
func restarts(role *Role) string {
	switch parts := role.Target.Parts; {
	case len(parts) == 0:
		return "the remote system restarts"
	case len(parts) == 1:
		return "the server " + parts[0] + " restarts"
	case role.Record.Next != nil && len(role.Record.Next.InForceOn) > 0:
		return "these servers restart: " + listed(unconfirmed(role)) + " (on the others it is in force)"
	default:
		return fmt.Sprintf("the %d servers restart", len(parts))
	}
}

// listed names some of many.
func listed(names []string) string {
	shown := strings.Join(names[:min(len(names), namedInErrors)], ", ")
	if more := len(names) - namedInErrors; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

// ServerStatus is how one of several servers with one password stands.
type ServerStatus struct {
	credential.PartView
	// LastError is why it did not take the last password; "" if it did, or nobody knows.
	LastError string
}

// servers tells how each server of a role stands.
func servers(role *Role, now time.Time) []ServerStatus {
	var out []ServerStatus
	for _, view := range role.Record.Parts(role.Target.Parts, now) {
		s := ServerStatus{PartView: view}
		if last := role.Retry.Last; last != nil {
			for _, f := range last.Parts {
				if f.Part == view.Part {
					s.LastError = (&Failure{Code: f.Code, Reason: f.Reason}).String()
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// partlyRefused tells whether some servers have taken a password that others refused.
func partlyRefused(rec credential.Record) bool {
	return slices.ContainsFunc(rec.Candidates, func(c credential.Candidate) bool {
		return c.Why == credential.WhyRefused && c.Stage != "" && !c.Overtaken
	})
}

// alsoOpen names the passwords that were sent before the one that waits, and may be in force without anybody's knowing;
// "" if there are none.
func alsoOpen(rec credential.Record) string {
	var versions []string
	for _, c := range rec.Candidates {
		if !c.Overtaken && c.Stage == "" {
			versions = append(versions, strconv.Itoa(c.Version))
		}
	}
	if len(versions) == 0 {
		return ""
	}
	return fmt.Sprintf(" Version %s was sent before, its outcome is unknown, and it may be in force too (history has it).", strings.Join(versions, ", "))
}

// checkWord makes sure that a word is about what it can be about.
func checkWord(role *Role, word Word) error {
	if len(word.Servers) > 0 {
		return checkServers(role, word.Servers)
	}
	next := role.Record.Next
	if word.Discard || word.Password != "" || !next.Partial() || next.Version != word.Version {
		return nil
	}
	return Mistake("the role %q: %s has not taken version %d, for all that is known; name the servers on which it is in force (servers=…), all of them if you set it there by hand",
		role.Name, listed(next.Missing(role.Target.Parts)), word.Version)
}

// wordError tells why a word was not taken.
func wordError(role *Role, word Word, err error) error {
	switch {
	case errors.Is(err, credential.ErrQueued):
		return Mistake("the remote system has queued version %d of the role %q: it may not work yet, and come into force all the same. It counts as in force at %s; if it does not work after that, discard it then",
			word.Version, role.Name, stamp(role.SettlesAt))
	case errors.Is(err, credential.ErrInForceOn):
		return Mistake("version %d of the role %q was confirmed on some servers, so it cannot be discarded: rotate the role again, or write password=… with the one that is in force on all",
			word.Version, role.Name)
	case word.Discard && role.Record.Current != nil && role.Record.Current.Version == word.Version:
		return Mistake("version %d of the role %q is in force for all that is known, and cannot be discarded now; if another one works, write it as password=… (history/%s has them)",
			word.Version, role.Name, role.Name)
	default:
		return Mistake("the role %q: %s; history/%s lists its passwords, and an older one that works is written as password=…", role.Name, err, role.Name)
	}
}

// checkServers makes sure that a word about some servers is about the role's.
func checkServers(role *Role, given []string) error {
	if len(role.Target.Parts) == 0 {
		return Mistake("servers is for roles with several servers; the role %q has one account", role.Name)
	}
	for _, server := range given {
		if !slices.Contains(role.Target.Parts, server) {
			return Mistake("servers: %q is none of the role %q, which has %s", server, role.Name, listed(role.Target.Parts))
		}
	}
	return nil
}

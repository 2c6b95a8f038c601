package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
)

// A remote system may take a change and put it in force later: when its queue comes to it, or at its next start. The
// record knows what waits (credential.Next.Stage); here is what time alone does to it, and how it is told.

// read returns a role as it stands now: what time has settled since it was stored is settled. It returns nil without an
// error where there is none.
func (e *Engine) read(ctx context.Context, s store, name string) (*Role, error) {
	role, err := s.role(ctx, name)
	if err == nil && role != nil {
		role.ripen(e.clock())
	}
	return role, err
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

// held tells whether a due change waits until the last one is in force: two that wait for one restart would lose the first.
func (r *Role) held() bool { return r.Record.Next.Staged() }

// nextAction is when the engine has to act on the role by itself; false: never.
func (r *Role) nextAction() (time.Time, bool) {
	at := r.queued()
	waits := !at.IsZero()
	if r.Record.Unfinished() && !r.Options.Disabled && (!waits || r.Retry.NextAttempt.Before(at)) {
		at, waits = r.Retry.NextAttempt, true
	}
	return at, waits
}

// settled stores what time has settled, and tells of it.
func (e *Engine) settled(ctx context.Context, c *change) standing {
	e.logger.Info("the queued password counts as in force", "role", c.role.Name, "connection", c.l.Name, "provider", c.l.Provider)
	return e.driven(c, c.conclude(ctx))
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
			next.Version, stamp(role.SettlesAt), untilThen(role))
	default:
		return fmt.Sprintf("the new password (version %d) is set and waits for a restart; %s; %s", next.Version, untilThen(role), restartAdvice(role))
	}
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
	confirm := fmt.Sprintf("write confirm-role/%s with version=%d (and discard=true if it does not work)", role.Name, next.Version)
	open := slices.DeleteFunc(slices.Clone(role.Target.Parts), func(part string) bool { return slices.Contains(next.InForceOn, part) })
	switch {
	case len(role.Target.Parts) == 0:
		return "restart the remote system, try the password there, then " + confirm
	case len(role.Target.Parts) == 1:
		return fmt.Sprintf("restart the server %s, try the password there, then %s", open[0], confirm)
	default:
		return fmt.Sprintf("restart the servers, try the password on each, then %s; with servers=ID for one at a time. Not confirmed yet: %s", confirm, listed(open))
	}
}

// lastOf is the last failure as a clause.
func lastOf(role *Role) string {
	if role.Retry.Last == nil {
		return "they are still being asked"
	}
	return role.Retry.Last.String()
}

// restarts names what has to restart, with its verb.
func restarts(role *Role) string {
	switch parts := role.Target.Parts; len(parts) {
	case 0:
		return "the remote system restarts"
	case 1:
		return "the server " + parts[0] + " restarts"
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

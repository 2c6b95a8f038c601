// Package health keeps the state of every role of a mount in memory, without secrets, and the last failure of its work, so
// that the health of the mount can be reported, and the roles of a connection found, without reading all of storage. Only the
// node that changes passwords has it.
package health

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
	"unique"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Board has the state of the roles and of the paused connections of a mount. The zero value is empty. Its methods may be
// called concurrently.
type Board struct {
	mu    sync.Mutex // guards the fields below
	roles map[string]roleHealth
	// byConnection has the names in roles. complete: it has every role in storage.
	byConnection map[unique.Handle[string]]map[string]struct{}
	complete     bool
	pauses       map[string]PausedConnection
	// changed is when the remote system of a connection last confirmed a password.
	changed map[string]time.Time
}

// roleHealth is the state of one role.
type roleHealth struct {
	connection, provider unique.Handle[string] // many roles have the same
	// creating: it is being created, so only its connection is known.
	creating bool
	state    credential.State
	// due is when an automatic rotation is due; zero if none is.
	due time.Time
	// failing: a call has failed since the last success. disabled: disable_automated_rotation. unfinished: a password is being
	// set, or an outcome is unknown.
	failing, disabled, unfinished bool
	// restarting: a server of it is being restarted, or has to be.
	restarting bool
	// unproved: it verifies passwords, and no login has proved the one in force, or the last one could not tell.
	unproved bool
	// ahead: a clock that was ahead has recorded the last rotation.
	ahead bool
	// sending: a request is in flight, with the deadline sendingUntil.
	sending      bool
	sendingUntil time.Time
	// operator says why the role needs an operator; "" if it does not need one. operatorFrom is from when on it does.
	operator     string
	operatorFrom time.Time
	// problem is the role's last failure if it concerns the remote system as a whole, or nil.
	problem *role.Failure
}

// Problem is a remote system that refuses requests for any account.
type Problem struct {
	Connection, Provider, Reason string
	// Since is the first of the roles' last failures, and Roles counts these roles.
	Since time.Time
	Roles int
}

// PausedConnection is a connection that is paused because its credential was refused.
type PausedConnection struct {
	Connection, Provider, Reason string
	Since                        time.Time
	// NextProbe is when the credential is tried again; zero if an operator has to act first.
	NextProbe time.Time
}

// NeedsOperator is a role that needs an operator, and why.
type NeedsOperator struct{ Role, Reason string }

// Dated is a role and a time. The role is "" if there is none.
type Dated struct {
	Role string
	Time time.Time
}

// Report is the health of a mount.
type Report struct {
	Roles int
	// States counts roles by state, Providers by provider and state.
	States    map[credential.State]int
	Providers map[string]map[credential.State]int
	// Overdue counts the roles that are due and not rotated yet, except those with disable_automated_rotation, those that
	// the next read rotates, and those whose last password is not in force yet.
	Overdue, Failing, Disabled int
	// Unproved counts the roles that verify passwords, and whose password in force no login has proved or whose last login
	// could not tell.
	Unproved int
	// RotatedAhead counts the roles whose last rotation was recorded by a clock that was ahead.
	RotatedAhead           int
	OldestOverdue, NextDue Dated
	Paused                 []PausedConnection
	// Problems lists connections whose remote system refuses requests for any account, by name.
	Problems []Problem
	// NeedOperator lists roles that need an operator by name, at most maxListed. OperatorsNeeded counts all of them.
	NeedOperator    []NeedsOperator
	OperatorsNeeded int
}

// maxListed bounds the roles in Report.NeedOperator.
const maxListed = 500

// Set sets the state of a role.
func (b *Board) Set(f explain.Facts) {
	r := f.Role
	known := roleHealth{
		connection: unique.Make(r.Connection), provider: unique.Make(r.Provider),
		state: f.View.State, operator: f.NeedsOperator(), disabled: r.Options.Disabled, unfinished: r.Record.Unfinished(),
		failing:    r.Retry.Last != nil && r.Retry.Attempts > 0, // otherwise it only waits
		restarting: r.Restarts.Part != "" || r.NextRestart() != "" && !r.Options.Disabled,
		ahead:      !r.RotatedAhead(f.Now).IsZero(),
		unproved:   role.Unproved(r),
	}
	if due := r.DueTime(); !due.IsZero() && !r.Options.Disabled && r.Options.RotationMode != role.ModeOnRead && !role.Waits(f.View.State) && !r.InForceSoon(f.Now) {
		known.due = due.UTC()
	}
	if from := r.Retry.OperatorFrom(); known.operator == "" && from.After(f.Now) { // it will need one then, if nothing changes
		f.Now = from
		known.operator, known.operatorFrom = f.NeedsOperator(), from
	}
	if last := r.Retry.Last; last.OfRemote() {
		known.problem = last
	}
	if r.Sending() {
		known.sending, known.sendingUntil = true, r.Record.Next.SentUntil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(r.Name, known)
	if c := r.Record.Current; c != nil && (c.Basis == credential.BasisAnswer || c.Basis == credential.BasisProof) && c.Since.After(b.changed[r.Connection]) && !timing.Ahead(c.Since, f.Now) {
		b.changed[r.Connection] = c.Since
	}
}

// Creating records a role that is about to be stored for the first time. It is not reported, but its connection has it.
func (b *Board) Creating(name, of string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(name, roleHealth{connection: unique.Make(of), creating: true})
}

// put sets the state of a role. b.mu must be held.
func (b *Board) put(name string, known roleHealth) {
	if b.roles == nil {
		b.roles, b.changed = map[string]roleHealth{}, map[string]time.Time{}
		b.byConnection = map[unique.Handle[string]]map[string]struct{}{}
	}
	if b.roles[name].connection != known.connection {
		b.forget(name)
	}
	if b.byConnection[known.connection] == nil {
		b.byConnection[known.connection] = map[string]struct{}{}
	}
	b.roles[name], b.byConnection[known.connection][name] = known, struct{}{}
}

// forget removes a role. b.mu must be held.
func (b *Board) forget(name string) {
	known, ok := b.roles[name]
	if !ok {
		return
	}
	delete(b.roles, name)
	delete(b.byConnection[known.connection], name)
	if len(b.byConnection[known.connection]) == 0 {
		delete(b.byConnection, known.connection)
	}
}

// Sending records that a request is in flight.
func (b *Board) Sending(name string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.roles[name]; ok {
		known.sending, known.sendingUntil = true, until
		b.roles[name] = known
	}
}

// OverdueSend reports whether the deadline of the role's request has passed.
func (b *Board) OverdueSend(name string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.roles[name]
	return known.sending && known.sendingUntil.Before(now)
}

// WithoutPassword reports whether a role is known to have no password yet, so that a read of it has to wait for one.
func (b *Board) WithoutPassword(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.roles[name]
	return ok && (known.creating || known.state == credential.StateNone)
}

// Forget removes a role.
func (b *Board) Forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(name)
}

// Changed is called when another node has changed or deleted a role: what is known about it does not count any more, and
// the board may not have all roles.
func (b *Board) Changed(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(name)
	b.complete = false
}

// Completed records that the board has every role in storage. It stays so: roles are created through Creating.
func (b *Board) Completed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complete = true
}

// Complete reports whether the board has every role in storage.
func (b *Board) Complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.complete
}

// ConnectionOf returns the connection of a role, if the board has it.
func (b *Board) ConnectionOf(name string) (of string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.roles[name]
	if ok {
		of = known.connection.Value()
	}
	return of, ok
}

// Paused records the pause of a connection.
func (b *Board) Paused(c *connection.Handle, pause *connection.Pause) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pauses == nil {
		b.pauses = map[string]PausedConnection{}
	}
	b.pauses[c.Name] = PausedConnection{
		Connection: c.Name, Provider: c.Provider, Reason: pause.Reason, Since: pause.Since, NextProbe: pause.NextProbe,
	}
}

// Opened records that a connection is no longer paused, or was deleted.
func (b *Board) Opened(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pauses, name)
}

// IsPaused reports whether a pause of the connection is recorded. It may not be in storage, which may have failed.
func (b *Board) IsPaused(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, paused := b.pauses[name]
	return paused
}

// Names returns the names of all roles.
func (b *Board) Names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.roles))
}

// Of returns the roles of a connection, including those that are being created.
func (b *Board) Of(name string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.byConnection[unique.Make(name)]))
}

// Pending returns the roles of a connection that are due, failed, restart servers, or have a password or an outcome pending.
func (b *Board) Pending(name string, now time.Time) (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for one := range b.byConnection[unique.Make(name)] {
		if r := b.roles[one]; r.restarting || !r.disabled && (r.unfinished || r.failing || !r.due.IsZero() && !r.due.After(now)) {
			names = append(names, one)
		}
	}
	return names
}

// Report returns the health of the mount.
func (b *Board) Report(now time.Time) Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := Report{States: map[credential.State]int{}, Providers: map[string]map[credential.State]int{}}
	for name, r := range b.roles {
		if r.creating {
			continue
		}
		out.Roles++
		out.States[r.state]++
		kind := r.provider.Value()
		if out.Providers[kind] == nil {
			out.Providers[kind] = map[credential.State]int{}
		}
		out.Providers[kind][r.state]++
		if r.failing {
			out.Failing++
		}
		if r.disabled {
			out.Disabled++
		}
		if r.unproved {
			out.Unproved++
		}
		if r.ahead {
			out.RotatedAhead++
		}
		switch {
		case r.due.IsZero():
		case r.due.After(now):
			out.NextDue = earlier(out.NextDue, Dated{name, r.due})
		default:
			out.Overdue++
			out.OldestOverdue = earlier(out.OldestOverdue, Dated{name, r.due})
		}
		if r.operator != "" && !r.operatorFrom.After(now) {
			out.NeedOperator = append(out.NeedOperator, NeedsOperator{name, r.operator})
		}
	}
	out.Problems = b.problems()
	out.OperatorsNeeded = len(out.NeedOperator)
	slices.SortFunc(out.NeedOperator, func(a, c NeedsOperator) int { return cmp.Compare(a.Role, c.Role) })
	out.NeedOperator = out.NeedOperator[:min(len(out.NeedOperator), maxListed)]
	out.Paused = slices.SortedFunc(maps.Values(b.pauses), func(a, c PausedConnection) int { return cmp.Compare(a.Connection, c.Connection) })
	return out
}

// problems returns the connections whose remote system refuses requests for any account. A change that it confirmed since
// ends the problem, although other roles have not been tried again yet. b.mu must be held.
func (b *Board) problems() []Problem {
	found := map[string]Problem{}
	for _, r := range b.roles {
		name := r.connection.Value()
		if r.problem == nil || r.problem.Time.Before(b.changed[name]) {
			continue
		}
		p, known := found[name]
		if !known || r.problem.Time.Before(p.Since) {
			p.Connection, p.Provider, p.Reason, p.Since = name, r.provider.Value(), r.problem.String(), r.problem.Time
		}
		p.Roles++
		found[name] = p
	}
	return slices.SortedFunc(maps.Values(found), func(a, c Problem) int { return cmp.Compare(a.Connection, c.Connection) })
}

// earlier returns the earlier of two roles. a may have none.
func earlier(a, b Dated) Dated {
	if a.Role == "" || b.Time.Before(a.Time) {
		return b
	}
	return a
}

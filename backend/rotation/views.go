package rotation

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// Report is the state of a role after a request, and what readers get.
type Report struct {
	provider.Hidden
	Role, Connection, Provider string
	// Username is the login name, and Target has the other fields of the target.
	Username string
	Target   provider.Settings
	View     credential.View
	// NextVersion is the version of the password that may come into force; 0 if there is none.
	NextVersion int
	// LastRotation is when the password came into force or was adopted; zero if there is none.
	LastRotation time.Time
	// Period is the rotation_period for readers, in seconds.
	Period int
	// TTL is after how long readers should read again.
	TTL time.Duration
	// ReturnLast: readers also get the previous password.
	ReturnLast bool
	// Warning says what is still open, or "".
	Warning string

	role *role.Role
	h    *connection.Handle
}

// report returns the state of a role, without a warning. h is nil if its connection is not known.
func (e *Engine) report(r *role.Role, h *connection.Handle) *Report {
	now := e.Now()
	view := r.Record.View(now)
	since := role.LastRotation(view)
	return &Report{
		Role: r.Name, Connection: r.Connection, Provider: r.Provider, Username: r.Target.Username, Target: r.Target.Settings,
		View: view, NextVersion: explain.NextVersion(r, view), LastRotation: since,
		Period: r.Options.Period(since.UTC()), // for this password: the times of a schedule may be unevenly spaced
		TTL:    r.TTL(now, e.env(h, r)), ReturnLast: r.Options.ReturnLast,
		role: r, h: h,
	}
}

// facts returns the facts about a role for package explain.
func (e *Engine) facts(r *role.Role, h *connection.Handle) explain.Facts {
	now, env := e.Now(), e.env(h, r)
	f := explain.Facts{
		Role: r, View: r.Record.View(now), Step: r.Next(now, env), Now: now, Freeze: e.Gate.Freeze(), Unsettled: r.Unsettled(now, env),
	}
	if h != nil {
		f.Pause, f.Hold, f.NotAllowed = h.Paused(), h.Held(), h.NotAllowed(r.Name, r.Target)
	}
	known, _ := e.failures.Load(r.Name)
	failed, _ := known.(failure)
	if f.Stuck = failed.stuck; f.Stuck == nil {
		f.Stuck = e.Gate.StorageFailure()
	}
	if kind := e.types[r.Provider]; kind != nil {
		f.Otherwise = kind.OldPassword(r.Target).Otherwise
	}
	return f
}

// answer turns the result of work into a response: an error if nothing was changed, or a report, with a warning if
// something is open.
func (e *Engine) answer(name string, res result) (*Report, error) {
	if res.err != nil {
		return nil, res.err
	}
	if res.role == nil { // the role could not be read while work on it continues
		return &Report{Role: name, View: credential.View{State: credential.StateUncertain}, TTL: role.OverdueTTL, Warning: res.note}, nil
	}
	report := e.report(res.role, res.h)
	if res.asIs {
		report.Warning = res.note
		if res.lost {
			report.View.State = credential.StateUncertain
		}
		return report, nil
	}
	f := e.facts(res.role, res.h)
	if last := res.role.Retry.Last; last != nil {
		if res.dropped {
			if err := problem.OfOutcome(last.Class, f.NotSet()); err != nil {
				return nil, err
			}
		}
		if f.Failed() {
			text := strings.TrimSuffix(f.NotChanged()+". "+res.note, ". ")
			if err := problem.OfOutcome(last.Class, text); err != nil {
				return nil, err
			}
		}
	}
	report.Warning = f.Warning()
	if res.note != "" {
		report.Warning = strings.TrimSpace(report.Warning + " " + res.note + ".")
	}
	return report, nil
}

// Health returns the health of the mount, from memory, on the node that changes passwords.
func (e *Engine) Health() Health {
	out := Health{Report: e.health.Report(e.Now()), Complete: e.sweeper.isComplete(), Freeze: e.Gate.Freeze()}
	out.StorageFailure, out.StorageFailedAt = e.failures.ofStorage(e.Gate.StorageFailure(), out.Roles)
	return out
}

// failures has the last failure of each role. The zero value is empty.
type failures struct{ sync.Map }

// ofStorage says that Vault's storage fails, and since when; "" if it does not. mount is the failure of the mount, which
// affects all roles, or nil.
func (f *failures) ofStorage(mount *explain.Stuck, all int) (text string, since time.Time) {
	first, roles := mount, 0
	f.Range(func(_, value any) bool {
		if f, _ := value.(failure); f.stuck != nil && f.stuck.Storage {
			roles++
			if first == nil || f.since.Before(first.Since) {
				first = f.stuck
			}
		}
		return true
	})
	if first == nil {
		return "", since
	}
	if mount != nil {
		roles = all
	}
	return explain.StorageFailure(roles, first.Since, first.Reason), first.Since
}

// Health is the health of a mount.
type Health struct {
	health.Report
	// Complete: every role has been read since the start.
	Complete bool
	// Freeze is the mount's freeze, or nil.
	Freeze *role.Freeze
	// StorageFailure says that Vault's storage fails, and StorageFailedAt is since when; "" if it does not.
	StorageFailure  string
	StorageFailedAt time.Time
}

// RoleView is the configuration of a role, and which password readers get.
type RoleView struct {
	provider.Hidden
	Connection string
	Options    role.Options
	// Target has the target fields in canonical form.
	Target provider.Settings
	// Version is the version that readers get; 0 if there is none. LastRotation is when it came into force or was adopted.
	Version      int
	LastRotation time.Time

	role *role.Role
}

func viewOf(r *role.Role, now time.Time) *RoleView {
	view := &RoleView{Connection: r.Connection, Options: r.Options, Target: r.Target.Settings, role: r}
	view.Version, view.LastRotation = served(r.Record.View(now))
	return view
}

// served returns the version that readers get, and when it came into force or was adopted; zero if there is none.
func served(view credential.View) (version int, since time.Time) {
	if view.Password != nil {
		version = view.Password.Version
	}
	return version, role.LastRotation(view)
}

// Adopted reports whether the role was created with a password.
func (v *RoleView) Adopted() bool { return v.role.Adopted != nil }

// AdoptedIs is [role.Role.AdoptedIs].
func (v *RoleView) AdoptedIs(password string) (is, known bool) { return v.role.AdoptedIs(password) }

// Role returns the configuration of a role, or nil if it does not exist.
func (e *Engine) Role(ctx context.Context, storage logical.Storage, name string) (*RoleView, error) {
	s := store.Store{Storage: storage}
	r, err := s.Role(ctx, name)
	if err == nil && r != nil {
		err = s.Expand(ctx, r)
	}
	if err != nil || r == nil {
		return nil, problem.Storage("reading role "+name, err)
	}
	r.Refresh(e.Now())
	return viewOf(r, e.Now()), nil
}

// Roles returns the names of all roles.
func (e *Engine) Roles(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, store.RolePrefix)
	return names, problem.Storage("listing roles", err)
}

// History returns the passwords of a role: first those that may be valid, then the older ones.
func (e *Engine) History(ctx context.Context, storage logical.Storage, name string) ([]credential.Listed, error) {
	r, err := e.read(ctx, store.Store{Storage: storage}, name)
	if err != nil {
		return nil, err
	}
	return r.Record.List(), nil
}

// Status is the status of a role for operators.
type Status struct {
	Connection, Provider string
	State                credential.State
	// Version is the version that readers get. NextVersion is the version that is being set or is not known to be in force
	// yet. They are 0 if there is none.
	Version, NextVersion int
	// LastRotation is when Version came into force or was adopted; zero if there is none.
	LastRotation   time.Time
	Reason, Advice string
	// Due is when the password is due for rotation; zero if it is rotated only manually.
	Due time.Time
	// NextAttempt is when the engine takes the role's next step; zero if there is none.
	NextAttempt time.Time
	// Attempts counts failed attempts in a row. Last is the last failure, or nil.
	Attempts int
	Last     *role.Failure
	// Servers are the servers that share the account; empty if there is only one account.
	Servers []explain.Server
	// LastProof is when a login last tried the password in force, ProofResult is its verdict, and ProofReason says more. NextProof is
	// when the next one is made. They are zero if there is none.
	LastProof, NextProof     time.Time
	ProofResult, ProofReason string
}

// Status returns the status of a role.
func (e *Engine) Status(ctx context.Context, storage logical.Storage, name string) (*Status, error) {
	s := store.Store{Storage: storage}
	r, err := e.read(ctx, s, name)
	if err != nil {
		return nil, err
	}
	e.Gate.Look(ctx, s)
	h, _ := e.Connections.Handle(ctx, s, r.Connection) // the status does not need it
	f := e.facts(r, h)
	status := &Status{
		Connection: r.Connection, Provider: r.Provider, State: f.View.State, NextVersion: explain.NextVersion(r, f.View),
		Reason: f.Reason(), Advice: f.Advice(), Due: r.DueTime(), NextAttempt: f.NextAttempt(), Attempts: r.Retry.Attempts, Last: r.Retry.Last, Servers: f.Servers(),
	}
	status.Version, status.LastRotation = served(f.View)
	if next := r.Record.Next; next != nil && status.NextVersion == 0 { // being sent, or not sent yet
		status.NextVersion = next.Version
	}
	return status, nil
}

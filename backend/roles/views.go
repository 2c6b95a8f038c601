package roles

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
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

// BeingSet reports whether a password was being set at the time of the report.
func (r *Report) BeingSet() bool { return r.role != nil && r.role.Record.Next != nil }

// Report returns the state of a role, without a warning. h is nil if its connection is not known.
func (rd *Reader) Report(r *role.Role, h *connection.Handle) *Report {
	now := rd.config.Now()
	view := r.Record.View(now)
	since := role.LastRotation(view)
	return &Report{
		Role: r.Name, Connection: r.Connection, Provider: r.Provider, Username: r.Target.Username, Target: r.Target.Settings,
		View: view, NextVersion: explain.NextVersion(r, view), LastRotation: since,
		Period: r.Options.Period(since.UTC()), // for this password: the times of a schedule may be unevenly spaced
		TTL:    r.TTL(now, rd.Env(h, r)), ReturnLast: r.Options.ReturnLast,
		role: r, h: h,
	}
}

// Facts returns the facts about a role for package explain.
func (rd *Reader) Facts(r *role.Role, h *connection.Handle) explain.Facts {
	now, env := rd.config.Now(), rd.Env(h, r)
	env.ChangesOnly = true
	f := explain.Facts{
		Role: r, View: r.Record.View(now), Step: r.Next(now, env), Now: now, Freeze: rd.config.Gate.Freeze(), Unsettled: r.Unsettled(now, env),
	}
	if h != nil {
		f.Pause, f.Hold, f.NotAllowed = h.Paused(), h.Held(), h.NotAllowed(r.Name, r.Target)
	}
	if f.Stuck = rd.config.Failures.Get(r.Name).Stuck; f.Stuck == nil {
		f.Stuck = rd.config.Gate.StorageFailure()
	}
	if kind := rd.config.Types[r.Provider]; kind != nil {
		f.Otherwise = kind.OldPassword(r.Target).Otherwise
	}
	return f
}

// View is the configuration of a role, and which password readers get.
type View struct {
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

// ViewOf returns the configuration of a role.
func ViewOf(r *role.Role, now time.Time) *View {
	view := &View{Connection: r.Connection, Options: r.Options, Target: r.Target.Settings, role: r}
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
func (v *View) Adopted() bool { return v.role.Adopted != nil }

// AdoptedIs is [role.Role.AdoptedIs].
func (v *View) AdoptedIs(password string) (is, known bool) { return v.role.AdoptedIs(password) }

// Role returns the configuration of a role, or nil if it does not exist.
func (rd *Reader) Role(ctx context.Context, storage logical.Storage, name string) (*View, error) {
	s := store.Store{Storage: storage}
	r, err := s.Role(ctx, name)
	if err == nil && r != nil {
		err = s.Expand(ctx, r)
	}
	if err != nil || r == nil {
		return nil, problem.Storage("reading role "+name, err)
	}
	r.Refresh(rd.config.Now())
	return ViewOf(r, rd.config.Now()), nil
}

// Roles returns the names of all roles.
func (rd *Reader) Roles(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, store.RolePrefix)
	return names, problem.Storage("listing roles", err)
}

// History returns the passwords of a role: first those that may be valid, then the older ones.
func (rd *Reader) History(ctx context.Context, storage logical.Storage, name string) ([]credential.Listed, error) {
	r, err := rd.ReadRole(ctx, store.Store{Storage: storage}, name)
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
	// LastProof is when the last login was made or attempted, and NextProof when the next one is planned; zero if there is
	// none. ProofResult and ProofReason are the result of the last one.
	LastProof, NextProof     time.Time
	ProofResult, ProofReason string
	// Servers are the servers that share the account; empty if there is only one account.
	Servers []explain.Server
}

// Status returns the status of a role.
func (rd *Reader) Status(ctx context.Context, storage logical.Storage, name string) (*Status, error) {
	s := store.Store{Storage: storage}
	r, err := rd.ReadRole(ctx, s, name)
	if err != nil {
		return nil, err
	}
	rd.config.Gate.Look(ctx, s)
	h, _ := rd.config.Connections.Handle(ctx, s, r.Connection) // the status does not need it
	f := rd.Facts(r, h)
	status := &Status{
		Connection: r.Connection, Provider: r.Provider, State: f.View.State, NextVersion: explain.NextVersion(r, f.View),
		Reason: f.Reason(), Advice: f.Advice(), Due: r.DueTime(), NextAttempt: f.NextAttempt(), Attempts: r.Retry.Attempts, Last: r.Retry.Last, Servers: f.Servers(),
	}
	if proof := r.Proofs; r.Options.Proves() {
		status.LastProof, status.ProofResult, status.ProofReason = proof.Time, string(proof.Verdict), proof.Reason
		current, version := r.Record.Current, proof.Version
		if current != nil && current.Formerly == version { // it has a new number since
			version = current.Version
		}
		if served, _ := served(f.View); version != served && version != 0 {
			status.ProofReason = fmt.Sprintf("version %d: %s", proof.Version, status.ProofReason)
		}
		if proof.Part != "" && len(r.Target.Parts) > 1 {
			status.ProofReason = "server " + proof.Part + ": " + status.ProofReason
		}
		if next := role.NextLogin(r); !r.Options.Disabled && (r.Restarts.Part == "" || next.After(f.Now)) { // a restart makes its own
			status.NextProof = next
		}
	}
	status.Version, status.LastRotation = served(f.View)
	if next := r.Record.Next; next != nil && status.NextVersion == 0 { // being sent, or not sent yet
		status.NextVersion = next.Version
	}
	return status, nil
}

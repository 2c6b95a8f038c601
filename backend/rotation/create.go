package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/promise"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// NewRole is a role to create.
type NewRole struct {
	provider.Hidden
	Name       string
	Connection string
	// Target holds the target fields of the request.
	Target  provider.Settings
	Options role.Options
	// Password is the account's current password, if given.
	Password string
}

// checkPresent checks a password that an operator states is in force.
func (w *work) checkPresent(value string) error {
	rules := password.Rules{}
	if w.h != nil { // otherwise the connection cannot be read, which must not prevent a confirmation
		rules = w.h.Kind.Rules(w.h.Completed, w.role.Target)
	}
	if err := rules.CheckPresent(value); err != nil {
		return problem.Mistake("%s", err)
	}
	return nil
}

// Create creates a role and sets its first password, unless it adopts the account. If the remote system refuses the
// password and nothing was set, Create returns an error and no role exists. Otherwise the role exists, and the report has
// its state.
func (e *Engine) Create(ctx context.Context, storage logical.Storage, in NewRole) (*roles.Report, error) {
	s := store.Store{Storage: storage}
	leave, err := e.Connections.Enter("role", in.Name, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	return e.await(ctx, s, in.Name, func(work, waiting context.Context, shared *promise.Promise) (*roles.Report, error) {
		return e.answer(in.Name, e.work(work, waiting, shared, s, in.Name, intent{trigger: triggerCreate, create: &in}))
	})
}

// creation is the work on a new role.
type creation struct {
	*work
	in NewRole
}

// create creates the role and sets its first password.
func (c *creation) create(ctx context.Context) result {
	if err := c.plan(ctx); err != nil {
		return result{err: err}
	}
	if !c.in.Options.SkipInitialRotation { // before the role is stored, so that a crash after that leaves something to resume
		if err := c.make(ctx, "", "first password"); err != nil {
			return result{err: notCreated(err)}
		}
	}
	if err := c.reserve(ctx); err != nil {
		return result{err: err}
	}
	if c.in.Options.SkipInitialRotation {
		return c.adopt(ctx)
	}
	var err error
	if until := c.role.Record.Old(c.Now()).NotBefore; c.oldPassword().Required && until.After(c.Now()) { // earlier roles used up the attempts
		err = problem.Busy("%s. Try again at %s", explain.Obstacle(role.LockWindow), explain.Time(until))
	} else {
		err = c.drive(ctx)
	}
	res := c.done(err)
	if res.asIs { // the outcome is unknown
		return res
	}
	if _, err = c.answer(c.name, res); err == nil {
		return res
	}
	if c.leftTrace() || !c.promise.Claim() {
		return c.createdSoFar(res, err)
	}
	return result{err: c.undo(ctx, err)}
}

// adopt proves the password with which the role was created, if a login can. If it is refused, or can be tried only later, the
// role is deleted again.
func (c *creation) adopt(ctx context.Context) result {
	res := result{role: c.role, h: c.h, asIs: true}
	if c.role.Record.Current == nil || !c.role.Options.Proves() {
		return res
	}
	logins, err := proving{c.work}.round(ctx, c.role.Trials(false), c.role.Target.Parts)
	if err != nil {
		res.note = explain.Unproved(err.Error())
		return res
	}
	if err := proof.CheckAdoption(logins); err != nil && c.promise.Claim() {
		return result{err: c.undo(ctx, err)}
	}
	proving{c.work}.learn(logins)
	if err := c.conclude(ctx); err != nil {
		return c.done(err)
	}
	res.role = c.role
	if last := c.role.Proofs; last.Verdict != provider.Works {
		res.note = explain.Unproved(last.Reason)
	}
	return res
}

// leftTrace reports whether the remote system may have the first password, or is only busy.
func (c *creation) leftTrace() bool {
	rec, last := c.role.Record, c.role.Retry.Last
	return rec.Next.Exposed() || len(rec.Candidates) > 0 || last != nil && last.Class == provider.Busy
}

// createdSoFar returns the result for a role that exists although its first password is not set.
func (c *creation) createdSoFar(res result, err error) result {
	known, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return result{err: err}
	}
	const lead = "The role was created, but has no new password yet"
	note := lead + ": " + known.Message + "."
	if res.err == nil { // the error is that of the last failure
		note = c.facts(c.role, c.h).Failure(lead) + "."
	}
	res.err, res.asIs, res.note = nil, true, note
	return res
}

// undo deletes a new role that set no password, and returns the error of the request.
func (c *creation) undo(ctx context.Context, cause error) error {
	ctx, cancel := timing.LastEffort(ctx) // the engine may be stopping
	defer cancel()
	if err := c.remove(ctx); err != nil {
		if problem.ReadOnly(err) {
			return logical.ErrReadOnly
		}
		return fmt.Errorf("creating role %q failed (%s), and so did removing it (%s): it may exist and set a password later. Write it again, or delete it",
			c.name, cause.Error(), err.Error())
	}
	last := c.role.Retry.Last
	if last != nil && last.Class == provider.Mismatch {
		return problem.Mistake("the role was not created: %s. Repeat the request with the account's current password", last)
	}
	if last == nil {
		return notCreated(cause)
	}
	c.role.Record, c.role.Retry = credential.Record{}, role.Retry{Last: last} // so that the error does not announce a retry
	if err := problem.OfOutcome(last.Class, c.facts(c.role, c.h).Failure("the role was not created")); err != nil {
		return err
	}
	return notCreated(cause)
}

// notCreated adds to an error that the role was not created.
func notCreated(err error) error {
	if known, ok := errors.AsType[*problem.Error](err); ok {
		return &problem.Error{Kind: known.Kind, Message: "the role was not created: " + known.Message}
	}
	return err
}

// plan validates a new role. It stores nothing.
func (c *creation) plan(ctx context.Context) error {
	switch there, err := c.s.Role(ctx, c.in.Name); {
	case err != nil:
		return problem.Storage("reading role "+c.in.Name, err)
	case there != nil:
		return problem.ErrRoleExists
	}
	c.absent = true
	var err error
	c.h, err = c.Connections.Handle(ctx, c.s, c.in.Connection)
	switch {
	case errors.Is(err, problem.ErrNoConnection):
		return problem.Mistake("connection %q does not exist: write config/%s first", c.in.Connection, c.in.Connection)
	case err != nil:
		return problem.Storage("reading connection "+c.in.Connection, err)
	}
	target, err := c.h.Kind.Target(c.h.Completed, c.in.Target)
	if err != nil {
		return problem.Mistake("%s", err)
	}
	c.role = &role.Role{Name: c.in.Name, Connection: c.in.Connection, Provider: c.h.Provider, Target: target, Options: c.in.Options}
	if err := c.h.Allows(c.in.Name, target); err != nil {
		return problem.Mistake("%s", err)
	}
	if err := c.passwords.checkOptions(ctx, c.h, c.role, nil, c.Now()); err != nil {
		return err
	}
	if err := c.checkGiven(); err != nil {
		return err
	}
	if c.in.Password != "" {
		c.role.Record = c.role.Record.Adopt(c.in.Password, "adopted", c.Now())
		c.role.Due = c.role.Options.DueAfter(c.Now())
		c.role.Adopted = &struct{}{}
		c.role.PlanProof(role.Options{}, c.Now()) // a crash may come before the first login
	}
	if c.in.Options.SkipInitialRotation { // otherwise the first change checks the target
		return c.checkTarget(ctx)
	}
	return nil
}

// checkGiven checks the current password in the request.
func (c *creation) checkGiven() error {
	old := c.oldPassword()
	switch {
	case c.in.Password == "" && old.Required:
		return problem.Mistake("password is missing: provider %q changes a password only if the current one is given. Add it%s", c.h.Provider, either(old.Otherwise))
	case c.in.Password != "" && !old.Required && !c.in.Options.SkipInitialRotation:
		return problem.Mistake("password requires skip_initial_rotation=true: otherwise, the role sets a password of its own and does not need the current one")
	default:
		return c.checkPresent(c.in.Password)
	}
}

// either returns another thing that an operator can do, as the end of a clause; "" if there is none.
func either(otherwise string) string {
	if otherwise == "" {
		return ""
	}
	return ", or " + otherwise
}

// checkTarget checks on the remote system that the account exists.
func (c *creation) checkTarget(ctx context.Context) error {
	began := c.Now()
	released := c.releases()
	result, err := c.h.Call(ctx, c.asks(), c.s, func() error { return nil }, func(ctx context.Context, client provider.Client) provider.Result {
		return client.CheckTarget(ctx, c.role.Target)
	})
	released()
	if err != nil {
		return notCreated(c.Connections.Refuse(ctx, c.s, c.h, err))
	}
	failure := explain.CheckFailure(result)
	switch result.Outcome {
	case provider.Applied:
		return nil
	case provider.Rejected:
		return problem.Mistake("the role was not created: %s", failure)
	case provider.Busy:
		return problem.Busy("the role was not created: %s. Try again later", failure)
	case provider.Denied:
		if result.Scope != provider.ScopeTarget {
			c.Connections.Denied(ctx, c.s, c.h, began)
		}
		if pause := c.h.Paused(); pause != nil {
			return problem.Unreachable("the role was not created: %s; %s", failure, explain.NowPaused(c.h.Name, pause))
		}
		return problem.Unreachable("the role was not created: %s. Check the credential of config/%s and its permissions", failure, c.h.Name)
	default:
		return problem.Unreachable("the role was not created: %s", failure)
	}
}

// reserve stores the target's index entries and then the role. The role inherits limits that a deleted role for the account
// left.
func (c *creation) reserve(ctx context.Context) error {
	failpoint.Reach(failpoint.BeforeReserved, c.name)
	for _, name := range []string{c.h.Name, ""} { // see connections.Config
		unlock, err := c.index.Lock(c.waiting, name)
		if err != nil {
			return problem.ErrGivenUp
		}
		defer unlock() //nolint:revive,gocritic // two
	}
	if now, err := c.s.Connection(ctx, c.h.Name); err != nil {
		return problem.Storage("reading connection "+c.h.Name, err)
	} else if now == nil || now.Revision != c.h.Revision {
		return problem.Busy("the role was not created, because the connection %q was changed in the meantime. Try again", c.h.Name)
	}
	settings, err := c.Gate.Current(ctx, c.s)
	if err != nil {
		return err
	}
	if err := c.Connections.Admit(ctx, c.s, c.h.Name, settings.MaxRolesPerConnection); err != nil {
		return err
	}
	entries, err := c.Connections.Claim(ctx, c.s, c.h, c.role)
	switch {
	case err != nil:
		return err
	case !c.promise.Commit():
		return problem.ErrGivenUp
	}
	for _, entry := range entries {
		if err := c.s.PutOwner(ctx, entry); err != nil {
			return problem.Storage("storing the index of targets", err) // without the role, the target is free
		}
	}
	failpoint.Reach(failpoint.Reserved, c.name)
	c.health.Creating(c.name, c.h.Name)
	return c.store(ctx, "storing role "+c.name)
}

package rotation

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// NewRole is a role to be made.
type NewRole struct {
	Name       string
	Connection string
	// Target holds the target fields as given.
	Target  provider.Settings
	Options Options
	// Password is the account's present one, where given.
	Password string
}

// Role returns a role as stored, or nil.
func (e *Engine) Role(ctx context.Context, storage logical.Storage, name string) (*Role, error) {
	role, err := store{storage}.role(ctx, name)
	return role, storageError("reading the role "+name, err)
}

// Roles lists the names of all roles.
func (e *Engine) Roles(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, rolePrefix)
	return names, storageError("listing roles", err)
}

// Create makes a role and sets its first password, unless it adopts the account as it is. Where the remote system refuses
// and nothing was set, there is no role and an error; in every other case the role is there and the report says how it
// stands.
func (e *Engine) Create(ctx context.Context, storage logical.Storage, in NewRole) (*Report, error) {
	s := store{storage}
	return e.await(ctx, s, in.Name, func(work, waiting context.Context) (*Report, error) {
		unlock, err := e.locks.lock(waiting, in.Name)
		if err != nil {
			return nil, busy("another request is working on the role %q; this one changed nothing: try again", in.Name)
		}
		defer unlock()
		return e.create(work, s, in)
	})
}

func (e *Engine) create(ctx context.Context, s store, in NewRole) (*Report, error) {
	role, l, err := e.prepare(ctx, s, in)
	if err != nil {
		return nil, err
	}
	if in.Options.SkipInitialRotation {
		return e.report(role), nil
	}
	c := &change{e: e, s: s, l: l, role: role, trigger: triggerCreate}
	if err = c.make(ctx, "", "first password"); err == nil {
		err = c.drive(ctx)
	}
	report, err := e.driven(c, err).answer(e)
	if err == nil || !nothingSet(c.role) {
		return e.soFar(c.role, report, err)
	}
	if undo := e.remove(ctx, s, c.role); undo != nil {
		return nil, storageError("removing the role again after it failed", undo)
	}
	c.role.Record = credential.Record{} // it waits for nothing any more
	if failed := e.failed(c.role, c.role.Record.View(e.clock()), "the role was not created"); failed != nil {
		return nil, failed
	}
	return nil, withoutRole(err)
}

// soFar reports on a role that is there though its first change is not done.
func (e *Engine) soFar(role *Role, report *Report, err error) (*Report, error) {
	if err == nil {
		return report, nil
	}
	var known *Error
	if !errors.As(err, &known) {
		return nil, err
	}
	report = e.report(role)
	report.Warning = "the role was created, but has no new password yet: " + known.Message
	return report, nil
}

// withoutRole says that the role was not made.
func withoutRole(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return &Error{Kind: known.Kind, Message: "the role was not created: " + known.Message}
	}
	return err
}

// nothingSet tells whether a new role's first change left no trace on the remote system and cannot be waited for.
func nothingSet(role *Role) bool {
	rec := role.Record
	if rec.Next.Exposed() || len(rec.Candidates) > 0 {
		return false
	}
	return role.Retry.Last == nil || role.Retry.Last.Class != provider.Busy
}

// prepare validates a new role and stores it, after its target's index entries.
func (e *Engine) prepare(ctx context.Context, s store, in NewRole) (*Role, *live, error) {
	switch there, err := s.role(ctx, in.Name); {
	case err != nil:
		return nil, nil, storageError("reading the role "+in.Name, err)
	case there != nil:
		return nil, nil, Mistake("the role %q was created by another request in the meantime: read it, and write it again to change it", in.Name)
	}
	l, err := e.connection(ctx, s, in.Connection)
	switch {
	case errors.Is(err, ErrNoConnection):
		return nil, nil, Mistake("the connection %q does not exist: write config/%s first", in.Connection, in.Connection)
	case err != nil:
		return nil, nil, storageError("reading the connection "+in.Connection, err)
	}
	target, err := l.kind.Target(l.complete, in.Target)
	if err != nil {
		return nil, nil, Mistake("%s", err)
	}
	role := &Role{
		Name: in.Name, Connection: in.Connection, Provider: l.Provider, Target: target, Options: in.Options,
	}
	if err := l.allows(role.Name, target); err != nil {
		return nil, nil, err
	}
	if err := e.checkOptions(ctx, l, role); err != nil {
		return nil, nil, err
	}
	if err := checkPassword(l, role, in.Password); err != nil {
		return nil, nil, err
	}
	if err := e.checkLogins(ctx, s, target); err != nil {
		return nil, nil, err
	}
	now := e.clock()
	if in.Password != "" {
		role.Record = role.Record.Adopt(in.Password, "adopted", now)
		role.Due = role.Options.dueAfter(now)
		if role.Adopted, err = newDigest(in.Password, e.random); err != nil {
			return nil, nil, err
		}
	}
	if in.Options.SkipInitialRotation { // otherwise the change itself finds out
		if err := e.checkTarget(ctx, s, l, role); err != nil {
			return nil, nil, err
		}
	}
	return role, l, e.reserve(ctx, s, l, role)
}

// checkPassword checks the present password that comes with a new role.
func checkPassword(l *live, role *Role, given string) error {
	required := l.kind.OldPassword(role.Target).Required
	switch {
	case given == "" && required:
		return Mistake("password is missing: %s changes a password only for who presents the present one; give it, or set rotation_method=reset", l.Provider)
	case given != "" && !required && !role.Options.SkipInitialRotation:
		return Mistake("password goes with skip_initial_rotation=true only: without it the role sets a password of its own, and the present one is not needed")
	}
	return nil
}

// checkLogins refuses a target that a connection of this mount logs in with.
func (e *Engine) checkLogins(ctx context.Context, s store, target provider.Target) error {
	names, err := s.storage.List(ctx, connectionPrefix)
	if err != nil {
		return storageError("listing connections", err)
	}
	for _, name := range names {
		l, err := e.connection(ctx, s, name)
		if errors.Is(err, ErrNoConnection) {
			continue
		}
		if err != nil {
			return storageError("reading the connection "+name, err)
		}
		if login := l.kind.LoginIdentity(l.complete); login != "" && slices.Contains(target.Identities, login) {
			return Mistake("the connection %q logs in with this account: a role that changed its password would lock the connection out", name)
		}
	}
	return nil
}

// checkTarget asks the remote system whether the account exists.
func (e *Engine) checkTarget(ctx context.Context, s store, l *live, role *Role) error {
	if pause := l.paused(); pause != nil {
		return e.pausedError(l.Name, pause)
	}
	began := e.clock()
	checking, cancel := context.WithTimeout(ctx, l.Timeout())
	defer cancel()
	result := l.client.CheckTarget(checking, role.Target)
	failure := (&Failure{Code: result.Code, Reason: result.Reason}).String()
	switch result.Outcome {
	case provider.Applied:
		return nil
	case provider.Rejected:
		return Mistake("the role was not created: %s", failure)
	case provider.Busy:
		return busy("the role was not created: %s; try again later", failure)
	case provider.Denied:
		e.denied(ctx, s, l, began)
		return unreachable("the role was not created: %s; check the credential and the rights of config/%s", failure, l.Name)
	default:
		return unreachable("the role was not created: %s", failure)
	}
}

// reserve stores the target's index entries and then the role. An entry whose role is absent or has another target is
// free: a crash in between leaves nothing that blocks.
func (e *Engine) reserve(ctx context.Context, s store, l *live, role *Role) error {
	e.index.Lock()
	defer e.index.Unlock()
	if now, err := s.connection(ctx, l.Name); err != nil {
		return storageError("reading the connection "+l.Name, err)
	} else if now == nil || now.Revision != l.Revision {
		return busy("the connection %q was changed in the meantime; the role was not created, try again", l.Name)
	}
	for _, identity := range role.Target.Identities {
		key := targetKey(identity)
		var held owner
		found, err := s.get(ctx, key, &held)
		if err != nil {
			return storageError("reading the index of targets", err)
		}
		if found && held.Role != role.Name {
			other, err := s.role(ctx, held.Role)
			if err != nil {
				return storageError("reading the role "+held.Role, err)
			}
			if other != nil && slices.Contains(other.Target.Identities, identity) {
				return Mistake("the role %q has this target already: two roles would change one password", held.Role)
			}
		}
		if err := s.put(ctx, key, owner{Role: role.Name, Identity: identity}); err != nil {
			return storageError("storing the index of targets", err)
		}
	}
	return storageError("storing the role "+role.Name, s.putRole(ctx, role))
}

// remove deletes a role, then its index entries.
func (e *Engine) remove(ctx context.Context, s store, role *Role) error {
	e.index.Lock()
	defer e.index.Unlock()
	if err := s.storage.Delete(ctx, rolePrefix+role.Name); err != nil {
		return err
	}
	e.timer.forget(item{role: role.Name})
	for _, identity := range role.Target.Identities {
		if err := s.storage.Delete(ctx, targetKey(identity)); err != nil {
			return err
		}
	}
	return nil
}

// Update changes the options and the mutable target fields of a role. change is called with the stored role, under the
// role's lock, and returns the new options and the target fields that were given.
func (e *Engine) Update(ctx context.Context, storage logical.Storage, name string, change func(*Role) (Options, provider.Settings, error)) (*Report, error) {
	s := store{storage}
	role, unlock, err := e.lockRole(ctx, s, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := e.connection(ctx, s, role.Connection)
	if err != nil {
		return nil, storageError("reading the connection "+role.Connection, err)
	}
	options, given, err := change(role)
	if err != nil {
		return nil, err
	}
	target, err := mergeTarget(l, role.Target, given)
	if err != nil {
		return nil, err
	}
	updated := *role
	updated.Options, updated.Target = options, target
	if err := l.allows(name, target); err != nil {
		return nil, err
	}
	if err := e.checkOptions(ctx, l, &updated); err != nil {
		return nil, err
	}
	if options.timing() != role.Options.timing() && role.Record.Current != nil {
		updated.Due = options.dueAfter(role.Record.Current.Since)
	}
	updated.Record = role.Record.Trim(options.HistorySize)
	if refused(role.Retry.Last) && (options != role.Options || !reflect.DeepEqual(target, role.Target)) {
		updated.Retry.NextAttempt = time.Time{} // what was changed may be what was wrong
	}
	if err := s.putRole(ctx, &updated); err != nil {
		return nil, storageError("storing the role "+name, err)
	}
	e.schedule(ctx, s, &updated)
	return e.report(&updated), nil
}

// refused tells whether a failure is one that another setting of the role may mend.
func refused(last *Failure) bool {
	return last != nil && (last.Class == provider.Rejected || last.Class == provider.Mismatch)
}

// timing are the options that a due time follows from.
func (o Options) timing() [2]any { return [2]any{o.RotationPeriod, o.RotationSchedule} }

// mergeTarget applies given target fields to a stored target: those that name the account must stay as they are.
func mergeTarget(l *live, stored provider.Target, given provider.Settings) (provider.Target, error) {
	merged := stored.Settings.Clone()
	for name, value := range given {
		merged[name] = value
	}
	target, err := l.kind.Target(l.complete, merged)
	if err != nil {
		return stored, Mistake("%s", err)
	}
	for _, field := range l.kind.TargetFields() {
		if !field.Mutable && !equal(target.Settings[field.Name], stored.Settings[field.Name]) {
			return stored, Mistake("%s names the account and cannot be changed: make another role for another account", field.Name)
		}
	}
	return target, nil
}

// Delete removes a role and its passwords. While a password may be in flight or staged it needs force. A role that
// does not exist is no error.
func (e *Engine) Delete(ctx context.Context, storage logical.Storage, name string, force bool) error {
	s := store{storage}
	role, unlock, err := e.lockRole(ctx, s, name)
	if errors.Is(err, ErrNoRole) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if now := e.clock(); role.Record.Open(now) && !force {
		return Mistake("the role %q is in the state %q, and a password was sent that may be, or come, in force: deleting the role would lose it. Settle it first (confirm-role/%s), or delete with force=true", name, role.Record.View(now).State, name)
	}
	return storageError("deleting the role "+name, e.remove(ctx, s, role))
}

// lockRole takes the role's lock for a request that only changes storage.
func (e *Engine) lockRole(ctx context.Context, s store, name string) (*Role, func(), error) {
	waiting, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	unlock, err := e.locks.lock(waiting, name)
	if err != nil {
		return nil, nil, busy("a change of the role %q is under way; this request changed nothing: try again", name)
	}
	role, err := s.role(ctx, name)
	if err == nil && role == nil {
		err = ErrNoRole
	}
	if err != nil {
		unlock()
		if errors.Is(err, ErrNoRole) {
			return nil, nil, ErrNoRole
		}
		return nil, nil, storageError("reading the role "+name, err)
	}
	return role, unlock, nil
}

// Confirm takes an operator's word: version is in force (or, with discard, is not), or value is.
func (e *Engine) Confirm(ctx context.Context, storage logical.Storage, name string, version int, discard bool, value string) (*Report, error) {
	s := store{storage}
	role, unlock, err := e.lockRole(ctx, s, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, before := e.clock(), role.Record.Current
	switch {
	case value != "":
		role.Record = role.Record.Adopt(value, "confirmed by hand", now)
	case discard:
		role.Record, err = role.Record.Discard(version)
	default:
		role.Record, err = role.Record.Confirm(version, now)
	}
	if err != nil {
		return nil, Mistake("the role %q: %s; history/%s lists its passwords", name, err, name)
	}
	role.Retry = Retry{}
	if current := role.Record.Current; current != nil && (before == nil || current.Version != before.Version) {
		role.Due = role.Options.dueAfter(now)
	}
	if !role.Record.Open(now) { // else the next change drops what is too old
		role.Record = role.Record.Trim(role.Options.HistorySize)
	}
	if err := s.putRole(ctx, role); err != nil {
		return nil, storageError("storing the role "+name, err)
	}
	e.schedule(ctx, s, role)
	e.logger.Info("password confirmed by hand", "role", name, "connection", role.Connection, "provider", role.Provider,
		"discard", discard, "given", value != "")
	return e.report(role), nil
}

// Read reports a role's password to a reader: one storage read, no lock. It checks that the connection still allows the
// role.
func (e *Engine) Read(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	role, _, err := e.load(ctx, store{storage}, name)
	if err != nil {
		return nil, err
	}
	return e.report(role), nil
}

// Explain reports why a role is as it is.
func (e *Engine) Explain(ctx context.Context, storage logical.Storage, name string) (Status, error) {
	s := store{storage}
	role, err := s.role(ctx, name)
	if err != nil {
		return Status{}, storageError("reading the role "+name, err)
	}
	if role == nil {
		return Status{}, ErrNoRole
	}
	var pause *Pause
	if l, err := e.connection(ctx, s, role.Connection); err == nil {
		pause = l.paused()
	}
	return e.explain(role, pause), nil
}

// checkOptions validates what needs the role's connection and target.
func (e *Engine) checkOptions(ctx context.Context, l *live, role *Role) error {
	o := role.Options
	if err := o.validate(); err != nil {
		return err
	}
	if settle := l.complete.Settings.Seconds("settle_after"); o.RotationPeriod > 0 && time.Duration(o.RotationPeriod)*time.Second <= settle {
		return Mistake("rotation_period must exceed the connection's settle_after (%d seconds)", int(settle.Seconds()))
	}
	if o.VerifyAddress != "" && !allowsAddress(l.AllowedVerifyAddresses, o.VerifyAddress) {
		return Mistake("the connection %q does not allow the verify_address %q: add it to allowed_verify_addresses of config/%s", l.Name, o.VerifyAddress, l.Name)
	}
	policy := o.PasswordPolicy
	if policy == "" {
		policy = l.PasswordPolicy
	}
	return e.tryPolicy(ctx, policy, l.kind.Rules(role.Target))
}

// validate checks the options that stand for themselves.
func (o Options) validate() error {
	if err := o.validateSchedule(); err != nil {
		return err
	}
	switch {
	case o.RotationMode != ModeAuto && o.RotationMode != ModeOnRead:
		return Mistake("rotation_mode must be %q or %q", ModeAuto, ModeOnRead)
	case o.RotateAfterRead < 0:
		return Mistake("rotate_after_read must not be negative; 0 switches it off")
	case o.MaxReadTTL != 0 && o.MaxReadTTL < minReadTTL:
		return Mistake("max_read_ttl must be at least %d seconds, or 0 for no bound", minReadTTL)
	case o.HistorySize < 0 || o.HistorySize > maxHistory:
		return Mistake("history_size must be between 0 and %d", maxHistory)
	case o.OnDrift != DriftReport && o.OnDrift != DriftRecover:
		return Mistake("on_drift must be %q or %q", DriftReport, DriftRecover)
	case o.Verify || o.VerifyPeriod > 0 || o.OnDrift == DriftRecover:
		return Mistake("this version cannot prove a password by a login: leave verify, verify_period and on_drift at their defaults; they would promise what is not done")
	case o.VerifyAddress != "" && !validAddress(o.VerifyAddress):
		return Mistake("verify_address must be host:port")
	}
	return nil
}

// maxHistory bounds history_size: the history is part of the role's one storage entry.
const maxHistory = 50

func equal(a, b any) bool {
	if list, ok := a.([]string); ok {
		return slices.Equal(list, provider.Settings{"": b}.Strings(""))
	}
	return fmt.Sprint(a) == fmt.Sprint(b) // numbers change their type in storage
}

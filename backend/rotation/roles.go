package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
)

// Role returns a role as it stands, or nil.
func (e *Engine) Role(ctx context.Context, storage logical.Storage, name string) (*Role, error) {
	role, err := e.read(ctx, store{storage}, name)
	return role, storageError("reading the role "+name, err)
}

// Roles lists the names of all roles.
func (e *Engine) Roles(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, rolePrefix)
	return names, storageError("listing roles", err)
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
	if l.kind.OldPassword(target).Required && !l.kind.OldPassword(role.Target).Required && role.Record.View(e.clock()).Password == nil {
		return nil, Mistake("%s would need the present password for this, and Vault does not know it: write it to confirm-role/%s first", l.Provider, name)
	}
	if err := e.checkOptions(ctx, l, &updated, options.PasswordPolicy != role.Options.PasswordPolicy); err != nil {
		return nil, err
	}
	if options.timing() != role.Options.timing() && role.Record.Current != nil {
		updated.Due = options.dueAgain(role.Record.Current.Since, e.clock())
	}
	updated.Record = role.Record.Trim(options.HistorySize)
	moved := slices.ContainsFunc(l.kind.TargetFields(), func(f provider.Field) bool { // another way to change the password
		return !equal(target.Settings[f.Name], role.Target.Settings[f.Name])
	})
	if moved || refused(role.Retry.Last) && options != role.Options {
		updated.Retry.NextAttempt = time.Time{} // what was changed may be what was wrong
	}
	if err := s.putRole(ctx, &updated); err != nil {
		return nil, e.unsure(name, err)
	}
	e.schedule(&updated)
	return e.report(&updated), nil
}

// refused tells whether a failure is one that another setting of the role may mend.
func refused(last *Failure) bool {
	return last != nil && (last.Class == provider.Rejected || last.Class == provider.Mismatch)
}

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
	return e.remove(ctx, s, role)
}

// lockRole takes the role's lock for a request that only changes storage.
func (e *Engine) lockRole(ctx context.Context, s store, name string) (*Role, func(), error) {
	waiting, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	unlock, err := e.locks.lock(waiting, name)
	if err != nil {
		return nil, nil, busy("a change of the role %q is under way; this request changed nothing: try again", name)
	}
	var role *Role
	defer func() {
		if role == nil { // reading it failed, or panicked
			unlock()
		}
	}()
	role, err = e.read(ctx, s, name)
	switch {
	case err != nil:
		role = nil
		return nil, nil, storageError("reading the role "+name, err)
	case role == nil:
		return nil, nil, ErrNoRole
	default:
		return role, unlock, nil
	}
}

// Word is what an operator knows about a role's password.
type Word struct {
	// Version is in force, or with Discard is not.
	Version int
	Discard bool
	// Servers: Version is in force on these only; empty: everywhere.
	Servers []string
	// Password is in force; empty: Version says which one is.
	Password string
}

// Confirm takes an operator's word. Nothing is sent.
func (e *Engine) Confirm(ctx context.Context, storage logical.Storage, name string, word Word) (*Report, error) {
	s := store{storage}
	role, unlock, err := e.lockRole(ctx, s, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, before := e.clock(), role.Record
	if err := checkWord(role, word); err != nil {
		return nil, err
	}
	switch {
	case len(word.Password) > maxGiven:
		return nil, Mistake("the password is too long: at most %d bytes", maxGiven)
	case word.Password != "":
		role.Record = role.Record.Adopt(word.Password, "confirmed by hand", now)
	case word.Discard:
		role.Record, err = role.Record.Discard(word.Version, now)
	case len(word.Servers) > 0:
		role.Record, err = role.Record.ConfirmOn(word.Version, word.Servers, role.Target.Parts, now)
	default:
		role.Record, err = role.Record.Confirm(word.Version, now)
	}
	if err != nil {
		return nil, wordError(role, word, err)
	}
	if !role.Record.Unfinished() { // else it goes on at its time
		role.Retry = Retry{}
	}
	if current := role.Record.Current; current != nil && (before.Current == nil || current.Version != before.Current.Version) {
		role.Due = role.Options.dueAfter(now)
	}
	if !role.Record.Open(now) { // else the next change drops what is too old
		role.Record = role.Record.Trim(role.Options.HistorySize)
	}
	failpoint.Reach(failpoint.BeforeWord, name)
	if err := s.putRole(ctx, role); err != nil {
		return nil, e.unsure(name, err)
	}
	failpoint.Reach(failpoint.Word, name)
	e.schedule(role)
	version := word.Version
	if word.Password != "" {
		version = role.Record.Current.Version
	}
	e.logger.Info("password confirmed by hand", "role", name, "connection", role.Connection, "provider", role.Provider,
		"version", version, "discard", word.Discard, "given", word.Password != "")
	report := e.report(role)
	report.Warning = e.stagedWarning(role)
	if before.Next != nil && !before.Next.Exposed() && !word.Discard && role.Record.Next == nil {
		report.Warning = "a rotation that was waiting to be sent was withdrawn by this word: ask for it again (rotate-role/" + name + ") if it is still wanted"
	}
	return report, nil
}

// maxGiven bounds a password that somebody says is in force; it obeys no rules.
const maxGiven = 1024

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
	role, err := e.read(ctx, s, name)
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

func equal(a, b any) bool {
	if list, ok := a.([]string); ok { // a set: tools keep no order
		return slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(provider.Settings{"": b}.Strings(""))))
	}
	return fmt.Sprint(a) == fmt.Sprint(b) // numbers change their type in storage
}

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
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

// Create makes a role and sets its first password, unless it adopts the account as it is. Where the remote system refuses
// and nothing was set, there is no role and an error; in every other case the role is there and the report says how it
// stands.
func (e *Engine) Create(ctx context.Context, storage logical.Storage, in NewRole) (*Report, error) {
	s := store{storage}
	return e.await(ctx, s, in.Name, func(work, waiting context.Context, promise *commitment) (*Report, error) {
		unlock, err := e.locks.lock(waiting, in.Name)
		if err != nil {
			return nil, busy("another request is working on the role %q; this one changed nothing: try again", in.Name)
		}
		defer unlock()
		return e.create(work, waiting, promise, s, in)
	})
}

func (e *Engine) create(ctx, waiting context.Context, promise *commitment, s store, in NewRole) (*Report, error) {
	role, l, err := e.prepare(ctx, waiting, s, in)
	if err != nil {
		return nil, err
	}
	c := &change{e: e, s: s, l: l, role: role, trigger: triggerCreate, waiting: waiting}
	if !in.Options.SkipInitialRotation { // before the role is stored: a crash after that leaves something to resume
		if err := c.make(ctx, "", "first password"); err != nil {
			return nil, withoutRole(err)
		}
	}
	if err := e.reserve(ctx, waiting, promise, s, l, role); err != nil {
		return nil, err
	}
	if in.Options.SkipInitialRotation {
		e.schedule(role)
		return e.report(role), nil
	}
	if until := c.restsUntil(); until.After(e.clock()) {
		err = busy("the remote system counts wrong passwords for this account and has to forget the last ones; try again at %s", stamp(until))
	} else {
		err = c.drive(ctx)
	}
	var lost *unstoredError
	if errors.As(err, &lost) { // the engine finds it out: what storage says is not what is known here
		return e.driven(c, err).answer(e)
	}
	report, err := e.driven(c, err).answer(e)
	if err == nil || !nothingSet(c.role) || waiting.Err() != nil { // a request that was told that it goes on must not be undone
		e.schedule(c.role)
		return e.soFar(c.role, report, err)
	}
	return nil, e.undo(ctx, s, c, err)
}

// restsUntil is until when no old password may be presented for a new role: earlier roles for the account spent the tries.
func (c *change) restsUntil() time.Time {
	if !c.l.kind.OldPassword(c.role.Target).Required {
		return time.Time{}
	}
	return c.role.Record.Old(c.e.clock()).NotBefore
}

// undo removes a new role that set nothing, and returns the error that says so.
func (e *Engine) undo(ctx context.Context, s store, c *change, cause error) error {
	ctx, cancel := lastEffort(ctx) // the engine may be stopping
	defer cancel()
	if err := e.remove(ctx, s, c.role); err != nil {
		e.scheduler.set(c.role.Name, c.role.Connection, e.clock())
		if readOnly(err) {
			return logical.ErrReadOnly
		}
		return fmt.Errorf("the role %q failed (%s) and may be there all the same, and go on by itself, as removing it failed (%s): write it again, or delete it",
			c.role.Name, cause.Error(), err.Error())
	}
	if last := c.role.Retry.Last; last != nil && last.Class == provider.Mismatch {
		return Mistake("the role was not created: %s; repeat the request with the account's present password", last)
	}
	c.role.Record = credential.Record{} // it waits for nothing any more
	if failed := e.failed(c.role, "the role was not created"); failed != nil {
		return failed
	}
	return withoutRole(cause)
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

// prepare validates a new role. It stores nothing.
func (e *Engine) prepare(ctx, waiting context.Context, s store, in NewRole) (*Role, *live, error) {
	switch there, err := s.role(ctx, in.Name); {
	case err != nil:
		return nil, nil, storageError("reading the role "+in.Name, err)
	case there != nil:
		return nil, nil, ErrRoleExists
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
	if err := e.checkOptions(ctx, l, role, true); err != nil {
		return nil, nil, err
	}
	if err := checkPassword(l, role, in.Password); err != nil {
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
		if err := e.checkTarget(ctx, waiting, s, l, role); err != nil {
			return nil, nil, err
		}
	}
	return role, l, nil
}

// checkPassword checks the present password that comes with a new role.
func checkPassword(l *live, role *Role, given string) error {
	old := l.kind.OldPassword(role.Target)
	required, otherwise := old.Required, ""
	if old.Otherwise != "" {
		otherwise = ", or " + old.Otherwise
	}
	switch {
	case len(given) > maxGiven:
		return Mistake("password is too long: at most %d bytes", maxGiven)
	case given == "" && required:
		return Mistake("password is missing: %s changes a password only for who presents the present one; give it%s", l.Provider, otherwise)
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

// askTarget makes the call of checkTarget, in a slot of the connection and a turn of its credential.
func (e *Engine) askTarget(ctx, waiting context.Context, s store, l *live, target provider.Target) (provider.Result, error) {
	release, err := l.acquire(waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer release()
	turn, err := l.guard.enter(waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer turn.leave()
	if l.guard.suspected() {
		return provider.Result{}, busy("the credential of the connection %q was refused a moment ago and is being checked; try again", l.Name)
	}
	if err := e.mayCall(ctx, s, l, turn); err != nil {
		return provider.Result{}, err
	}
	if err := e.countTry(ctx, s, turn); err != nil {
		return provider.Result{}, storageError("storing that the credential of the connection "+l.Name+" is tried", err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout())
	defer cancel()
	result := l.client.CheckTarget(ctx, target)
	e.tell(context.WithoutCancel(ctx), s, turn, result)
	return result, nil
}

// checkTarget asks the remote system whether the account exists.
func (e *Engine) checkTarget(ctx, waiting context.Context, s store, l *live, role *Role) error {
	if pause := l.paused(); pause != nil {
		return e.pausedError(l.Name, pause)
	}
	began := e.clock()
	result, err := e.askTarget(ctx, waiting, s, l, role.Target)
	if err != nil {
		return withoutRole(err)
	}
	failure := (&Failure{Code: result.Code, Reason: result.Reason}).String()
	switch result.Outcome {
	case provider.Applied:
		return nil
	case provider.Rejected:
		return Mistake("the role was not created: %s", failure)
	case provider.Busy:
		return busy("the role was not created: %s; try again later", failure)
	case provider.Denied:
		if result.Scope != provider.ScopeTarget {
			e.denied(ctx, s, l, began)
		}
		return unreachable("the role was not created: %s; check the credential and the rights of config/%s", failure, l.Name)
	default:
		return unreachable("the role was not created: %s", failure)
	}
}

// reserve stores the target's index entries and then the role. An entry whose role is absent or has another target is
// free: a crash in between leaves nothing that blocks. What an earlier role left to heed there goes into the new one's record.
func (e *Engine) reserve(ctx, waiting context.Context, promise *commitment, s store, l *live, role *Role) error {
	failpoint.Reach(failpoint.BeforeReserved, role.Name)
	unlock, err := e.index.lock(waiting, "")
	if err != nil {
		return errGivenUp
	}
	defer unlock()
	if now, err := s.connection(ctx, l.Name); err != nil {
		return storageError("reading the connection "+l.Name, err)
	} else if now == nil || now.Revision != l.Revision {
		return busy("the connection %q was changed in the meantime; the role was not created, try again", l.Name)
	}
	if err := e.checkLogins(ctx, s, role.Target); err != nil {
		return err
	}
	entries, err := e.claim(ctx, s, role)
	if err != nil {
		return err
	}
	if !promise.made() {
		return errGivenUp
	}
	for _, entry := range entries {
		if err := s.putOwner(ctx, entry); err != nil {
			return storageError("storing the index of targets", err) // it is free without the role
		}
	}
	failpoint.Reach(failpoint.Reserved, role.Name)
	cause := s.putRole(ctx, role)
	if cause == nil || readOnly(cause) {
		return storageError("", cause)
	}
	// It may have been stored all the same, and the engine would then set a password for a role that failed.
	ctx, cancel := lastEffort(ctx)
	defer cancel()
	if err := s.storage.Delete(ctx, rolePrefix+role.Name); err != nil {
		return e.unsure(role.Name, cause)
	}
	return storageError("storing the role "+role.Name, cause)
}

// claim returns the index entries that make the target the role's, unless another role has a part of it.
func (e *Engine) claim(ctx context.Context, s store, role *Role) ([]owner, error) {
	var entries []owner
	for i, identity := range role.Target.Identities {
		held, found, err := s.owner(ctx, identity)
		if err != nil {
			return nil, storageError("reading the index of targets", err)
		}
		if found && held.Role != role.Name {
			other, err := s.role(ctx, held.Role)
			if err != nil {
				return nil, storageError("reading the role "+held.Role, err)
			}
			if other != nil && slices.Contains(other.Target.Identities, identity) {
				return nil, Mistake("the role %q has the target %q already: two roles would change one password", held.Role, nameOf(role.Target, i))
			}
		}
		role.Record = role.Record.Heed(held.Quiet, held.OldTries)
		held.Role, held.Identity = role.Name, identity
		entries = append(entries, held)
	}
	return entries, nil
}

// nameOf is the canonical name that goes with an identity of the target.
func nameOf(target provider.Target, i int) string {
	if len(target.Names) != len(target.Identities) {
		return strings.Join(target.Names, ",")
	}
	return target.Names[i]
}

// remove deletes a role, then its index entries; but they stay, and are free, where the next role for the account has
// something to heed: a request that may still be under way, or old passwords that were wrong. An error means that the role
// is there still, for all that storage says.
func (e *Engine) remove(ctx context.Context, s store, role *Role) error {
	unlock, err := e.index.lock(ctx, "")
	if err != nil {
		return errGivenUp
	}
	defer unlock()
	keys := []string{readPrefix + role.Name} // the first read, then the index entries
	for _, identity := range role.Target.Identities {
		keys = append(keys, targetKey(identity))
	}
	if err := s.removable(ctx, keys...); err != nil {
		return storageError("reading what belongs to the role "+role.Name, err)
	}
	left := owner{Role: role.Name, Quiet: role.Record.LastRequest(), OldTries: role.Record.OldTries}
	now := e.clock()
	heeded := now.Before(left.Quiet.Add(lastBackoff)) || now.Before(left.OldTries.Until) // longer than any margin
	for _, identity := range role.Target.Identities {
		if !heeded {
			break
		}
		left.Identity = identity
		if err := s.putOwner(ctx, left); err != nil {
			return storageError("storing the index of targets", err)
		}
	}
	if err := s.storage.Delete(ctx, rolePrefix+role.Name); err != nil {
		return notStored("deleting the role "+role.Name, err)
	}
	e.gone(role.Name)
	if heeded {
		keys = keys[:1]
	}
	for _, key := range keys {
		if err := s.storage.Delete(ctx, key); err != nil {
			e.logger.Warn("an entry of a deleted role could not be removed: it counts for nothing", "role", role.Name, "error", err)
		}
	}
	return nil
}

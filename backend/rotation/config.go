package rotation

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Bounds and defaults of a connection's fields.
const (
	DefaultRequestTimeout = 30
	minRequestTimeout     = 1
	maxRequestTimeout     = 60
	DefaultMaxInFlight    = 4
	maxMaxInFlight        = 100
)

// ReadConnection returns a connection as stored and as its provider sees it, or ErrNoConnection.
func (e *Engine) ReadConnection(ctx context.Context, storage logical.Storage, name string) (*Connection, provider.Connection, error) {
	c, err := store{storage}.connection(ctx, name)
	if err != nil {
		return nil, provider.Connection{}, storageError("reading the connection "+name, err)
	}
	if c == nil {
		return nil, provider.Connection{}, ErrNoConnection
	}
	kind := e.types[c.Provider]
	if kind == nil {
		return nil, provider.Connection{}, fmt.Errorf("the connection %q has the provider %q, which this version does not have", name, c.Provider)
	}
	complete, err := c.Complete(kind)
	return c, complete, err
}

// Connections lists the names of all connections.
func (e *Engine) Connections(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, connectionPrefix)
	return names, storageError("listing connections", err)
}

// WriteConnection creates or changes a connection. A new address, TLS setting or credential is tried out with a
// read-only call first, unless verify_connection is off. Nothing is stored where an error is returned.
func (e *Engine) WriteConnection(ctx context.Context, storage logical.Storage, name string, patch Patch) error {
	unlock, err := e.writing.lock(ctx, name)
	if err != nil {
		return busy("the connection %q is being written by another request; nothing was changed, try again", name)
	}
	defer unlock()
	s := store{storage}
	stored, err := s.connection(ctx, name)
	if err != nil {
		return storageError("reading the connection "+name, err)
	}
	next, kind, err := e.merge(name, stored, patch)
	if err != nil {
		return err
	}
	complete, err := next.Complete(kind)
	if err != nil {
		return Mistake("%s", err)
	}
	if err := next.validate(); err != nil {
		return err
	}
	fresh, err := e.compare(stored, next, kind, complete, patch)
	if err != nil {
		return err
	}
	again := !fresh && givesSecret(kind, patch.Settings)
	if stored == nil || stored.PasswordPolicy != next.PasswordPolicy {
		if err := e.tryPolicy(ctx, next.PasswordPolicy, kind.Rules(complete, provider.Target{})); err != nil {
			return err
		}
	}
	l, err := e.open(*next)
	if err != nil {
		return Mistake("%s", err)
	}
	if err := e.checkUse(ctx, s, stored, l); err != nil { // before a call is made with it
		return err
	}
	if fresh && next.VerifyConnection {
		if err := e.verify(ctx, s, l); err != nil {
			return err
		}
	}
	switch {
	case again && !next.VerifyConnection:
		// Somebody says that it works now, which nobody checks: what waits for a person gets one try.
		fresh = true
		l.Revision++
	case again:
		// The same credential once more: somebody says that it works now. If it does, that opens a pause and ends what its
		// failures made wait. If not, it is as it was, and an error only where the connection is paused for it.
		switch err := e.verify(ctx, s, l); {
		case err == nil:
			fresh = true
			l.Revision++
		case e.isPaused(ctx, s, name):
			return err
		}
	}
	return e.replace(ctx, s, stored, l, fresh)
}

// replace stores a connection, drops the cached one and wakes the roles that waited for it.
func (e *Engine) replace(ctx context.Context, s store, stored *Connection, l *live, fresh bool) error {
	unlock, err := e.index.lock(ctx, "")
	if err != nil {
		return errGivenUp
	}
	defer unlock()
	if err := e.checkUse(ctx, s, stored, l); err != nil {
		return err
	}
	if err := s.removable(ctx, pausePrefix+l.Name); err != nil {
		return storageError("reading the pause of the connection "+l.Name, err)
	}
	err = s.putConnection(ctx, &l.Connection)
	e.connections.drop(l.Name) // whatever storage says, it may have been stored
	if err != nil {
		return notStored("storing the connection "+l.Name, err)
	}
	if !fresh {
		return nil
	}
	if err := e.renew(ctx, s, e.guards.of(l.guard.lockout, l.Connection), l.VerifyConnection); err != nil {
		e.logger.Warn("what a connection's credential had to wait for could not be cleared", "connection", l.Name, "error", err)
	}
	if err := s.storage.Delete(ctx, pausePrefix+l.Name); err != nil {
		// It is for an older revision: nobody heeds it.
		e.logger.Warn("an old pause of the connection could not be removed", "connection", l.Name, "error", err)
	}
	e.scheduler.endProbes(l.Name)
	e.board.opened(l.Name)
	e.background(func(ctx context.Context) { e.hasten(ctx, s, l.Name) })
	return nil
}

// hasten lets the roles of a connection go on that waited for it.
func (e *Engine) hasten(ctx context.Context, s store, connection string) {
	err := e.eachRole(ctx, s, connection, func(role *Role) error {
		if _, waits := role.resumesAt(e.clock()); waits || role.Retry.Last != nil {
			e.scheduler.set(role.Name, connection, e.clock()) // it rests on, or goes on
		}
		return nil
	})
	if err != nil {
		e.logger.Warn("not every role of the connection could be hastened; they go on at their own times", "connection", connection, "error", err)
	}
}

// isPaused tells whether a connection is paused.
func (e *Engine) isPaused(ctx context.Context, s store, name string) bool {
	l, err := e.connection(ctx, s, name)
	return err == nil && l.paused() != nil
}

// lockHint is how long a remote system tells to wait that has locked a login, rather than being busy for a moment.
const lockHint = time.Minute

// verify tries a connection out. A refused credential is tried once.
func (e *Engine) verify(ctx context.Context, s store, l *live) error {
	result, err := e.tryOut(ctx, s, l, true)
	var spent *spentError
	switch {
	case errors.As(err, &spent):
		return Mistake("the connection was not stored: %s; try again at %s, or store it unchecked with verify_connection=false",
			err, stamp(spent.tries.Last.Add(l.guard.forgets())))
	case errors.Is(err, errGivenUp):
		return busy("the connection was not stored: its credential is being tried by others; try again")
	case err != nil:
		return storageError("storing that the credential is tried", err)
	}
	failure := (&Failure{Code: result.Code, Reason: result.Reason}).String()
	switch result.Outcome {
	case provider.Applied:
		return nil
	case provider.Denied, provider.Rejected:
		return Mistake("the connection was not stored, since its check failed: %s; correct it, or store it unchecked with verify_connection=false", failure)
	case provider.Busy:
		if result.RetryAfter >= lockHint { // a client must not repeat it
			return Mistake("the connection was not stored, since its check failed: %s; try again in %s", failure, result.RetryAfter.Round(time.Second))
		}
		return busy("the connection was not stored, since its check failed: %s; try again later", failure)
	default:
		return unreachable("the connection was not stored, since its check failed: %s; correct url and TLS settings, or store it unchecked with verify_connection=false", failure)
	}
}

// checkUse makes sure that the roles of a connection stay what they are, and that no role changes the password that it
// logs in with.
func (e *Engine) checkUse(ctx context.Context, s store, stored *Connection, l *live) error {
	if login := l.kind.LoginIdentity(l.complete); login != "" {
		held, found, err := s.owner(ctx, login)
		if err != nil {
			return storageError("reading the index of targets", err)
		}
		if found {
			if role, err := s.role(ctx, held.Role); err != nil {
				return storageError("reading the role "+held.Role, err)
			} else if role != nil && slices.Contains(role.Target.Identities, login) {
				return Mistake("the role %q changes the password of the account that this connection would log in with, and would lock it out", held.Role)
			}
		}
	}
	if stored == nil {
		return nil
	}
	before, err := stored.Complete(l.kind)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(before, l.complete) {
		return nil
	}
	moved := transport.CanonicalHost(before.URL) != transport.CanonicalHost(l.complete.URL)
	return e.eachRole(ctx, s, l.Name, func(role *Role) error {
		if !role.Options.leaves(l.settleAfter(), e.clock()) {
			return Mistake("settle_after must be less than the time between two rotations of every role, and the role %q has %d seconds", role.Name, role.Options.Period(e.clock()))
		}
		target, err := l.kind.Target(l.complete, role.Target.Settings)
		if moved || err != nil || !slices.Equal(target.Identities, role.Target.Identities) {
			return Mistake("the connection %q is used by the role %q, whose account would be another one: the host and the project of a connection in use cannot be changed", l.Name, role.Name)
		}
		return nil
	})
}

// eachRole calls f with each role of a connection until it returns an error.
func (e *Engine) eachRole(ctx context.Context, s store, connection string, f func(*Role) error) error {
	names, err := s.storage.List(ctx, rolePrefix)
	if err != nil {
		return storageError("listing roles", err)
	}
	for _, name := range names {
		role, err := s.role(ctx, name)
		if err != nil {
			return storageError("reading the role "+name, err)
		}
		if role == nil || role.Connection != connection {
			continue
		}
		if err := f(role); err != nil {
			return err
		}
	}
	return nil
}

// namedInErrors is how many roles an error lists.
const namedInErrors = 10

// DeleteConnection removes a connection that no role uses. One that does not exist is no error.
func (e *Engine) DeleteConnection(ctx context.Context, storage logical.Storage, name string) error {
	s := store{storage}
	unlock, err := e.index.lock(ctx, "")
	if err != nil {
		return errGivenUp
	}
	defer unlock()
	var users []string
	err = e.eachRole(ctx, s, name, func(role *Role) error {
		users = append(users, role.Name)
		return nil
	})
	if err != nil {
		return err
	}
	if len(users) > 0 {
		shown := strings.Join(users[:min(len(users), namedInErrors)], ", ")
		if more := len(users) - namedInErrors; more > 0 {
			shown += fmt.Sprintf(" and %d more", more)
		}
		return Mistake("the connection %q is used by %d roles (%s): delete them first", name, len(users), shown)
	}
	keys := []string{connectionPrefix + name, pausePrefix + name}
	if err := s.removable(ctx, keys...); err != nil {
		return storageError("reading the connection "+name, err)
	}
	defer e.connections.drop(name) // whatever storage says, it may be gone
	for _, key := range keys {
		if err := storage.Delete(ctx, key); err != nil {
			return notStored("deleting the connection "+name, err)
		}
	}
	if key := e.guards.forget(name); key != "" {
		if err := s.remove(ctx, key); err != nil { // no other connection has it
			e.logger.Warn("what was remembered of a connection's tries could not be removed", "connection", name, "error", err)
		}
	}
	e.scheduler.endProbes(name)
	e.board.opened(name)
	return nil
}

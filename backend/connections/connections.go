// Package connections manages the connections of a mount: it opens, writes and deletes them. It pauses a connection when
// the remote system refuses its credential, before more attempts lock it.
//
// Package connection defines what a connection is and makes its calls. Package rotation decides what a pause means for the
// roles of the connection.
package connections

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Config is what Connections needs. Its functions may be called concurrently.
type Config struct {
	timing.Timing
	Types  map[string]provider.Type
	Cache  *connection.Cache
	Guards *lockout.Guards
	Health *health.Board
	// Index covers checks of which role uses what, together with the writes that depend on them. Its locks are held during
	// storage calls only. The lock with the name of a connection is held while the connection, its pause or a new role of it is
	// stored, and may last as long as reading all roles of the connection. The lock with the name "", taken after it, is for
	// targets: it is held while a role or a connection takes one, and must be short, because all connections share it.
	Index *locks.Locks
	// Waiting bounds the requests that wait, as those for roles.
	Waiting *locks.Waiting
	Logger  hclog.Logger
	// Settings returns the mount's settings. It reads storage only if they have changed.
	Settings func(ctx context.Context, s store.Store) (store.Settings, error)
	// TryPolicy checks that the password policy of a connection fits the rules and is strong enough.
	TryPolicy func(ctx context.Context, stored connection.Connection, rules password.Rules, minBits int) error
	// Probes sets when a paused connection is probed; zero: it is not.
	Probes func(name string, at time.Time)
	// Probing reports whether a paused connection will be probed.
	Probing func(name string) bool
	// Retry retries the roles of a connection that are due or have something open: it was opened or written.
	Retry func(name string)
}

// Connections manages the connections of a mount. Its methods may be called concurrently.
type Connections struct {
	Config
	// writing has one lock for each connection that is being written.
	writing locks.Locks
}

// New returns the connections of a mount. It does no I/O.
func New(c Config) *Connections { return &Connections{Config: c} }

// Handle returns the handle of a connection, or problem.ErrNoConnection. If the handle is cached, it does no I/O.
func (c *Connections) Handle(ctx context.Context, s store.Store, name string) (*connection.Handle, error) {
	h, ticket := c.Cache.Get(name)
	if h != nil {
		return h, nil
	}
	stored, err := s.Connection(ctx, name)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, problem.ErrNoConnection
	}
	pause, err := s.Pause(ctx, name)
	if err != nil {
		return nil, err
	}
	l, limitsErr := c.limits(ctx, s)
	l.Unknown = limitsErr
	h, err = c.Cache.Open(*stored, l)
	if err != nil {
		return nil, err
	}
	if pause != nil && pause.Revision == stored.Revision { // otherwise the credential has changed since
		h.SetPause(pause.CorrectClock(c.Now()))
	}
	if err := h.Guard.Load(ctx, s); err != nil {
		return nil, err
	}
	if limitsErr != nil {
		return h, nil //nolint:nilerr // passwords can be read; the next caller reads the settings again
	}
	return c.Cache.Keep(h, ticket), nil
}

// limits returns what the mount's settings allow to connections.
func (c *Connections) limits(ctx context.Context, s store.Store) (connection.Limits, error) {
	settings, err := c.Settings(ctx, s)
	return connection.Limits{
		Hosts: settings.AllowedHosts, ForbidInsecureTLS: settings.ForbidInsecureTLS,
		MinPasswordBits: settings.MinPasswordBits, MinRotationInterval: timing.Seconds(settings.MinRotationInterval),
	}, err
}

// AddressOf returns the address of a role's target. That of a role that an earlier version stored is its connection's, which
// keeps its host while roles use it.
func (c *Connections) AddressOf(ctx context.Context, s store.Store, r *role.Role) (string, error) {
	if r.Target.Address != "" {
		return r.Target.Address, nil
	}
	h, err := c.Handle(ctx, s, r.Connection)
	switch {
	case errors.Is(err, problem.ErrNoConnection):
		return "", nil
	case err != nil:
		return "", err
	}
	target, err := h.Kind.Target(h.Completed, r.Target.Settings)
	return target.Address, err
}

// Entries returns the address of a role's target, and the keys of its index entries; see [store.Store.Entries].
func (c *Connections) Entries(ctx context.Context, s store.Store, r *role.Role) (address string, keys, former []string, err error) {
	if address, err = c.AddressOf(ctx, s, r); err != nil { // the connection cannot be read, and an earlier version stored the role
		address = ""
	}
	keys, former, err = s.Entries(ctx, r, address)
	return address, keys, former, err
}

// eachRole calls f for each role of a connection until f returns an error. Otherwise, it returns store.ErrDamaged if there is
// a damaged role, because that may be one of them.
func (c *Connections) eachRole(ctx context.Context, s store.Store, name string, f func(*role.Role) error) error {
	names, err := c.rolesOf(ctx, s, name)
	if err != nil {
		return err
	}
	var damaged error
	for _, one := range names {
		r, err := s.Role(ctx, one)
		switch {
		case errors.Is(err, store.ErrDamaged):
			damaged = problem.Storage("reading role "+one, err)
			continue
		case err != nil:
			return problem.Storage("reading role "+one, err)
		case r == nil, r.Connection != name:
			continue
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return damaged
}

// rolesOf returns the names of all roles of a connection, and maybe of others. It does no I/O, except shortly after a start
// or a failover: until the health board has all roles, those count that it does not have yet.
func (c *Connections) rolesOf(ctx context.Context, s store.Store, name string) ([]string, error) {
	if c.Health.Complete() {
		return c.Health.Of(name), nil
	}
	all, err := s.List(ctx, store.RolePrefix)
	if err != nil {
		return nil, problem.Storage("listing roles", err)
	}
	return slices.DeleteFunc(all, func(one string) bool {
		of, known := c.Health.ConnectionOf(one)
		return known && of != name
	}), nil
}

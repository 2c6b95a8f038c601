// Package store reads and writes the engine's entries in Vault storage. It defines their keys and types, and never changes
// an entry of a newer version. It keeps nothing in memory and decides nothing about passwords.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/role"
)

// Schema is the schema version of stored entries. An entry of a newer version is rejected and left unchanged.
const Schema = 1

// Keys and prefixes of entries. A prefix must end in "/" for seal wrapping.
const (
	ConnectionPrefix = "config/"
	RolePrefix       = "role/"
	PausePrefix      = "pause/"
	TargetPrefix     = "target/"
	GuardPrefix      = "guard/"
	ReadPrefix       = "read/"
	OptionsPrefix    = "options/"
	FreezeKey        = "freeze"
	HeartbeatKey     = "heartbeat"
	SettingsKey      = "settings"
)

// SealWrapped returns the prefixes of entries that contain secrets.
func SealWrapped() []string { return []string{ConnectionPrefix, RolePrefix} }

// Store reads and writes entries. Its methods may be called concurrently. It does not lock anything.
type Store struct{ logical.Storage }

// ErrDamaged: a storage entry cannot be decoded.
var ErrDamaged = errors.New("damaged")

// head is how entries of this version begin. Their schema need not be decoded.
var head = fmt.Appendf(nil, `{"schema":%d,`, Schema)

// load decodes an entry. It returns nil if the entry does not exist, and an error for an entry of a newer version. Callers
// load an entry before they change it, so such entries stay unchanged.
func load[T any](ctx context.Context, s Store, key string) (*T, error) {
	entry, err := s.check(ctx, key)
	if err != nil || entry == nil {
		return nil, err
	}
	var value T
	if err := decode(entry, key, &value); err != nil {
		return nil, err
	}
	return &value, nil
}

// loadOver is load with the values of fields that the entry does not have.
func loadOver[T any](ctx context.Context, s Store, key string, value T) (T, error) {
	entry, err := s.check(ctx, key)
	if err != nil || entry == nil {
		return value, err
	}
	out := value
	if err := decode(entry, key, &out); err != nil {
		return value, err
	}
	return out, nil
}

func decode(entry *logical.StorageEntry, key string, value any) error {
	if entry.DecodeJSON(value) != nil { // its error may quote the entry
		return fmt.Errorf("the storage entry %s is %w", key, ErrDamaged)
	}
	return nil
}

// loadOrZero is load with the zero value for an entry that does not exist.
func loadOrZero[T any](ctx context.Context, s Store, key string) (value T, err error) {
	stored, err := load[T](ctx, s, key)
	if stored != nil {
		value = *stored
	}
	return value, err
}

// check returns an entry, or nil if it does not exist, and checks its schema.
func (s Store) check(ctx context.Context, key string) (*logical.StorageEntry, error) {
	entry, err := s.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading %s from storage: %w", key, err)
	}
	if entry == nil || bytes.HasPrefix(entry.Value, head) {
		return entry, nil
	}
	var stored struct {
		Schema int `json:"schema"`
	}
	if entry.DecodeJSON(&stored) == nil && stored.Schema > Schema {
		return nil, fmt.Errorf("the storage entry %s was written by a newer version of this plugin (schema %d; this version supports %d) and was not changed. Register the newer version again", key, stored.Schema, Schema)
	}
	return entry, nil
}

func (s Store) put(ctx context.Context, key string, value any) error {
	entry, err := logical.StorageEntryJSON(key, value)
	if err != nil {
		return fmt.Errorf("encoding %s for storage failed", key)
	}
	return s.Put(ctx, entry)
}

// Removable returns an error if a newer version wrote one of the entries. Damaged entries may be deleted.
func (s Store) Removable(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if _, err := s.check(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes an entry, unless a newer version wrote it.
func (s Store) Remove(ctx context.Context, key string) error {
	if err := s.Removable(ctx, key); err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// Connection returns a connection, or nil if it does not exist.
func (s Store) Connection(ctx context.Context, name string) (*connection.Connection, error) {
	c, err := load[connection.Connection](ctx, s, ConnectionPrefix+name)
	if c != nil {
		c.Name = name
	}
	return c, err
}

// PutConnection stores a connection.
func (s Store) PutConnection(ctx context.Context, c *connection.Connection) error {
	c.Schema = Schema
	return s.put(ctx, ConnectionPrefix+c.Name, c)
}

// Role returns a role as stored, or nil if it does not exist.
func (s Store) Role(ctx context.Context, name string) (*role.Role, error) {
	r, err := load[role.Role](ctx, s, RolePrefix+name)
	if r != nil {
		r.Name = name
	}
	return r, err
}

// Pause returns the pause of a connection, or nil if it is not paused.
func (s Store) Pause(ctx context.Context, name string) (*connection.Pause, error) {
	return load[connection.Pause](ctx, s, PausePrefix+name)
}

// PutPause stores the pause of a connection.
func (s Store) PutPause(ctx context.Context, name string, p *connection.Pause) error {
	p.Schema = Schema
	return s.put(ctx, PausePrefix+name, p)
}

// Attempts returns the entry of a lockout guard, or the zero value.
func (s Store) Attempts(ctx context.Context, key string) (lockout.Attempts, error) {
	a, err := loadOrZero[lockout.Attempts](ctx, s, GuardPrefix+key)
	return a.Bounded(), err
}

// PutAttempts stores the entry of a lockout guard.
func (s Store) PutAttempts(ctx context.Context, key string, a lockout.Attempts) error {
	a.Schema = Schema
	return s.put(ctx, GuardPrefix+key, a)
}

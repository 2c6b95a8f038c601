package rotation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
)

// Storage prefixes. The first two hold secrets and are seal-wrapped (SealWrapped); a prefix must end in "/" for that.
const (
	connectionPrefix = "config/"
	rolePrefix       = "role/"
	pausePrefix      = "pause/"
	targetPrefix     = "target/"
	guardPrefix      = "guard/"
	settingsKey      = "settings"
)

// SealWrapped are the storage prefixes that hold secrets.
func SealWrapped() []string { return []string{connectionPrefix, rolePrefix} }

// store reads and writes the engine's entries. It keeps nothing in memory.
type store struct{ storage logical.Storage }

// ownHead is what entries of this version begin with: those need not be decoded twice.
var ownHead = fmt.Appendf(nil, `{"schema":%d,`, schemaVersion)

// get reads an entry into out and tells whether it is there. One that a newer version wrote is an error: whoever changes
// an entry reads it first, so that those stay as they are.
func (s store) get(ctx context.Context, key string, out any) (bool, error) {
	entry, err := s.raw(ctx, key)
	if err != nil || entry == nil {
		return false, err
	}
	return true, decode(entry, out)
}

func decode(entry *logical.StorageEntry, out any) error {
	if entry.DecodeJSON(out) != nil { // its error may quote the entry
		return fmt.Errorf("the entry %s in storage is damaged", entry.Key)
	}
	return nil
}

// raw reads an entry, or nil where there is none. What it is decoded into may have another form in a newer version, so
// that the schema is looked at first.
func (s store) raw(ctx context.Context, key string) (*logical.StorageEntry, error) {
	entry, err := s.storage.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading %s from storage: %w", key, err)
	}
	if entry == nil || bytes.HasPrefix(entry.Value, ownHead) {
		return entry, nil
	}
	var head struct {
		Schema int `json:"schema"`
	}
	if entry.DecodeJSON(&head) == nil && head.Schema > schemaVersion {
		return nil, newer(key, head.Schema)
	}
	return entry, nil
}

// removable makes sure that entries may be removed: none was written by a newer version. Damaged ones may.
func (s store) removable(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if _, err := s.raw(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// remove removes an entry, unless a newer version wrote it.
func (s store) remove(ctx context.Context, key string) error {
	if err := s.removable(ctx, key); err != nil {
		return err
	}
	return s.storage.Delete(ctx, key)
}

func (s store) put(ctx context.Context, key string, value any) error {
	entry, err := logical.StorageEntryJSON(key, value)
	if err != nil {
		return fmt.Errorf("encoding %s for storage failed", key)
	}
	return s.storage.Put(ctx, entry)
}

func (s store) connection(ctx context.Context, name string) (*Connection, error) {
	var c Connection
	found, err := s.get(ctx, connectionPrefix+name, &c)
	if err != nil || !found {
		return nil, err
	}
	c.Name = name
	return &c, nil
}

func (s store) putConnection(ctx context.Context, c *Connection) error {
	c.Schema = schemaVersion
	return s.put(ctx, connectionPrefix+c.Name, c)
}

// role returns nil without an error where there is none.
func (s store) role(ctx context.Context, name string) (*Role, error) {
	var r Role
	found, err := s.get(ctx, rolePrefix+name, &r)
	if err != nil || !found {
		return nil, err
	}
	r.Name = name
	return &r, nil
}

func (s store) putRole(ctx context.Context, r *Role) error {
	r.Schema = schemaVersion
	return s.put(ctx, rolePrefix+r.Name, r)
}

func (s store) pause(ctx context.Context, connection string) (*Pause, error) {
	var p Pause
	found, err := s.get(ctx, pausePrefix+connection, &p)
	if err != nil || !found {
		return nil, err
	}
	return &p, nil
}

func (s store) putPause(ctx context.Context, connection string, p *Pause) error {
	p.Schema = schemaVersion
	return s.put(ctx, pausePrefix+connection, p)
}

// tries returns the zero value where there is none.
func (s store) tries(ctx context.Context, key string) (tries, error) {
	var t tries
	if _, err := s.get(ctx, key, &t); err != nil {
		return tries{}, err
	}
	for _, n := range []*int{&t.Refused, &t.Open} {
		if *n < 0 || *n > manyTries { // the engine does not write such: no try is left
			*n = manyTries
		}
	}
	return t, nil
}

func (s store) putTries(ctx context.Context, key string, t tries) error {
	t.Schema = schemaVersion
	return s.put(ctx, key, t)
}

// owner is the index entry of a target: which role it belongs to.
type owner struct {
	Schema   int    `json:"schema"`
	Role     string `json:"role"`
	Identity string `json:"identity"`
	// Quiet and OldTries are what a role that is gone left to the next one: see credential.Record.Heed.
	Quiet    time.Time           `json:"quiet,omitzero"`
	OldTries credential.OldTries `json:"old_tries,omitzero"`
}

// owner returns the index entry of an identity, and whether there is one.
func (s store) owner(ctx context.Context, identity string) (owner, bool, error) {
	var o owner
	found, err := s.get(ctx, targetKey(identity), &o)
	return o, found, err
}

func (s store) putOwner(ctx context.Context, o owner) error {
	o.Schema = schemaVersion
	return s.put(ctx, targetKey(o.Identity), o)
}

// targetKey hides the identity's characters, which may be anything, from storage keys.
func targetKey(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return targetPrefix + hex.EncodeToString(sum[:])
}

func newer(key string, schema int) error {
	return fmt.Errorf("the entry %s was written by a newer version of this plugin (schema %d, this one knows %d): it is left as it is; register the newer version again", key, schema, schemaVersion)
}

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Owner is the index entry of a target, which names its role. It is stored before the role. An entry whose role does not
// exist or has another target is free, so a crash in between blocks nothing.
type Owner struct {
	Schema   int    `json:"schema"`
	Role     string `json:"role"`
	Identity string `json:"identity"`
	// Address is provider.Target.Address.
	Address string `json:"address,omitempty"`
	// NotBefore and OldTries are limits that the next role inherits from a deleted one; see
	// credential.Record.InheritLimits.
	NotBefore time.Time           `json:"quiet,omitzero"`
	OldTries  credential.OldTries `json:"old_tries,omitzero"`
}

// TakenError reports that another role has the target. Whoever wanted it may not know that role, so only the log names it.
type TakenError struct{ Role, Target string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("another role of this mount already manages the target %q at this address", e.Target)
}

// TargetKey returns the key of an identity's index entry. It is a hash, because identities may contain any character.
func TargetKey(address, identity string) string {
	if address != "" {
		identity = address + "\x00" + identity
	}
	sum := sha256.Sum256([]byte(identity))
	return TargetPrefix + hex.EncodeToString(sum[:])
}

// PutOwner stores an index entry.
func (s Store) PutOwner(ctx context.Context, o Owner) error {
	o.Schema = Schema
	return s.put(ctx, TargetKey(o.Address, o.Identity), o)
}

// AddressOf returns the address of a role's target. Earlier versions did not store it.
type AddressOf func(context.Context, Store, *role.Role) (string, error)

// OwnerOf returns the role with the identity at the address, or nil, and its index entry. The entries of earlier versions are
// for all addresses.
func (s Store) OwnerOf(ctx context.Context, address, identity string, of AddressOf) (*role.Role, Owner, error) {
	r, o, err := s.named(ctx, TargetKey(address, identity), identity)
	if err != nil || address == "" {
		return r, o, err
	}
	if r != nil && r.Target.Address == address {
		return r, o, nil
	}
	r, former, err := s.named(ctx, TargetKey("", identity), identity)
	if err != nil || r == nil && former.Role == "" {
		return nil, o, err
	}
	if r != nil {
		if there, err := of(ctx, s, r); err != nil || there != address {
			return nil, o, err
		}
		return r, former, nil
	}
	if o.Role == "" { // a deleted role left limits, and its address is not known
		o.NotBefore, o.OldTries = former.NotBefore, former.OldTries
	}
	return nil, o, nil
}

// named returns the role with the identity that an index entry names, or nil, and the entry.
func (s Store) named(ctx context.Context, key, identity string) (*role.Role, Owner, error) {
	o, err := loadOrZero[Owner](ctx, s, key)
	if err != nil || o.Role == "" {
		return nil, o, err
	}
	r, err := s.Role(ctx, o.Role)
	if err != nil || r == nil || !slices.Contains(r.Target.Identities, identity) {
		return nil, o, err
	}
	return r, o, nil
}

// Entries returns the keys of a role's index entries: at its address, and those of an earlier version.
func (s Store) Entries(ctx context.Context, r *role.Role, address string) (keys, former []string, err error) {
	for _, identity := range r.Target.Identities {
		keys = append(keys, TargetKey(address, identity))
		if address == "" {
			continue
		}
		key := TargetKey("", identity)
		o, err := loadOrZero[Owner](ctx, s, key)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, nil, err
		}
		if o.Role == r.Name { // otherwise it is that of a role at another address
			former = append(former, key)
		}
	}
	return keys, former, nil
}

// Claim returns the index entries to store for the role, or a [*TakenError]. The role's record inherits the limits that a
// deleted role for the account left. Claim stores nothing.
func (s Store) Claim(ctx context.Context, r *role.Role, of AddressOf) ([]Owner, error) {
	var entries []Owner
	for i, identity := range r.Target.Identities {
		other, o, err := s.OwnerOf(ctx, r.Target.Address, identity, of)
		if err != nil {
			return nil, err
		}
		if other != nil && other.Name != r.Name {
			return nil, &TakenError{other.Name, nameOf(r.Target, i)}
		}
		r.Record = r.Record.InheritLimits(o.NotBefore, o.OldTries)
		o.Role, o.Identity, o.Address = r.Name, identity, r.Target.Address
		entries = append(entries, o)
	}
	return entries, nil
}

// nameOf returns the canonical name of the target's i-th identity.
func nameOf(target provider.Target, i int) string {
	if len(target.Names) != len(target.Identities) {
		return strings.Join(target.Names, ",")
	}
	return target.Names[i]
}

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// NotBefore and OldTries are limits that the next role inherits from a deleted one; see
	// credential.Record.InheritLimits.
	NotBefore time.Time           `json:"quiet,omitzero"`
	OldTries  credential.OldTries `json:"old_tries,omitzero"`
}

// TakenError reports that another role has the target.
type TakenError struct{ Role, Target string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("role %q already manages the target %q", e.Role, e.Target)
}

// TargetKey returns the key of an identity's index entry. It is a hash, because identities may contain any character.
func TargetKey(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return TargetPrefix + hex.EncodeToString(sum[:])
}

// PutOwner stores an index entry.
func (s Store) PutOwner(ctx context.Context, o Owner) error {
	o.Schema = Schema
	return s.put(ctx, TargetKey(o.Identity), o)
}

// OwnerOf returns the role with the identity, or nil, and its index entry.
func (s Store) OwnerOf(ctx context.Context, identity string) (*role.Role, Owner, error) {
	o, err := loadOrZero[Owner](ctx, s, TargetKey(identity))
	if err != nil || o.Role == "" {
		return nil, o, err
	}
	r, err := s.Role(ctx, o.Role)
	if err != nil || r == nil || !slices.Contains(r.Target.Identities, identity) {
		return nil, o, err
	}
	return r, o, nil
}

// Claim returns the index entries to store for the role, or a [*TakenError]. The role's record inherits the limits that a
// deleted role for the account left. Claim stores nothing.
func (s Store) Claim(ctx context.Context, r *role.Role) ([]Owner, error) {
	var entries []Owner
	for i, identity := range r.Target.Identities {
		other, o, err := s.OwnerOf(ctx, identity)
		if err != nil {
			return nil, err
		}
		if other != nil && other.Name != r.Name {
			return nil, &TakenError{other.Name, nameOf(r.Target, i)}
		}
		r.Record = r.Record.InheritLimits(o.NotBefore, o.OldTries)
		o.Role, o.Identity = r.Name, identity
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

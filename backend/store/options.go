package store

import (
	"context"

	"vault-plugin-secrets-hosting/backend/role"
)

// longOptions are the options of a role that may be long. Only reads and writes of the role itself need them. They have an
// entry of their own, so that a read of creds takes the same time whatever their size.
type longOptions struct {
	Schema        int    `json:"schema"`
	VerifyHostKey string `json:"verify_host_key,omitempty"`
	VerifyCACert  string `json:"verify_ca_cert,omitempty"`
}

// Expand adds the long options to a role that was read.
func (s Store) Expand(ctx context.Context, r *role.Role) error {
	if !r.LongOptions {
		return nil
	}
	long, err := loadOrZero[longOptions](ctx, s, OptionsPrefix+r.Name)
	if err == nil {
		r.Options.VerifyHostKey, r.Options.VerifyCACert, r.LongOptions = long.VerifyHostKey, long.VerifyCACert, false
	}
	return err
}

// PutRole stores a role. It moves the long options, if the role has any, into their entry first.
func (s Store) PutRole(ctx context.Context, r *role.Role) error {
	r.Schema = Schema
	if long := (longOptions{Schema, r.Options.VerifyHostKey, r.Options.VerifyCACert}); long.VerifyHostKey+long.VerifyCACert != "" {
		if err := s.put(ctx, OptionsPrefix+r.Name, long); err != nil {
			return err
		}
		r.Options.VerifyHostKey, r.Options.VerifyCACert, r.LongOptions = "", "", true
	}
	return s.put(ctx, RolePrefix+r.Name, r)
}

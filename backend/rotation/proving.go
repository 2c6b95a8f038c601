package rotation

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/roles"
)

// Proved is the answer of VerifyRole and RecoverRole.
type Proved struct {
	provider.Hidden
	Report *roles.Report
	Tried  []Tried
	// Until is when more passwords can be tried, if the budget of refused logins is spent; otherwise zero.
	Until time.Time
}

// Tried is what is known of one password, on one server if the account has several.
type Tried struct {
	Version int
	// Server is a part of the target; "" if there are none.
	Server string
	// Verdict is works, refused, cannot_tell or not_tried, and Reason says why.
	Verdict, Reason string
}

// VerifyRole logs in with the passwords of a role that may be in force, and returns which of them work.
func (e *Engine) VerifyRole(context.Context, logical.Storage, string) (*Proved, error) {
	return nil, problem.Mistake("this version cannot log in to verify a password")
}

// RecoverRole is VerifyRole for all passwords of a role that Vault has, and puts the one that works in force.
func (e *Engine) RecoverRole(context.Context, logical.Storage, string) (*Proved, error) {
	return nil, problem.Mistake("this version cannot log in to verify a password")
}

package rotation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/role"
)

// generator generates passwords.
type generator struct{ password.Source }

// generate generates a password for the role, with the role's policy, the connection's policy, or the provider's recipe.
func (g generator) generate(ctx context.Context, h *connection.Handle, r *role.Role) (string, error) {
	policy := cmp.Or(r.Options.PasswordPolicy, h.PasswordPolicy)
	if !h.AllowsPolicy(r.Options.PasswordPolicy) {
		return "", problem.Mistake("%s", h.NoPolicy(policy))
	}
	value, err := g.Generate(ctx, policy, h.Kind.Rules(h.Completed, r.Target), h.Limits().MinPasswordBits)
	if policy != "" {
		err = ofPolicy(err, h.Connection, r.Options.PasswordPolicy)
	}
	return value, err
}

// ofPolicy returns an error about a password policy for the user. named is the policy that a role names, or "".
func ofPolicy(err error, c connection.Connection, named string) error {
	switch {
	case errors.Is(err, password.ErrNoPolicy):
		return problem.Mistake("%s", c.NoPolicy(named))
	case err != nil:
		return problem.Mistake("%s", err)
	default:
		return nil
	}
}

// tryPolicy checks the policy of a connection.
func (g generator) tryPolicy(ctx context.Context, c connection.Connection, rules password.Rules, minBits int) error {
	return ofPolicy(g.Try(ctx, c.PasswordPolicy, rules, minBits), c, "")
}

// checkOptions checks the options of a role against its connection and target. before are the options that the role has had; nil
// if it is new.
func (g generator) checkOptions(ctx context.Context, h *connection.Handle, r *role.Role, before *role.Options, now time.Time) error {
	o := r.Options
	if err := o.Validate(); err != nil {
		return problem.Mistake("%s", err)
	}
	if settle := h.SettleAfter(); !o.Leaves(settle, now) {
		return problem.Mistake("the time between two rotations must exceed the connection's settle_after (%d seconds): set a longer rotation_period, or another rotation_schedule", int(settle.Seconds()))
	}
	if old := h.Kind.OldPassword(r.Target); old.Required && o.OnDrift == role.DriftRotate {
		return problem.Mistake("on_drift=%s is not possible, because provider %q needs the current password to set a new one, and Vault does not know it after drift: use on_drift=%s%s", o.OnDrift, h.Provider, role.DriftRecover, either(old.Otherwise))
	}
	if before == nil || before.Verification() != o.Verification() {
		if _, err := proof.Logins(h, r); err != nil {
			return err
		}
	}
	if before != nil && before.PasswordPolicy == o.PasswordPolicy {
		return nil
	}
	if !h.AllowsPolicy(o.PasswordPolicy) {
		return problem.Mistake("%s", h.NoPolicy(o.PasswordPolicy))
	}
	err := g.Try(ctx, cmp.Or(o.PasswordPolicy, h.PasswordPolicy), h.Kind.Rules(h.Completed, r.Target), h.Limits().MinPasswordBits)
	return ofPolicy(err, h.Connection, o.PasswordPolicy)
}

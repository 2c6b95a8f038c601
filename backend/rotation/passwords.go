package rotation

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
)

const (
	// policySamples is how many passwords of a policy are checked when it is set. At most policyMisfits of them may break a
	// rule.
	policySamples = 200
	policyMisfits = 20
	// policyDraws is how often a policy is asked for a password that follows the rules.
	policyDraws = 20
)

// generator generates passwords.
type generator struct {
	policies Policies
	random   io.Reader
}

// generate generates a password for the role, with the role's policy, the connection's policy, or the provider's recipe.
func (g generator) generate(ctx context.Context, h *connection.Handle, r *role.Role) (string, error) {
	rules := h.Kind.Rules(h.Completed, r.Target)
	policy := cmp.Or(r.Options.PasswordPolicy, h.PasswordPolicy)
	if policy == "" {
		return rules.Generate(g.random)
	}
	var broken error
	for range policyDraws {
		value, err := g.policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return "", problem.Mistake("the password policy %q returned no password. Check that it exists (sys/policies/password), or use another one", policy)
		}
		if broken = rules.Check(value); broken == nil {
			return value, nil
		}
	}
	return "", problem.Mistake("the passwords of password policy %q break the rules of the remote system: %s. Change the policy", policy, broken)
}

// try checks that a policy exists and that its passwords follow the rules. A few may break one by chance, for example by
// containing the account's name; generate then tries again. More would make scheduled rotations fail.
func (g generator) try(ctx context.Context, policy string, rules password.Rules) error {
	if policy == "" {
		return nil
	}
	misfits := 0
	var broken *password.RuleError
	for range policySamples {
		value, err := g.policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return problem.Mistake("the password policy %q does not exist or returns no password: see sys/policies/password", policy)
		}
		if errors.As(rules.Check(value), &broken) {
			misfits++
		}
	}
	if misfits > policyMisfits {
		return problem.Mistake("the password policy %q cannot be used: %d of %d samples break a rule of the remote system, for example one that %s", policy, misfits, policySamples, broken.Rule)
	}
	return nil
}

// checkOptions checks the options of a role against its connection and target. newPolicy means that its password policy is
// new.
func (g generator) checkOptions(ctx context.Context, h *connection.Handle, r *role.Role, newPolicy bool, now time.Time) error {
	o := r.Options
	if err := o.Validate(); err != nil {
		return problem.Mistake("%s", err)
	}
	if settle := h.SettleAfter(); !o.Leaves(settle, now) {
		return problem.Mistake("the time between two rotations must exceed the connection's settle_after (%d seconds): set a longer rotation_period, or another rotation_schedule", int(settle.Seconds()))
	}
	if o.VerifyAddress != "" {
		if err := cmp.Or(h.AllowsAddress(o.VerifyAddress), h.Limits().RefusesAddress(o.VerifyAddress)); err != nil {
			return problem.Mistake("%s", err)
		}
	}
	if !newPolicy {
		return nil
	}
	return g.try(ctx, cmp.Or(o.PasswordPolicy, h.PasswordPolicy), h.Kind.Rules(h.Completed, r.Target))
}

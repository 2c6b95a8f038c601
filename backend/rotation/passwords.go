package rotation

import (
	"context"
	"errors"

	"vault-plugin-secrets-hosting/backend/password"
)

const (
	// policySamples is how many passwords of a policy are tried when it is set, and policyMisfits how many of them may
	// break a rule.
	policySamples = 200
	policyMisfits = 20
	// policyDraws is how often a policy is asked for one that fits when a password is wanted.
	policyDraws = 20
)

// generate makes a password for the role: by its own policy, its connection's, or the provider's recipe.
func (e *Engine) generate(ctx context.Context, l *live, role *Role) (string, error) {
	rules := l.kind.Rules(l.complete, role.Target)
	policy := role.Options.PasswordPolicy
	if policy == "" {
		policy = l.PasswordPolicy
	}
	if policy == "" {
		return rules.Generate(e.random)
	}
	var broken *password.RuleError
	for range policyDraws {
		value, err := e.policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return "", Mistake("the password policy %q made no password: see whether it still exists (sys/policies/password), or name another one", policy)
		}
		err = rules.Check(value)
		if err == nil {
			return value, nil
		}
		if !errors.As(err, &broken) {
			return "", err
		}
	}
	return "", Mistake("the password policy %q makes passwords that the remote system refuses: %s; change the policy", policy, broken)
}

// tryPolicy makes sure that a policy exists and that its passwords fit the rules. A few may break one by chance, as one
// that contains the account's name does; generate draws again then. More would fail at night.
func (e *Engine) tryPolicy(ctx context.Context, policy string, rules password.Rules) error {
	if policy == "" {
		return nil
	}
	misfits := 0
	var broken *password.RuleError
	for range policySamples {
		value, err := e.policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return Mistake("the password policy %q cannot be used: Vault says that it does not exist or makes no password; see sys/policies/password", policy)
		}
		if err := rules.Check(value); err != nil {
			if !errors.As(err, &broken) {
				return err
			}
			misfits++
		}
	}
	if misfits > policyMisfits {
		return Mistake("the password policy %q does not fit: %d of %d samples break a rule of the remote system, as one that %s", policy, misfits, policySamples, broken.Rule)
	}
	return nil
}

package rotation

import (
	"context"
	"errors"
	"fmt"

	"vault-plugin-secrets-hosting/backend/password"
)

const (
	// policySamples is how many passwords a policy has to make that fit when it is set.
	policySamples = 200
	// policyDraws is how often a policy is asked for one that fits when a password is wanted.
	policyDraws = 20
)

// generate makes a password for the role: by its own policy, its connection's, or the provider's recipe.
func (e *Engine) generate(ctx context.Context, l *live, role *Role) (string, error) {
	rules := l.kind.Rules(role.Target)
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
			return "", fmt.Errorf("the password policy %q made no password: %w", policy, err)
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

// tryPolicy makes sure that a policy exists and that every password it makes fits the rules. All of its samples have to:
// a policy that fits now and then would fail at night.
func (e *Engine) tryPolicy(ctx context.Context, policy string, rules password.Rules) error {
	if policy == "" {
		return nil
	}
	for n := range policySamples {
		value, err := e.policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return Mistake("the password policy %q cannot be used: Vault says that it does not exist or makes no password; see sys/policies/password", policy)
		}
		if err := rules.Check(value); err != nil {
			var broken *password.RuleError
			if errors.As(err, &broken) {
				return Mistake("the password policy %q does not fit: sample %d of %d %s", policy, n+1, policySamples, broken.Rule)
			}
			return err
		}
	}
	return nil
}

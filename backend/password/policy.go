package password

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

const (
	// policySamples is how many passwords of a policy are checked when it is set, and the most that are drawn to learn which
	// characters it uses. At most policyMisfits of them may break a rule.
	policySamples = 200
	policyMisfits = 20
	// policyDraws is how often a policy is asked for a password that follows the rules.
	policyDraws = 20
)

// Policies generates passwords from Vault's password policies. logical.SystemView implements it.
type Policies interface {
	GeneratePasswordFromPolicy(ctx context.Context, policy string) (string, error)
}

// Source generates passwords. Its methods may be called concurrently. Their errors are for users, apart from [ErrNoPolicy].
type Source struct {
	Policies Policies
	Random   io.Reader
}

// ErrNoPolicy: the policy does not exist, or returned no password.
var ErrNoPolicy = errors.New("the password policy does not exist or returns no password")

// Generate generates a password that meets the rules: from the policy and with at least minBits, or, if policy is "", by the
// recipe of the rules.
func (s Source) Generate(ctx context.Context, policy string, rules Rules, minBits int) (string, error) {
	if policy == "" {
		return rules.Generate(s.Random)
	}
	var broken error
	for range policyDraws {
		value, err := s.Policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return "", ErrNoPolicy
		}
		if broken = rules.Check(value); broken == nil {
			return value, s.measure(ctx, policy, value, minBits)
		}
	}
	return "", fmt.Errorf("the passwords of password policy %q break the rules of the remote system: %w. Change the policy", policy, broken)
}

// measure checks the strength of a password of the policy. One sample often shows enough characters.
func (s Source) measure(ctx context.Context, policy, value string, minBits int) error {
	m := measure{length: utf8.RuneCountInString(value)}
	m.add(value)
	for n := 1; m.bits() < float64(minBits) && n < policySamples; n++ {
		another, err := s.Policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return ErrNoPolicy
		}
		m.add(another)
	}
	return m.check(policy, minBits)
}

// Try checks that a policy exists, that its passwords follow the rules, and that they have at least minBits. A few may break
// a rule by chance, for example by containing the account's name; Generate then tries again. More would make scheduled
// rotations fail.
func (s Source) Try(ctx context.Context, policy string, rules Rules, minBits int) error {
	if policy == "" {
		return nil
	}
	misfits := 0
	var broken *RuleError
	m := measure{length: math.MaxInt}
	for range policySamples {
		value, err := s.Policies.GeneratePasswordFromPolicy(ctx, policy)
		if err != nil {
			return ErrNoPolicy
		}
		if errors.As(rules.Check(value), &broken) {
			misfits++
			continue
		}
		m.length = min(m.length, utf8.RuneCountInString(value))
		m.add(value)
	}
	if misfits > policyMisfits {
		return fmt.Errorf("the password policy %q cannot be used: %d of %d samples break a rule of the remote system, for example one that %s", policy, misfits, policySamples, broken.Rule)
	}
	return m.check(policy, minBits)
}

// measure estimates how hard a password of a policy is to guess. Vault draws each character from one set; only those that were
// seen count, so the estimate is not too high. A policy that requires many characters of a small set has fewer bits.
type measure struct {
	length int
	seen   map[rune]bool
}

func (m *measure) add(sample string) {
	if m.seen == nil {
		m.seen = map[rune]bool{}
	}
	for _, c := range sample {
		m.seen[c] = true
	}
}

func (m *measure) bits() float64 { return float64(m.length) * math.Log2(float64(max(1, len(m.seen)))) }

func (m *measure) check(policy string, minBits int) error {
	if m.bits() >= float64(minBits) {
		return nil
	}
	return fmt.Errorf("the password policy %q is too weak: a password of %d characters, of which %d different ones occur, has %d bits, and min_password_bits in the mount's settings requires %d. Use longer passwords, or more different characters",
		policy, m.length, len(m.seen), int(m.bits()), minBits)
}

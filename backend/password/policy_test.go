package password

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawn is a policy that returns the samples in turn.
type drawn struct {
	samples []string
	asked   int
}

func (d *drawn) GeneratePasswordFromPolicy(context.Context, string) (string, error) {
	if len(d.samples) == 0 {
		return "", errors.New("no such policy")
	}
	d.asked++
	return d.samples[(d.asked-1)%len(d.samples)], nil
}

func TestPolicyStrength(t *testing.T) {
	lax := Rules{MinLength: 1, MaxLength: 64, Allowed: Lower + Upper + Digits}
	hex := []string{"0123456789abcdef", "fedcba9876543210"}
	for name, test := range map[string]struct {
		samples []string
		bits    int
		fits    bool
	}{
		"16 hexadecimal digits are 64 bits": {hex, 64, true},
		"no more":                           {hex, 65, false},
		"the shortest sample counts":        {append(hex, "0123456789abcde"), 64, false},
		"the weak one of a team":            {[]string{"1a1bA11b", "A1b1a111"}, 64, false},
		"one character":                     {[]string{strings.Repeat("a", 64)}, 1, false},
		"0 asks for nothing":                {[]string{"a"}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := Source{Policies: &drawn{samples: test.samples}}.Try(t.Context(), "policy", lax, test.bits)
			require.Equal(t, test.fits, err == nil, "%v", err)
			if err != nil {
				require.ErrorContains(t, err, "min_password_bits")
			}
		})
	}
}

// The password itself shows most of the characters, so few samples are drawn.
func TestGeneratedPasswordIsMeasured(t *testing.T) {
	lax := Rules{MinLength: 1, MaxLength: 64, Allowed: Lower + Upper + Digits}
	for name, test := range map[string]struct {
		samples []string
		asked   int
		fits    bool
	}{
		"strong by itself":                {[]string{"abcdefghijklmnopqrst"}, 1, true},
		"strong with what others contain": {[]string{"00000000000000000000", "0123456789abcdef"}, 2, true},
		"short, although others are long": {[]string{"0123456", "abcdefghijklmnopqrst"}, policySamples, false},
		"weak":                            {[]string{"1a1bA11b"}, policySamples, false},
	} {
		t.Run(name, func(t *testing.T) {
			policy := &drawn{samples: test.samples}
			_, err := Source{Policies: policy}.Generate(t.Context(), "policy", lax, 64)
			require.Equal(t, test.fits, err == nil, "%v", err)
			require.Equal(t, test.asked, policy.asked)
		})
	}
	_, err := Source{Policies: &drawn{}}.Generate(t.Context(), "policy", lax, 64)
	require.ErrorIs(t, err, ErrNoPolicy)
}

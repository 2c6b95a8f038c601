package problem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// kindOf returns the kind of an error for users.
func kindOf(t *testing.T, err error) Kind {
	t.Helper()
	var known *Error
	require.ErrorAs(t, err, &known)
	return known.Kind
}

func TestErrorsHaveKinds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		kind Kind
		text string
	}{
		{Mistake("a %s of %d%%", "mistake", 7), KindMistake, "a mistake of 7%"},
		{Unreachable("no %s", "route"), KindUnreachable, "no route"},
		{Busy("too %q", "busy"), KindBusy, `too "busy"`},
		{ErrGivenUp, KindBusy, ErrGivenUp.Error()},
		{ErrFull, KindBusy, ErrFull.Error()},
		{ErrPanicked, KindFault, ErrPanicked.Error()},
	} {
		require.EqualError(t, row.err, row.text)
		require.Equal(t, row.kind, kindOf(t, fmt.Errorf("wrapped: %w", row.err)), row.text)
	}
}

// Where an outcome proves that the password is what it was, the kind says what a caller can do.
func TestKindFollowsOutcome(t *testing.T) {
	t.Parallel()
	kinds := map[provider.Outcome]Kind{
		provider.Rejected: KindMistake, provider.Mismatch: KindMistake, provider.Busy: KindBusy,
		provider.Denied: KindUnreachable, provider.Unreachable: KindUnreachable,
	}
	for _, outcome := range providertest.Outcomes() {
		err := OfOutcome(outcome, "100% of it")
		want, fails := kinds[outcome]
		require.Equal(t, outcome.Unchanged(), fails, outcome)
		if !fails {
			require.NoError(t, err, outcome)
			continue
		}
		require.EqualError(t, err, "100% of it", outcome)
		require.Equal(t, want, kindOf(t, err), outcome)
	}
}

func TestReadOnlyErrorIsRecognizedByText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("storage is full"), false},
		{logical.ErrReadOnly, true},
		{fmt.Errorf("writing: %w", logical.ErrReadOnly), true},
		{errors.New("rpc error: code = Unknown desc = " + logical.ErrReadOnly.Error()), true}, // as an external plugin gets it
	} {
		require.Equal(t, row.want, ReadOnly(row.err), "%v", row.err)
	}
}

func TestStorageErrorsAreWorded(t *testing.T) {
	t.Parallel()
	mistake := Mistake("the entry is too large")
	full := errors.New("storage is full")
	for name, wrap := range map[string]func(string, error) error{"storage": Storage, "not stored": NotStored} {
		require.NoError(t, wrap("reading it", nil), name)
		require.Same(t, logical.ErrReadOnly, wrap("reading it", errors.New("rpc: "+logical.ErrReadOnly.Error())), "Vault compares without unwrapping")
		require.Same(t, mistake, wrap("reading it", mistake), name)
		err := wrap("reading it", full)
		require.ErrorIs(t, err, full, name)
		require.ErrorContains(t, err, "reading it failed", name)
		for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
			err := wrap("reading it", fmt.Errorf("get: %w", ended))
			require.Equal(t, KindBusy, kindOf(t, err), name)
			require.ErrorContains(t, err, "reading it was interrupted", name)
		}
	}
	for _, err := range []error{full, context.Canceled} {
		require.NotContains(t, NotStored("storing it", err).Error(), "nothing was changed", "a write may have been made")
		require.ErrorContains(t, NotStored("storing it", err), "may have taken effect")
	}
	require.ErrorContains(t, Storage("reading it", context.Canceled), "nothing was changed")
}

func TestUnchangedIsSaidOnce(t *testing.T) {
	t.Parallel()
	require.Equal(t, "nothing was changed: reason is missing", Unchanged("reason is missing"))
	require.Equal(t, "nothing was changed: verify cannot be changed", Unchanged("verify cannot be changed"))
	for _, text := range []string{
		ErrFull.Error(), `the role was not created: E`, `the connection was not stored, because E`, `the password of role "db" has not been changed yet: E`,
		NotStored("storing it", context.Canceled).Error(), NotSent("storing it", "db", true, context.Canceled).Error(),
	} {
		require.Equal(t, text, Unchanged(text))
	}
}

func TestPanicIsLoggedWithoutItsValue(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	require.False(t, LogPanic(logger, nil, "resting"))
	require.Empty(t, log.String())
	panicked := func() (logged bool) {
		defer func() { logged = LogPanic(logger, recover(), "working on a role", "role", "web1") }()
		panic(errors.New("Example-Passw0rd"))
	}
	require.True(t, panicked())
	require.NotContains(t, log.String(), "Example-Passw0rd")
	for _, part := range []string{"working on a role", "web1", "*errors.errorString", "problem_test.go"} {
		require.Contains(t, log.String(), part)
	}
}

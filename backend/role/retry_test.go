package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestRequestWaitsForNextAttempt(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	revision, mended := Env{Revision: 3}, Env{Revision: 4}
	for name, c := range map[string]struct {
		failed func(*Role)
		env    Env
		waits  bool
	}{
		"no failure":                 {nothing, Env{}, false},
		"before":                     {busy(minute), Env{}, true},
		"just before":                {busy(time.Nanosecond), Env{}, true},
		"at":                         {busy(0), Env{}, false},
		"after":                      {busy(-minute), Env{}, false},
		"time without failure":       {func(r *Role) { r.Retry.NextAttempt = in(minute) }, mended, true},
		"busy, mended":               {busy(minute), mended, true},
		"unreachable":                {unreachable(minute), revision, true},
		"unreachable, unknown":       {unreachable(minute), Env{}, true},
		"unreachable, mended":        {unreachable(minute), mended, false},
		"unreachable, before that":   {unreachable(minute), Env{Revision: 3, OpenedAt: in(-minute - 1)}, true},
		"unreachable, at that":       {unreachable(minute), Env{Revision: 3, OpenedAt: in(-minute)}, true},
		"unreachable, opened after":  {unreachable(minute), Env{Revision: 3, OpenedAt: in(-minute + 1)}, false},
		"unreachable, opened only":   {unreachable(minute), Env{OpenedAt: now}, false},
		"unreachable, other version": {func(r *Role) { unreachable(minute)(r); r.Retry.Last.Revision = 0 }, mended, true},
	} {
		r := given("asked", c.failed)
		require.Equal(t, c.waits, r.Retry.Waiting(now, c.env), name)
	}
}

func TestFailureConcernsOperatorConnectionOrOption(t *testing.T) {
	t.Parallel()
	const target, connection, password = provider.ScopeTarget, provider.ScopeConnection, provider.ScopePassword
	for _, c := range []struct {
		class                        provider.Outcome
		scope                        provider.Scope
		operator, connection, option bool
	}{
		{provider.Rejected, password, true, false, true},
		{provider.Rejected, target, true, false, true},
		{provider.Rejected, connection, false, true, false},
		{provider.Mismatch, target, true, false, true},
		{provider.Denied, target, true, true, false},
		{provider.Denied, connection, false, true, false},
		{provider.Denied, "", false, true, false},
		{provider.Unreachable, "", false, true, false},
		{provider.Unreachable, connection, false, true, false},
		{provider.Busy, connection, false, true, false},
		{provider.Busy, target, false, false, false},
		{provider.Busy, "", false, false, false},
		{provider.Unknown, "", false, false, false},
		{provider.Unknown, connection, false, false, false},
	} {
		f := &Failure{Class: c.class, Scope: c.scope}
		require.Equal(t, c.operator, f.NeedsOperator(), "%+v", c)
		require.Equal(t, c.connection, f.OfConnection(), "%+v", c)
		require.Equal(t, c.option, f.MendedByOptions(), "%+v", c)
		require.Equal(t, c.class == provider.Rejected && c.scope == connection, f.OfRemote(), "%+v", c)
	}
	require.False(t, (*Failure)(nil).OfRemote())
	require.False(t, (*Failure)(nil).MendedByOptions())
}

// An unknown outcome is reported to an operator at the third attempt, or after an hour.
func TestOperatorIsAskedAboutLastingUnknownOutcome(t *testing.T) {
	t.Parallel()
	var r Retry
	require.Zero(t, r.OperatorFrom())
	r.CountUnknown(now)
	require.Equal(t, in(time.Hour), r.OperatorFrom())
	r.CountUnknown(in(time.Minute))
	require.Equal(t, in(time.Hour), r.OperatorFrom(), "counted from the first one")
	r.CountUnknown(in(2 * time.Minute))
	require.Equal(t, now, r.OperatorFrom(), "now")
}

// A confirmed password that is not in force yet is no failure, for ten minutes after its request.
func TestSlowChangeIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	busy := provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget}
	last := sentFor + maxSlow - time.Nanosecond
	for name, c := range map[string]struct {
		situation string
		result    provider.Result
		after     time.Duration
		attempts  int
	}{
		"confirmed":        {"slow", provider.Result{Outcome: provider.Unknown, Confirmed: true}, 0, 0},
		"still":            {"slow", busy, last, 0},
		"for too long":     {"slow", busy, last + 1, 3},
		"throttled":        {"slow", provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection}, 0, 3},
		"unknown":          {"slow", provider.Result{Outcome: provider.Unknown}, 0, 3},
		"another password": {"unknown", busy, 0, 3},
	} {
		r := given(c.situation, unreachable(0))
		r.Failed(c.result, in(c.after), 4)
		require.Equal(t, c.attempts, r.Retry.Attempts, name)
		require.Equal(t, c.result.Outcome, r.Retry.Last.Class, name)
	}
}

// Failures that say the same are logged once.
func TestSameFailureIsRecognized(t *testing.T) {
	t.Parallel()
	first := Failure{Class: provider.Busy, Scope: provider.ScopeTarget, Code: "42", Reason: "busy", RequestID: "one", Time: now, Revision: 1}
	for name, c := range map[string]struct {
		change func(*Failure)
		same   bool
	}{
		"nothing":  {func(*Failure) {}, true},
		"class":    {func(f *Failure) { f.Class = provider.Unreachable }, false},
		"scope":    {func(f *Failure) { f.Scope = provider.ScopeConnection }, false},
		"code":     {func(f *Failure) { f.Code = "43" }, false},
		"reason":   {func(f *Failure) { f.Reason = "locked" }, false},
		"request":  {func(f *Failure) { f.RequestID = "two" }, true},
		"time":     {func(f *Failure) { f.Time = in(time.Hour) }, true},
		"revision": {func(f *Failure) { f.Revision = 2 }, true},
		"parts":    {func(f *Failure) { f.Parts = []provider.PartFailure{{Part: "a"}} }, true},
	} {
		other := first
		c.change(&other)
		require.Equal(t, c.same, first.Same(&other), name)
		require.Equal(t, c.same, other.Same(&first), name)
	}
	require.False(t, first.Same(nil))
	require.False(t, (*Failure)(nil).Same(&first))
	require.False(t, (*Failure)(nil).Same(nil))
}

func TestFailureIsReportedWithItsCode(t *testing.T) {
	t.Parallel()
	require.Equal(t, "the account is locked (1001)", (&Failure{Reason: "the account is locked", Code: "1001"}).String())
	require.Equal(t, "the account is locked", (&Failure{Reason: "the account is locked"}).String())
}

func TestFreezeIsOverAtItsEnd(t *testing.T) {
	t.Parallel()
	require.True(t, (*Freeze)(nil).Over(now))
	require.False(t, (&Freeze{Since: in(-time.Hour)}).Over(now), "an operator ends it")
	require.False(t, (&Freeze{Until: in(time.Nanosecond)}).Over(now))
	require.True(t, (&Freeze{Until: now}).Over(now))
	require.True(t, (&Freeze{Until: in(-time.Hour)}).Over(now))
}

// A stored failure may have no reason. A message made of it still says something.
func TestFailureIsNeverEmpty(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]Failure{
		"no reason is known":       {},
		"no reason is known (503)": {Code: "503"},
		"it is busy":               {Reason: "it is busy"},
		"it is busy (503)":         {Reason: "it is busy", Code: "503"},
	} {
		require.Equal(t, want, f.String())
	}
}

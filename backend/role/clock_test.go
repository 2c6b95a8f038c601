package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// A clock that was 90 days ahead stored the role in each situation. Its next step comes as if that had happened just now, and
// does not move on while the role waits for it.
func TestTimesInFutureCountFromNow(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	then := in(-90 * day)
	for situation := range situations {
		for name, env := range map[string]Env{"": {}, ", old password": {OldPassword: true}} {
			r := given(situation, due(day), failed(provider.Busy, provider.ScopeTarget, time.Minute))
			r.Refresh(then)
			step := r.Automatic(then, env)
			require.False(t, step.At.After(then.Add(day)), "%s%s: %v", situation, name, step)
			r.Options.MaxReadTTL = 0
			require.LessOrEqual(t, r.TTL(then, env), day, "%s%s", situation, name)

			r.Stored()
			later := then.Add(10 * time.Minute)
			before := *r
			r.SettlesAt = time.Time{} // it may settle in that time, which is another rule
			before.SettlesAt = time.Time{}
			r.Refresh(later)
			require.Equal(t, &before, r, "%s%s", situation, name)
		}
	}
}

func TestDueTimeInFutureIsCorrected(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, row := range map[string]struct {
		role *Role
		want time.Duration
		// ahead: the last rotation is recorded in the future.
		ahead bool
	}{
		"period":                {given("active", due(91*day)), day, true},
		"period, other clock":   {given("active", due(day+4*time.Minute)), day + 4*time.Minute, false},
		"period, not yet due":   {given("active", due(time.Hour)), time.Hour, false},
		"schedule":              {given("active", schedule(toCome, 90*day)), 3 * time.Hour, true},
		"schedule, not yet due": {given("active", schedule(toCome, 3*time.Hour)), 3 * time.Hour, false},
	} {
		if row.ahead {
			row.role.Record.Current.Since = in(90 * day)
			require.Equal(t, in(90*day), row.role.RotatedAhead(now), name)
		}
		row.role.Refresh(now)
		require.Equal(t, in(row.want), row.role.Due, name)
		require.Equal(t, row.ahead, row.role.derived, "%s: it is stored", name)
		require.Equal(t, row.ahead, !row.role.RotatedAhead(now).IsZero(), "%s: what was recorded stays", name)
		require.False(t, row.role.Options.DueAgain(row.role.Record.Current.Since, now).After(in(day)), "%s: the options are written", name)
	}
}

func TestUnknownOutcomeInFutureIsCorrected(t *testing.T) {
	t.Parallel()
	r := given("active", due(time.Hour))
	r.Retry.CountUnknown(in(90 * 24 * time.Hour))
	r.Refresh(now)
	require.Equal(t, in(time.Hour), r.Retry.OperatorFrom())
	require.True(t, r.derived, "it is stored")
}

package rotation

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestTTLIsNeverZeroAndOneReadFallsOnTheDueTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := now.Add
	active := credential.View{State: credential.StateActive}
	begun := credential.Record{Next: &credential.Next{Phase: credential.Unsent}}
	cases := []struct {
		name string
		role Role
		view credential.View
		want int
	}{
		{"by hand", Role{Options: Options{MaxReadTTL: 300}}, active, 300},
		{"by hand without bound", Role{}, active, 300},
		{"by hand with a short bound", Role{Options: Options{MaxReadTTL: 10}}, active, 10},
		{"due in a day, no bound", Role{Options: Options{RotationPeriod: 86400}, Due: at(24 * time.Hour)}, active, 86400},
		{"due in a day", Role{Options: Options{RotationPeriod: 86400, MaxReadTTL: 300}, Due: at(24 * time.Hour)}, active, 300},
		{"due in 301 s", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(301 * time.Second)}, active, 151},
		{"due in 10 s", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(10 * time.Second)}, active, 10},
		{"due in half a second", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(time.Second / 2)}, active, 1},
		{"overdue and not begun", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(-time.Hour)}, active, 5},
		{"overdue", Role{Record: begun, Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(-time.Hour)}, active, 5},
		{"overdue, next attempt in a minute", Role{Record: begun, Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(-time.Hour), Retry: Retry{NextAttempt: at(time.Minute)}}, active, 60},
		{"overdue, next attempt in an hour", Role{Record: begun, Options: Options{RotationPeriod: 600, MaxReadTTL: 300}, Due: at(-time.Hour), Retry: Retry{NextAttempt: at(time.Hour)}}, active, 300},
		{"uncertain", Role{Options: Options{MaxReadTTL: 300}, Retry: Retry{NextAttempt: at(42 * time.Second)}}, credential.View{State: credential.StateUncertain}, 42},
		{"uncertain, attempt at once", Role{Options: Options{MaxReadTTL: 300}}, credential.View{State: credential.StateUncertain}, 5},
		{"uncertain and paused", Role{Options: Options{MaxReadTTL: 60, Disabled: true}}, credential.View{State: credential.StateUncertain}, 60},
		{"paused", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 60, Disabled: true}, Due: at(10 * time.Second)}, active, 60},
		{"waits for a restart", Role{Options: Options{RotationPeriod: 600, MaxReadTTL: 60}, Due: at(-time.Hour)}, credential.View{State: credential.StateRestartRequired}, 60},
	}
	for _, c := range cases {
		require.Equal(t, time.Duration(c.want)*time.Second, ttl(&c.role, c.view, now, false), c.name)
	}
	for remaining := 1; remaining < 5000; remaining += 7 {
		for _, bound := range []int{0, 10, 60, 300} {
			role := Role{Options: Options{RotationPeriod: 10000, MaxReadTTL: bound}, Due: at(time.Duration(remaining) * time.Second)}
			got := int(ttl(&role, active, now, false).Seconds())
			require.GreaterOrEqual(t, got, 1)
			if bound > 0 {
				require.LessOrEqual(t, got, bound)
				parts := int(math.Ceil(float64(remaining) / float64(bound)))
				require.GreaterOrEqual(t, parts*got, remaining, "the last of the reads is not before the due time")
				require.Less(t, (parts-1)*got, remaining, "and the one before it is")
			}
		}
	}
}

func TestPeriodIsThereForEveryKindOfSchedule(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		options Options
		want    int
	}{
		{Options{RotationPeriod: 86400}, 86400},
		{Options{RotationSchedule: "0 3 * * *"}, 86400},
		{Options{RotationSchedule: "0 3 * * 6"}, 7 * 86400},
		{Options{RotationSchedule: "*/5 * * * *"}, 300},
		{Options{MaxReadTTL: 60}, 60},
		{Options{}, 300},
	} {
		require.Equal(t, c.want, c.options.Period(now), "%+v", c.options)
	}
}

func TestDueTimesAreInUTCAndStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule = "30 3 * * *" })
		due := r.role().Due
		require.Equal(t, time.UTC, due.Location())
		require.Equal(t, [2]int{3, 30}, [2]int{due.Hour(), due.Minute()})
		changed := options()
		changed.RotationPeriod = 3600
		_, err := r.engine.Update(t.Context(), r.storage, "role", func(*Role) (Options, provider.Settings, error) { return changed, nil, nil })
		require.NoError(t, err)
		require.Equal(t, r.role().Record.Current.Since.Add(time.Hour), r.role().Due, "counted from the last rotation")
		require.Equal(t, 1, r.remote.count(), "a changed schedule causes no rotation")
	})
}

func TestAScheduleIsFiveFieldsAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, schedule := range []string{"TZ=UTC", "CRON_TZ=UTC", "TZ=Asia/Tokyo 0 0 * * *", "@daily", "@every 1h", "0 0 * *", "0 0 0 * * *", "x", "61 0 * * *", "0 0 30 2 *"} {
		require.Error(t, Options{RotationSchedule: schedule}.validateSchedule(), schedule)
	}
	for _, schedule := range []string{"0 0 * * *", "*/5 1-3 1,15 JAN-DEC MON", "0 0 29 2 *", "0 0 ? * SAT"} {
		require.NoError(t, Options{RotationSchedule: schedule}.validateSchedule(), schedule)
	}
}

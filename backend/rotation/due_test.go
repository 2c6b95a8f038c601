package rotation

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// period makes the role "role" with a rotation_period.
func (r *rig) period(d time.Duration, change func(*Options)) {
	r.Helper()
	r.mustCreate(func(in *NewRole) {
		in.Options.RotationPeriod = int(d / time.Second)
		if change != nil {
			change(&in.Options)
		}
	})
}

// update changes the role's options.
func (r *rig) updates(change func(*Options)) {
	r.Helper()
	_, err := r.engine.Update(r.Context(), r.storage, "role", func(role *Role) (Options, provider.Settings, error) {
		options := role.Options
		change(&options)
		return options, nil, nil
	})
	require.NoError(r, err)
}

func (r *rig) version() int {
	r.Helper()
	return r.read().Password.Version
}

func (r *rig) serve() *Report {
	r.Helper()
	report, err := r.engine.Serve(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return report
}

func TestAPasswordThatIsDueIsChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		after(time.Hour - time.Second)
		require.Equal(t, 1, r.version(), "not before")
		r.storage.reset()
		after(time.Second)
		require.Equal(t, 2, r.version())
		gets, puts, lists, deletes := r.storage.operations()
		require.Equal(t, []int{2, 2, 0, 0}, []int{gets, puts, lists, deletes}, "one read by the engine, one by this test, and two writes")
		require.Equal(t, reasonDue, r.role().Record.Current.Reason)
		require.Len(t, r.log.lines("trigger=schedule"), 1)
		for range 10 {
			after(time.Hour)
		}
		require.Equal(t, 12, r.version())
		r.held()
	})
}

func TestARotationByHandMovesTheNextDueTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		after(40 * time.Minute)
		_, err := r.rotate()
		require.NoError(t, err)
		after(59 * time.Minute)
		require.Equal(t, 2, r.version())
		after(time.Minute)
		require.Equal(t, 3, r.version())
	})
}

func TestAnotherPeriodIsCountedFromTheLastRotationAndNeverCausesOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(24*time.Hour, nil)
		after(150 * time.Minute)
		r.updates(func(o *Options) { o.RotationPeriod = 3600 })
		after(29 * time.Minute)
		require.Equal(t, 1, r.version(), "it would have been due after one hour, and after two")
		after(time.Minute)
		require.Equal(t, 2, r.version(), "three hours after the last rotation")
		r.updates(func(o *Options) { o.RotationPeriod = 0 })
		after(100 * time.Hour)
		require.Equal(t, 2, r.version(), "by hand")
		r.updates(func(o *Options) { o.RotationPeriod = 3600 })
		after(59 * time.Minute)
		require.Equal(t, 2, r.version())
		after(time.Minute)
		require.Equal(t, 3, r.version())
		r.updates(func(o *Options) { o.RotationPeriod, o.RotationSchedule = 0, "0 0 * * *" }) // the bubble's time began at midnight
		due := r.role().Due
		r.updates(func(o *Options) { o.MaxReadTTL = 60 })
		require.Equal(t, due, r.role().Due, "another option moves nothing")
		r.restart()
		require.Equal(t, due, r.role().Due)
		after(24 * time.Hour)
		require.Equal(t, 4, r.version())
	})
}

func TestARoleOnHoldIsNotChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, func(o *Options) { o.Disabled = true })
		after(5 * time.Hour)
		require.Equal(t, 1, r.version())
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "disable_automated_rotation is set")
		require.True(t, status.Next.IsZero())
		r.updates(func(o *Options) { o.Disabled = false })
		after(10 * time.Second) // the request may still have the role
		require.Equal(t, 2, r.version(), "whoever lets it go on wants what is due")
	})
}

func TestWhatFailsIsTriedAgainAndTheRoleStaysDue(t *testing.T) {
	for name, result := range map[string]provider.Result{
		"it is busy":                {Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"},
		"it refuses passwords":      {Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too weak"},
		"it cannot be reached":      {Outcome: provider.Unreachable, Reason: "no route"},
		"it refuses the account":    {Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"},
		"its answers are lost":      unknown,
		"it refuses for this alone": {Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no right to it"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.period(time.Hour, nil)
				r.remote.set(always(result, false))
				after(time.Hour + time.Second)
				calls := r.remote.count()
				require.Greater(t, calls, 1, "it was tried")
				after(5 * time.Hour)
				require.Greater(t, r.remote.count(), calls, "and again")
				require.Less(t, r.remote.count(), calls+60, "with growing distances")
				require.Equal(t, 1, r.version())
				status, err := r.engine.Explain(t.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Contains(t, status.Reason, "It is due since 2000-01-01T01:00:00Z")
				require.False(t, status.Next.IsZero())
				require.LessOrEqual(t, r.serve().TTL, 5*time.Minute)
				r.remote.set(nil)
				after(2 * time.Hour)
				require.Greater(t, r.version(), 1)
				require.Equal(t, credential.StateActive, r.read().State)
				r.held()
			})
		})
	}
}

func TestAChangeBeginsInsideItsWindowOnly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) { // which begins at midnight
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule, in.Options.RotationWindow = "0 3 * * *", 3600 })
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "no route"}, false))
		after(3*time.Hour - time.Second)
		require.Equal(t, 1, r.remote.count())
		after(time.Hour)
		tried := r.remote.count()
		require.Greater(t, tried, 3)
		after(2 * time.Second) // 04:00:01
		tried = r.remote.count()
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "It is due since 2000-01-01T03:00:00Z, and has missed its window of 3600 seconds: the next one opens at 2000-01-02T03:00:00Z.")
		require.Equal(t, "2000-01-02T03:00:00Z", stamp(status.Next))
		r.remote.set(nil)
		after(22*time.Hour + 59*time.Minute + 50*time.Second)
		require.Equal(t, tried, r.remote.count(), "nothing is begun outside")
		after(20 * time.Second)
		require.Equal(t, 2, r.version())

		// What was begun is finished outside too: nobody knows which password works.
		r.remote.set(always(unknown, true))
		after(24 * time.Hour)
		require.Equal(t, credential.StateUncertain, r.read().State)
		after(2 * time.Hour)
		tried = r.remote.count()
		after(5 * time.Hour)
		require.Greater(t, r.remote.count(), tried)
		// And what a person asks for is done at any time.
		r.remote.set(nil)
		after(2 * time.Hour)
		version := r.version()
		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, version+1, r.version())
	})
}

func TestALateReaderIsToldTheNextWindow(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) {
			in.Options.RotationSchedule, in.Options.RotationWindow, in.Options.MaxReadTTL = "0 3 * * *", 3600, 0
		})
		r.engine.Stop()
		after(5 * time.Hour)
		r.start()
		after(2 * time.Minute)
		require.Equal(t, 1, r.version(), "the window was missed")
		require.Equal(t, 22*time.Hour-2*time.Minute, r.serve().TTL)
	})
}

func TestARoleStoredWithoutADueTimeGetsOneAndIsNotChangedForIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		role := r.role()
		r.engine.Stop()
		role.Due = time.Time{}
		require.NoError(t, store{r.storage}.putRole(t.Context(), role))
		after(150 * time.Minute)
		r.start()
		after(2 * time.Minute)
		require.Equal(t, 1, r.version())
		after(27 * time.Minute)
		require.Equal(t, 1, r.version())
		after(time.Minute + time.Second)
		require.Equal(t, 2, r.version(), "three hours after the last rotation")
	})
}

func TestAPasswordPolicyThatFailsIsSaid(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var gone atomic.Bool
		r.policy = func(string) (string, error) {
			if gone.Load() {
				return "", errors.New("no such policy")
			}
			return "Fits0fits0fits0fits0", nil
		}
		r.period(time.Hour, func(o *Options) { o.PasswordPolicy = "mine" })
		gone.Store(true)
		after(2 * time.Hour)
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "mine")
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class)
		require.Equal(t, 1, r.remote.count())
		gone.Store(false)
		after(2 * time.Hour)
		require.Greater(t, r.version(), 1)
	})
}

func TestADueChangeOfAPausedConnectionWaitsForIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		r.other()
		r.pauses()
		after(3 * time.Hour)
		require.Equal(t, 1, r.version())
		r.remote.set(nil)
		r.remote.checksAs(provider.Result{Outcome: provider.Applied})
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}}))
		after(2 * time.Hour)
		require.Greater(t, r.version(), 1)
	})
}

func TestTheWindowOfATime(t *testing.T) {
	t.Parallel()
	at := func(clock string) time.Time {
		v, err := time.Parse(time.RFC3339, "2026-03-"+clock+":00Z")
		require.NoError(t, err)
		return v
	}
	nightly := Options{RotationSchedule: "0 3 * * *", RotationWindow: 7200}
	for _, c := range []struct {
		options        Options
		due, now, want string
	}{
		{nightly, "02T03:00", "01T12:00", "02T03:00"},
		{nightly, "02T03:00", "02T04:00", "02T04:00"},
		{nightly, "02T03:00", "02T05:00", "02T05:00"},
		{nightly, "02T03:00", "02T05:01", "03T03:00"},
		{nightly, "02T12:00", "02T11:00", "03T03:00"}, // by a read
		{nightly, "02T04:30", "02T01:00", "02T04:30"}, // an attempt
		{nightly, "02T03:00", "09T02:59", "09T03:00"},
		{Options{RotationSchedule: "0 3 * * *"}, "02T03:00", "02T12:00", "02T03:00"},
		{Options{RotationPeriod: 60}, "02T03:00", "02T12:00", "02T03:00"},
	} {
		got, ok := c.options.inWindow(at(c.due), at(c.now))
		require.True(t, ok)
		require.Equal(t, at(c.want), got, "%v", c)
	}
	_, ok := Options{RotationSchedule: "0 0 30 2 *", RotationWindow: 3600}.inWindow(at("02T03:00"), at("02T12:00"))
	require.False(t, ok)
}

package rotation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestTheHealthOfAMountIsToldWithoutStorage(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for i := range 6 {
			name := fmt.Sprintf("role%d", i)
			r.mustCreate(func(in *NewRole) {
				in.Name, in.Target = name, provider.Settings{"login": name}
				in.Options.RotationPeriod = 3600 * (i + 1)
				in.Options.Disabled = i == 0
			})
		}
		health := func() Health {
			r.storage.reset()
			h := r.engine.Health()
			gets, puts, lists, deletes := r.storage.operations()
			require.Zero(t, gets+puts+lists+deletes)
			return h
		}
		h := health()
		require.True(t, h.Complete)
		require.Equal(t, 6, h.Roles)
		require.Equal(t, map[credential.State]int{credential.StateActive: 6}, h.States)
		require.Equal(t, 6, h.Providers["remote"][credential.StateActive])
		require.Equal(t, Dated{"role1", time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)}, h.NextDue, "role0 is on hold")
		require.Equal(t, 1, h.OnHold)
		require.Zero(t, h.Overdue+h.Failing+h.PersonsNeeded)

		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}, false))
		after(3*time.Hour + time.Second)
		h = health()
		require.Equal(t, 2, h.Overdue)
		require.Equal(t, Dated{"role1", time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)}, h.OldestOverdue)
		require.Equal(t, "role3", h.NextDue.Role)
		require.Equal(t, 2, h.Failing)
		require.Equal(t, 2, h.PersonsNeeded)
		require.Equal(t, "role1", h.NeedPerson[0].Role)
		require.Contains(t, h.NeedPerson[0].Sentence, "no such account")
		r.restart()
		again := health()
		require.Equal(t, h, again, "it is the same after a start")

		r.remote.refuseCredential()
		after(2 * time.Hour)
		h = health()
		require.Len(t, h.Paused, 1)
		require.Equal(t, "conn", h.Paused[0].Connection)
		r.remote.set(nil)
		r.remote.checksAs(provider.Result{Outcome: provider.Applied})
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}}))
		after(3 * time.Hour)
		h = health()
		require.Empty(t, h.Paused)
		require.Zero(t, h.Overdue+h.Failing+h.PersonsNeeded)
		for i := range 6 {
			require.NoError(t, r.engine.Delete(t.Context(), r.storage, fmt.Sprintf("role%d", i), true))
		}
		h = health()
		require.Zero(t, h.Roles)
		require.Empty(t, h.States)
		require.Empty(t, h.NextDue.Role)
	})
}

// It has to be told apart who is late since something went wrong, and who just waits.
func TestWhoWaitsDoesNotFailAndIsNotOverdue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		r.remote.set(always(provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart}, false))
		_, err := r.rotate()
		require.NoError(t, err)
		after(2 * time.Hour)
		h := r.engine.Health()
		require.Zero(t, h.Overdue, "it is held until the servers restart")
		require.Equal(t, 1, h.PersonsNeeded, "which is told of")
		r.mustCreate(func(in *NewRole) { in.Name, in.Target = "other", provider.Settings{"login": "other"} })

		r.remote.set(always(unknown, false))
		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.NoError(t, err)
		require.Equal(t, 1, r.engine.Health().Failing)
	})
}

func TestWhatIsLateIsCountedAsByLookingAtEach(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var b board
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		late, oldest, next := 0, time.Time{}, time.Time{}
		for i := range random.IntN(60) {
			at := now.Add(time.Duration(random.IntN(200)-100) * time.Minute)
			role := &Role{Name: fmt.Sprint(i), Provider: "remote"}
			b.set(role, credential.StateActive, instantOf(now), "")
			b.set(role, credential.StateActive, instantOf(at), "")
			switch {
			case at.After(now):
				if next.IsZero() || at.Before(next) {
					next = at
				}
			default:
				late++
				if oldest.IsZero() || at.Before(oldest) {
					oldest = at
				}
			}
		}
		h := b.health(now)
		require.Equal(t, late, h.Overdue)
		require.Equal(t, oldest, h.OldestOverdue.Time)
		require.Equal(t, next, h.NextDue.Time)
	}
}

func TestAFailureThatRepeatsItselfIsLoggedAtGrowingDistances(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "no route"}, false))
		after(48 * time.Hour)
		require.Greater(t, r.role().Retry.Attempts, 32)
		require.Less(t, len(r.log.lines("password not changed")), 8)
		require.Contains(t, r.log.lines("password not changed")[0], "role=role connection=conn provider=remote trigger=schedule attempt=1 outcome=unreachable")
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "another reason"}, false))
		after(2 * time.Hour)
		require.NotEmpty(t, r.log.lines("another reason"), "a change is logged")
	})
}

func TestARoleThatAdoptsItsAccountIsChangedWhenItIsDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) {
			in.Options.SkipInitialRotation, in.Options.RotationPeriod, in.Password = true, 3600, "Present0present0"
		})
		require.Zero(t, r.remote.count())
		after(time.Hour)
		require.Equal(t, 2, r.version())
	})
}

// What the start reads of a role may be old when somebody works on it: whoever comes after that tells how it stands.
func TestARoleThatIsWorkedOnAtTheStartIsLookedAtAfterwards(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		r.engine.Stop()
		r.engine = New(Config{Types: []provider.Type{r.remote}, Policies: r})
		unlock := r.engine.locks.try("role")
		r.engine.Start(r.storage)
		after(time.Minute)
		require.Zero(t, r.engine.Health().Roles)
		unlock()
		after(10 * time.Second)
		require.Equal(t, 1, r.engine.Health().Roles)
		after(time.Hour)
		require.Equal(t, 2, r.version())
	})
}

func TestTheHealthOfAMountSaysWhetherAllRolesWereRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.engine.Stop()
		r.storage.failing(func(operation, key string) error {
			if operation == "get" && key == rolePrefix+"role" {
				return errors.New("gone")
			}
			return nil
		})
		r.start()
		require.False(t, r.engine.Health().Complete)
		r.storage.failing(nil)
		after(sweepEvery)
		r.engine.Wake()
		synctest.Wait()
		require.True(t, r.engine.Health().Complete)
		require.Equal(t, 1, r.engine.Health().Roles)
	})
}

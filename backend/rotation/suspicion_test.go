package rotation

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAWrongCredentialThatAPersonTriesHoldsNoRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		l.breaks(true)
		err := r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "mistyped"}})
		require.Equal(t, KindMistake, kindOf(t, err))
		l.breaks(false) // the stored one has worked all the time
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
	})
}

func TestARefusalOnOneConnectionHoldsNoOtherThatShowsTheSameCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		url := "https://remote.example"
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "same", Patch{
			Provider: ptr("remote"), Address: &url, AllowedRoles: &[]string{"*"}, Settings: provider.Settings{"key": "key"},
		}))
		r.roles("role")
		r.mustCreate(func(in *NewRole) {
			in.Name, in.Connection, in.Target = "other", "same", provider.Settings{"login": "other"}
		})
		l.breaks(true)
		_, err := r.rotate()
		require.Error(t, err)
		l.breaks(false)
		_, err = r.rotate()
		require.ErrorContains(t, err, "paused")
		require.NoError(t, r.all("other")[0])
	})
}

func TestACredentialThatIsWrittenOnceMoreUncheckedGetsOneTry(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		unchecked := Patch{VerifyConnection: ptr(false), Settings: provider.Settings{"key": "key"}}
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		r.roles("role")
		l.breaks(true)
		_, err := r.rotate()
		require.Error(t, err)
		after(24 * time.Hour)
		_, err = r.rotate()
		require.ErrorContains(t, err, "write it once more")
		shown, _ := l.looked()
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		after(24 * time.Hour)
		now, _ := l.looked()
		require.Equal(t, shown+1, now)
		l.breaks(false)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		after(time.Minute)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

// Storage says then that calls may have been refused, of which more may be made in time; the process knows better.
func TestRefusalsCountThatCannotBeStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		r.restart()
		l.breaks(true)
		writes := 0
		r.storage.failing(func(operation, key string) error {
			if operation == "put" && strings.HasPrefix(key, guardPrefix) {
				if writes++; writes%2 == 0 { // that what came of a call is stored after it was counted
					return errors.New("storage is out of order")
				}
			}
			return nil
		})
		_, err := r.rotate()
		require.Error(t, err)
		after(48 * time.Hour)
		_, most := l.looked()
		require.LessOrEqual(t, most, 4)
		require.GreaterOrEqual(t, most, 2)
	})
}

// Its own refusal counts for the remote system too, though a person has given another credential since.
func TestAWrongTryOfAPersonCountsWhereTheNextCredentialIsStoredUnchecked(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		roles := many(3)
		r.roles(roles...)
		l.slowly()
		l.breaks(true)
		require.Error(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "mistyped"}}))
		unchecked := Patch{VerifyConnection: ptr(false), Settings: provider.Settings{"key": "another"}}
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		r.crash(roles[0])
		r.crash(roles[1])
		require.Error(t, r.all(roles[2])[0])
		_, most := l.looked()
		require.Equal(t, 4, most)
	})
}

// A call that is under way when the engine dies is refused without anybody's seeing it. Until the remote system may have
// forgotten the first of them, no more are made than it takes.
func TestRefusalsThatNobodySawAreCounted(t *testing.T) {
	for range 10 { // how many calls are under way in a crash is chance
		inFakeTime(t, func(t *testing.T, r *rig) {
			l := r.locks(false)
			roles := many(8)
			r.roles(roles...)
			l.slowly()
			l.breaks(true)
			for range 12 {
				r.crash(roles...)
			}
			_, most := l.looked()
			require.LessOrEqual(t, most, 4)
			require.GreaterOrEqual(t, most, 3, "calls were under way")
		})
	}
}

func TestARefusalThatCouldNotBeCheckedCountsOn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		l.breaks(true)
		var down atomic.Bool
		down.Store(true)
		r.storage.failing(func(_, key string) error {
			if down.Load() && strings.HasPrefix(key, guardPrefix) {
				return errors.New("storage is out of order")
			}
			return nil
		})
		checks := r.remote.checked()
		_, err := r.rotate()
		require.Error(t, err)
		require.Equal(t, checks, r.remote.checked(), "a try that cannot be counted is not made")
		down.Store(false)
		after(48 * time.Hour)
		_, most := l.looked()
		require.Equal(t, 4, most)
	})
}

// A proxy in between may turn each refusal into an answer that says nothing.
func TestRefusalsWhoseAnswersAreLostCountWhereTheCredentialHasWorked(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("session %v", session), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				l := r.locks(session)
				roles := many(6)
				r.roles(roles...)
				l.slowly()
				l.breaks(true)
				l.hides(3)
				for _, role := range roles {
					if session { // one logs in for all
						r.all(role)
					}
				}
				r.all(roles...)
				after(scaled(firstProbe) - time.Minute)
				_, most := l.looked()
				require.LessOrEqual(t, most, 4)
				require.GreaterOrEqual(t, most, 3)
				l.breaks(false)
				after(2 * time.Hour)
				for _, name := range roles {
					_, err := r.engine.Rotate(t.Context(), r.storage, name, 0)
					require.NoError(t, err, "what nobody saw stops nothing for good")
				}
			})
		})
	}
}

func TestWhileARefusedCredentialIsCheckedNoOtherRoleShowsIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		roles := many(8)
		r.roles(roles...)
		shown, _ := l.looked()
		l.slowly()
		l.breaks(true)
		for _, err := range r.all(roles...) {
			require.Error(t, err)
		}
		now, _ := l.looked()
		require.LessOrEqual(t, now-shown, 3, "those that were under way together, and the check")
	})
}

package rotation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// A credential is not locked, however many requests use it when it stops working, and however long it stays refused.
func TestFailingCredentialIsNeverLocked(t *testing.T) {
	for name, session := range map[string]bool{"a key in each call": false, "a login for a token": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 100 }})
				l := r.lockable(session)
				roles := roleNames(20)
				r.createRoles(roles...)
				l.setSlow(!session)
				l.setWrong(true)
				for _, err := range r.rotateAll(roles...) {
					require.Error(t, err)
				}
				advance(30 * day)
				l.requireUnlocked()
				uses, most := l.counts()
				require.GreaterOrEqual(t, most, 2, "a change and a check")
				for range 10 {
					r.restart()
					require.ErrorContains(t, r.rotateAll("role0")[0], "write it with force=true")
				}
				l.requireUnlocked()

				l.setWrong(false)
				l.setSlow(false)
				advance(day)
				now, _ := l.counts()
				require.Equal(t, uses, now, "it is used again only when an operator writes it")
				require.Equal(t, problem.KindMistake, kindOf(t, r.writeConn(withKey("key"))))
				r.mustWriteConn(forced("key"))
				advance(time.Minute)
				changed := 0
				for _, role := range roles {
					report, err := r.engine.Read(t.Context(), r.storage, role)
					require.NoError(t, err)
					require.Equal(t, r.remote.password(role), report.View.Password.Value)
					changed += report.View.Password.Version - 1
				}
				require.GreaterOrEqual(t, changed, 1, "roles whose change was denied continue")
			})
		})
	}
}

// The refusal of a call that runs during a crash is not seen. It counts until the remote system may have forgotten it.
func TestUnseenRefusalsAreCounted(t *testing.T) {
	for name, row := range map[string]struct {
		slow  bool
		after time.Duration
		times int // the number of calls that run during a crash varies
	}{
		"of quick changes": {after: 2 * day, times: 1},
		"of slow changes":  {slow: true, times: 10},
	} {
		t.Run(name, func(t *testing.T) {
			for range row.times {
				inFakeTime(t, func(t *testing.T, r *rig) {
					l := r.lockable(false)
					roles := roleNames(8)
					r.createRoles(roles...)
					l.setSlow(row.slow)
					l.setWrong(true)
					for range 12 {
						r.crash(roles...)
					}
					advance(row.after)
					l.requireUnlocked()
					if _, most := l.counts(); row.slow {
						require.GreaterOrEqual(t, most, 3, "calls ran during the crashes")
					}
				})
			}
		})
	}
}

func TestCrashesDoNotBlockWorkingCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("role")
		l.setSlow(true)
		for range 12 {
			r.crash("role")
		}
		advance(timing.Scaled(6*time.Minute) + time.Hour)
		require.Equal(t, r.remote.password("role"), r.read().Password.Value)
		r.mustRotate() // a crash may have left another password, which only a second change overtakes for certain
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.password("role"), r.read().Password.Value)
	})
}

func TestConnectionsShareAttemptsOfCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		for _, name := range []string{"second", "third"} {
			r.createConnection(name, "key")
			r.createAs(name, func(in *NewRole) { in.Connection = name })
		}
		r.createRoles("role", "other")
		l.setSlow(true)
		l.setWrong(true)
		for range 5 {
			for _, err := range r.rotateAll("role", "second", "third", "other") {
				require.Error(t, err)
			}
		}
		advance(day)
		l.requireUnlocked()
	})
}

func TestRefusalBlocksNoOtherConnectionOfCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createConnection("same", "key")
		r.createRoles("role")
		r.createAs("other", func(in *NewRole) { in.Connection = "same" })
		l.setWrong(true)
		r.rotateFails(problem.KindUnreachable)
		l.setWrong(false)
		require.Contains(t, r.rotateFails(problem.KindBusy), "paused")
		require.NoError(t, r.rotateOther())
	})
}

func TestFewCallsAtOnceUseWorkingCredential(t *testing.T) {
	for session, want := range map[bool]int{false: 2, true: 4} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.lockable(session)
			roles := roleNames(12)
			r.createRoles(roles...)
			overlap := r.remote.countOverlap(aSecond)
			for _, err := range r.rotateAll(roles...) {
				require.NoError(t, err)
			}
			require.Equal(t, want, overlap.highest(), "session: %v; max_in_flight is 4", session)
		})
	}
}

// Until a call has worked, the credential may be wrong.
func TestFirstCallAfterStartRunsAlone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		roles := roleNames(6)
		r.createRoles(roles...)
		l.setSlow(true)
		r.restart()
		go r.rotateAll(roles...)
		advance(900 * time.Millisecond)
		require.Equal(t, 7, r.remote.changeCount(), "six first passwords and one call")
		advance(time.Second)
		require.Equal(t, 9, r.remote.changeCount(), "it worked, so two calls run at once")
		advance(10 * time.Second)
	})
}

func TestCheckOfRefusedCredentialRunsAlone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		roles := roleNames(8)
		r.createRoles(roles...)
		before, _ := l.counts()
		l.setSlow(true)
		l.setWrong(true)
		for _, err := range r.rotateAll(roles...) {
			require.Error(t, err)
		}
		uses, _ := l.counts()
		require.LessOrEqual(t, uses-before, 3, "the calls that ran together, and the check")
	})
}

func TestCountingIsFreeForWorkingCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.lockable(false)
		r.createRoles("role")
		r.restart()
		r.mustRotate()
		r.storage.reset()
		r.mustRotate()
		require.Equal(t, counts{gets: 1, puts: 2}, r.storage.counts())
	})
}

// A call that does not get through is not refused.
func TestOutageSpendsNoAttempts(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.lockable(false)
		r.createRoles("role")
		r.restart()
		r.remote.fail(provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: "no connection"})
		r.rotateFails(problem.KindUnreachable)
		advance(day)
		require.Greater(t, r.remote.changeCount(), 20)
		stored := r.attempts("key")
		require.Equal(t, []int{0, 2}, []int{stored.Refused, stored.Unanswered}, "as before: two calls may have been running")
		r.remote.succeed()
		advance(2 * time.Hour)
		require.Equal(t, 2, r.version())
	})
}

// Lost answers may have been refusals. The engine continues slowly.
func TestLostAnswersAfterStartAreRetriedSlowly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.lockable(false)
		r.createRoles("role")
		r.restart()
		calls := r.remote.changeCount()
		r.remote.fail(unknown)
		r.remote.answerCheck(unknown)
		r.mustRotate()
		advance(time.Hour)
		require.LessOrEqual(t, r.remote.changeCount()-calls, 2)
		r.remote.acceptCredential()
		advance(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, r.version())
	})
}

// A proxy may turn each refusal into a meaningless answer.
func TestLostRefusalsOfProvedCredentialCount(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("session=%t", session), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				l := r.lockable(session)
				roles := roleNames(6)
				r.createRoles(roles...)
				l.setSlow(true)
				l.setWrong(true)
				l.loseRefusals(3)
				for _, role := range roles {
					if session { // concurrent calls share one login
						r.rotateAll(role)
					}
				}
				r.rotateAll(roles...)
				advance(timing.Scaled(6*time.Minute) - time.Minute)
				l.requireUnlocked()
				_, most := l.counts()
				require.GreaterOrEqual(t, most, 3)
				l.setWrong(false)
				advance(2 * time.Hour)
				for _, name := range roles {
					require.NoError(t, r.rotateAll(name)[0], "unseen refusals block nothing for good")
				}
			})
		})
	}
}

// A call that works does not end the count of refusals that came after it, though its answer arrives later than they do.
func TestLateSuccessDoesNotResetRefusals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("slow", "quick", "third")
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			l.remote.mu.Lock()
			result := l.look()
			l.remote.mu.Unlock()
			if c.Target.Username == "slow" {
				time.Sleep(2 * time.Second) // the credential has been checked, the answer is on its way
			}
			return result, result.Outcome == provider.Applied
		})
		go r.rotateAll("slow")
		advance(time.Second)
		l.setWrong(true)
		require.Error(t, r.rotateAll("quick")[0])
		for range 10 {
			advance(day)
			require.Error(t, r.rotateAll("third")[0])
			r.restart()
		}
		_, most := l.counts()
		require.Equal(t, 4, most, "one less than locks it")
	})
}

// Refusals whose answers are lost count, however long the engine has been running: the remote system remembers them.
func TestLostAnswersCountLongAfterStart(t *testing.T) {
	for _, running := range []time.Duration{0, day} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			l := r.lockable(false)
			roles := roleNames(6)
			r.createRoles(roles...)
			l.setSlow(true)
			advance(running)
			l.setWrong(true)
			l.loseRefusals(3)
			r.rotateAll(roles...)
			advance(5 * time.Minute)
			l.requireUnlocked()
			_, most := l.counts()
			require.GreaterOrEqual(t, most, 3)
			l.setWrong(false)
			advance(2 * time.Hour)
			for _, err := range r.rotateAll(roles...) {
				require.NoError(t, err)
			}
		})
	}
}

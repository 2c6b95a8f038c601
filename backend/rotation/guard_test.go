package rotation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// lock is a remote system that locks its credential at the fifth refusal in a row.
type lock struct {
	*rig
	// wrong: the credential is refused.
	wrong bool
	// refused in a row, and the most that ever were; shown is how often the credential was shown.
	refused, most, shown int
	refusedAt            time.Time
	// hidden are the next refusals whose answers are lost.
	hidden int
	// during is called while a change is under way, before the credential is looked at.
	during func()
}

// locks lets the remote system of a rig lock its credential.
func (r *rig) locks(session bool) *lock {
	l := &lock{rig: r}
	r.remote.lockout = provider.Lockout{Credential: "remote|key", Refusals: 5, Session: session}
	r.engine.connections.drop("conn")
	r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
		l.remote.mu.Lock()
		during := l.during
		l.remote.mu.Unlock()
		if during != nil {
			during()
		}
		l.remote.mu.Lock()
		defer l.remote.mu.Unlock()
		if l.wrong && l.remote.lockout.Session && time.Since(l.refusedAt) < time.Second {
			return refusedCredential, false // one logs in for all, and a refused one is not shown again by each
		}
		result := l.look()
		return result, result.Outcome == provider.Applied
	})
	r.remote.check = l.look
	return l
}

// look looks at the credential; remote.mu is held.
func (l *lock) look() provider.Result {
	l.shown++
	if !l.wrong {
		l.refused = 0
		return provider.Result{Outcome: provider.Applied}
	}
	l.refused++
	l.most = max(l.most, l.refused)
	if l.hidden > 0 {
		l.hidden--
		if l.remote.lockout.Session {
			return provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Unseen: true, Reason: "no session"}
		}
		return unknown
	}
	l.refusedAt = time.Now()
	return refusedCredential
}

var refusedCredential = provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "1001", Reason: "wrong password"}

// breaks: somebody changes the credential elsewhere, or changes it back.
func (l *lock) breaks(wrong bool) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.wrong = wrong
}

// hides lets the answers to the next refusals be lost.
func (l *lock) hides(n int) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.hidden = n
}

// slowly lets each change take a second.
func (l *lock) slowly() {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.during = func() { time.Sleep(time.Second) }
}

func (l *lock) looked() (shown, most int) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	return l.shown, l.most
}

// roles makes roles of those names.
func (r *rig) roles(names ...string) {
	r.Helper()
	for _, name := range names {
		r.mustCreate(func(in *NewRole) { in.Name, in.Target = name, provider.Settings{"login": name} })
	}
}

// all rotates the roles at the same time, and returns their errors.
func (r *rig) all(names ...string) []error {
	answers := make(chan error, len(names))
	for _, name := range names {
		go func() {
			_, err := r.engine.Rotate(r.Context(), r.storage, name, 0)
			answers <- err
		}()
	}
	errs := make([]error, 0, len(names))
	for range names {
		errs = append(errs, <-answers)
	}
	return errs
}

func many(n int) []string {
	names := make([]string, 0, n)
	for i := range n {
		names = append(names, fmt.Sprintf("role%d", i))
	}
	return names
}

// However many requests want to be made when a credential stops working, and however long it stays so.
func TestACredentialThatStopsWorkingIsNeverLocked(t *testing.T) {
	for name, session := range map[string]bool{"a key that each call shows": false, "a user who logs in for a token": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(100)}))
				l := r.locks(false)
				r.remote.lockout.Session = session
				roles := many(20)
				r.roles(roles...)
				if !session {
					l.slowly()
				}
				l.breaks(true)
				for _, err := range r.all(roles...) {
					require.Error(t, err)
				}
				after(30 * 24 * time.Hour)
				_, most := l.looked()
				require.LessOrEqual(t, most, 4)
				require.GreaterOrEqual(t, most, 2, "a failure and a check")
				for range 10 {
					r.restart()
					require.ErrorContains(t, r.all("role0")[0], "write it once more")
				}
				shown, most := l.looked()
				require.LessOrEqual(t, most, 4, "over restarts too")

				l.breaks(false)
				r.remote.mu.Lock()
				l.during = nil
				r.remote.mu.Unlock()
				after(24 * time.Hour)
				now, _ := l.looked()
				require.Equal(t, shown, now, "it waits for a person")
				require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "key"}}))
				after(time.Minute)
				changed := 0
				for _, role := range roles {
					report, err := r.engine.Read(t.Context(), r.storage, role)
					require.NoError(t, err)
					require.Equal(t, r.remote.holds(role), report.View.Password.Value)
					changed += report.View.Password.Version - 1
				}
				require.GreaterOrEqual(t, changed, 1, "those whose turn had come when the credential was refused go on")
			})
		})
	}
}

// A crash hides what was refused.
func TestTriesThatACrashHidesAreCounted(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		roles := many(8)
		r.roles(roles...)
		l.breaks(true)
		for range 12 {
			r.crash(roles...)
		}
		after(48 * time.Hour)
		_, most := l.looked()
		require.LessOrEqual(t, most, 4)
	})
}

// crash lets the engine die while requests for these roles are under way: their answers come, and are lost.
func (r *rig) crash(roles ...string) {
	dead, calls := r.engine, r.remote.count()
	for _, role := range roles {
		go func() { _, _ = dead.Rotate(context.Background(), r.storage, role, 0) }()
	}
	for range 100 { // until one is under way, if one may
		synctest.Wait()
		if r.remote.count() > calls {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.storage.failing(func(string, string) error { return errors.New("the process is gone") })
	dead.Stop()
	r.storage.failing(nil)
	r.start()
}

// A working credential is not taken for a refused one because of crashes.
func TestCrashesDoNotKeepAWorkingCredentialFromBeingUsed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		l.slowly()
		for range 12 {
			r.crash("role")
		}
		after(scaled(firstProbe) + time.Hour)
		report, err := r.engine.Read(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, report.View.State)
		require.Equal(t, r.remote.holds("role"), report.View.Password.Value)
		_, err = r.rotate()
		require.NoError(t, err)
	})
}

func TestConnectionsThatShareACredentialShareItsTries(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		for _, name := range []string{"second", "third"} {
			require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, name, Patch{
				Provider: ptr("remote"), Address: ptr("https://remote.example"), AllowedRoles: &[]string{"*"}, Settings: provider.Settings{"key": "key"},
			}))
			r.mustCreate(func(in *NewRole) { in.Name, in.Connection, in.Target = name, name, provider.Settings{"login": name} })
		}
		r.roles("role", "other")
		l.slowly()
		l.breaks(true)
		for range 5 {
			for _, err := range r.all("role", "second", "third", "other") {
				require.Error(t, err)
			}
		}
		after(24 * time.Hour)
		_, most := l.looked()
		require.LessOrEqual(t, most, 4)
	})
}

func TestACredentialThatWorksIsShownByFewCallsAtATime(t *testing.T) {
	for session, want := range map[bool]int{false: 2, true: 4} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.locks(session)
			roles := many(12)
			r.roles(roles...)
			most := r.remote.countOverlap()
			for _, err := range r.all(roles...) {
				require.NoError(t, err)
			}
			require.Equal(t, want, most(), "session: %v; max_in_flight is 4", session)
		})
	}
}

// Until a call has worked, the credential may be a wrong one.
func TestAfterAStartOneCallShowsTheCredentialFirst(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		roles := many(6)
		r.roles(roles...)
		l.slowly()
		r.restart()
		go r.all(roles...)
		after(900 * time.Millisecond)
		require.Equal(t, 7, r.remote.count(), "six first passwords and one call")
		after(time.Second)
		require.Equal(t, 9, r.remote.count(), "it worked: two at a time")
		after(10 * time.Second)
	})
}

func TestCountingTriesCostsNothingOnceTheCredentialWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.locks(false)
		r.roles("role")
		r.restart()
		_, err := r.rotate()
		require.NoError(t, err)
		r.storage.reset()
		_, err = r.rotate()
		require.NoError(t, err)
		gets, puts, lists, deletes := r.storage.operations()
		require.Equal(t, []int{1, 2, 0, 0}, []int{gets, puts, lists, deletes})
	})
}

// Where nothing gets through nothing is refused.
func TestAnOutageSpendsNoTries(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		r.restart()
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: "no connection"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		after(24 * time.Hour)
		require.Greater(t, r.remote.count(), 20)
		stored, err := store{r.storage}.tries(t.Context(), l.engine.guards.of(r.remote.lockout, Connection{}).key)
		require.NoError(t, err)
		require.Equal(t, []int{0, 2}, []int{stored.Refused, stored.Open}, "as before: two may have been under way")
		r.remote.set(nil)
		after(2 * time.Hour)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

// Lost answers may have been refusals. The engine goes on, slowly.
func TestLostAnswersAfterAStartAreTriedAgainSlowly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.locks(false)
		r.roles("role")
		r.restart()
		calls := r.remote.count()
		r.remote.set(always(unknown, false))
		r.remote.check = func() provider.Result { return unknown }
		_, err := r.rotate()
		require.NoError(t, err)
		after(time.Hour)
		require.LessOrEqual(t, r.remote.count()-calls, 2)
		r.remote.mu.Lock()
		r.remote.check = nil
		r.remote.mu.Unlock()
		r.remote.set(nil)
		after(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestAPersonWhoWritesAWrongCredentialAgainAndAgainIsToldToWait(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		l.breaks(true)
		for i := range 8 {
			err := r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": fmt.Sprintf("wrong %d", i)}})
			require.Equal(t, KindMistake, kindOf(t, err))
			if i >= 4 {
				require.ErrorContains(t, err, "would lock it after 5")
			}
		}
		_, most := l.looked()
		require.Equal(t, 4, most)
		l.breaks(false)
		after(7 * time.Minute)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "right"}}))
		r.roles("role")
	})
}

func TestACredentialThatIsStoredUncheckedGetsOneTry(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("role")
		l.breaks(true)
		_, err := r.rotate()
		require.Error(t, err)
		after(24 * time.Hour) // all tries are spent
		shown, _ := l.looked()
		unchecked := Patch{VerifyConnection: ptr(false), Settings: provider.Settings{"key": "another"}}
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		after(24 * time.Hour)
		now, _ := l.looked()
		require.Equal(t, shown+1, now)
		l.breaks(false)
		unchecked.Settings = provider.Settings{"key": "right"}
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", unchecked))
		after(time.Minute)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestAWaitThatTheRemoteSystemAskedForOutlivesARestart(t *testing.T) {
	for name, lockout := range map[string]provider.Lockout{"locked": {Credential: "remote|key", Refusals: 5}, "not locked": {}} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.lockout = lockout
				r.engine.connections.drop("conn")
				r.roles("role", "other")
				r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "login locked", RetryAfter: 20 * time.Minute}, false))
				_, err := r.rotate()
				require.Equal(t, KindBusy, kindOf(t, err))
				r.remote.set(nil)
				calls := r.remote.count()
				r.restart()
				require.Equal(t, KindBusy, kindOf(t, r.all("other")[0]))
				after(19 * time.Minute)
				require.Equal(t, calls, r.remote.count())
				after(7 * time.Minute)
				require.Equal(t, calls+2, r.remote.count())
			})
		})
	}
}

// A call that works says nothing about the refusals that the remote system gave after it, though its answer came later.
func TestACallThatWorksDoesNotEndTheCountOfRefusalsAfterIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.locks(false)
		r.roles("slow", "quick", "third")
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			l.remote.mu.Lock()
			result := l.look()
			l.remote.mu.Unlock()
			if c.Target.Username == "slow" {
				time.Sleep(2 * time.Second) // it has been looked at, and is not answered yet
			}
			return result, result.Outcome == provider.Applied
		})
		go func() { _, _ = r.engine.Rotate(r.Context(), r.storage, "slow", 0) }()
		after(time.Second)
		l.breaks(true)
		require.Error(t, r.all("quick")[0])
		for range 10 {
			after(24 * time.Hour)
			require.Error(t, r.all("third")[0])
			r.restart()
		}
		_, most := l.looked()
		require.Equal(t, 4, most, "one less than lock it")
	})
}

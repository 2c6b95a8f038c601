package rotation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// inProvedTime is inFakeTime with a role whose first password was proved.
func inProvedTime(t *testing.T, test func(t *testing.T, r *rig, d *door)) {
	t.Helper()
	inFakeTime(t, func(t *testing.T, r *rig) {
		d := r.proves()
		r.mustCreate(func(in *NewRole) { proved(&in.Options) })
		test(t, r, d)
	})
}

// A proof costs one write, and no refused login.
func TestProvedRotationCostsOneWriteMore(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.storage.reset()
		report := r.mustRotate()
		require.Equal(t, credential.StateActive, report.View.State)
		require.Empty(t, report.Warning)
		require.Equal(t, credential.BasisProof, r.role().Record.Current.Basis)
		require.Equal(t, 3, r.storage.counts().puts)
		require.Zero(t, d.refusals())
		require.Equal(t, 2, d.logins(), "one for each password")
		require.Equal(t, "works", r.status().ProofResult)
	})
}

// The remote system's word has to do if no login can tell, and the login is repeated.
func TestConfirmedPasswordIsActiveIfNoLoginCanTell(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		d.say(&shut)
		require.Equal(t, credential.StateActive, r.mustRotate().View.State)
		require.Equal(t, credential.BasisAnswer, r.role().Record.Current.Basis)
		require.Contains(t, r.status().Reason, "No login has proved it: the server cannot be reached.")
		before := d.logins()
		advance(time.Hour)
		require.Greater(t, d.logins(), before)
		d.say(nil)
		advance(time.Hour)
		require.Equal(t, credential.BasisProof, r.role().Record.Current.Basis)
		require.Equal(t, 1, r.remote.changeCount()-1)
	})
}

// A confirmed password that does not log in is not handed out while the one before works.
func TestConfirmedPasswordThatIsRefusedIsNotServed(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, _ *door) {
		old := r.read().Password.Value
		r.remote.answer(applied, false) // the remote system says so, but does nothing
		report := r.mustRotate()
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, old, report.View.Password.Value)
		require.Contains(t, report.Warning, "but it does not log in")
		require.Equal(t, 2, r.remote.changeCount())
		advance(16 * time.Minute) // the login is repeated, and then the same password is sent again
		require.Equal(t, 3, r.remote.changeCount())
		require.Len(t, r.remote.sent(), 2)
		advance(time.Hour)
		require.Equal(t, 3, r.remote.changeCount(), "once")
		require.Equal(t, old, r.read().Password.Value)
		require.NotEmpty(t, r.why("role"))
		require.Contains(t, r.status().Reason, "It was sent again, and is still refused.")

		r.remote.setPassword("login", r.remote.sent()[1]) // it comes into force at last
		advance(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.sent()[1], r.read().Password.Value)
	})
}

// If neither password logs in, readers get the one that the remote system confirmed.
func TestConfirmedPasswordIsServedIfNoneLogsIn(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		d.say(&provider.Proof{Verdict: provider.Refused, Reason: "root may not log in"})
		r.mustRotate()
		view := r.read()
		require.Equal(t, credential.StateUncertain, view.State)
		require.Equal(t, r.remote.password("login"), view.Password.Value)
	})
}

// A login finds out an unknown outcome before anything is sent again.
func TestUnknownOutcomeIsProved(t *testing.T) {
	t.Parallel()
	for name, takesEffect := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inProvedTime(t, func(t *testing.T, r *rig, d *door) {
				r.remote.answer(unknown, takesEffect)
				report := r.mustRotate()
				require.Equal(t, 2, r.remote.changeCount())
				if takesEffect {
					require.Equal(t, credential.StateActive, report.View.State)
					require.Equal(t, r.remote.password("login"), report.View.Password.Value)
					require.Zero(t, d.refusals())
					advance(time.Hour)
					require.Equal(t, 2, r.remote.changeCount())
					return
				}
				require.Equal(t, credential.StateUncertain, report.View.State)
				require.Equal(t, r.remote.password("login"), report.View.Password.Value)
				require.Equal(t, 1, d.refusals())
				r.remote.succeed()
				advance(time.Hour)
				require.Equal(t, credential.StateActive, r.read().State)
				require.Len(t, r.remote.sent(), 2)
			})
		})
	}
}

// A change that the remote system confirms, and puts in force later, is proved then, however often it was busy before.
func TestSlowChangeIsProvedOnceInForce(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			return provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget, Confirmed: true, Accepted: true, Reason: "not in force yet"}, true
		})
		r.remote.onCheckTarget(func() provider.Result { return busy })
		require.Equal(t, credential.StateUncertain, r.mustRotate().View.State)
		before := d.logins()
		advance(time.Minute)
		require.Equal(t, before, d.logins(), "it is not in force yet")
		r.remote.onCheckTarget(func() provider.Result { return applied })
		advance(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, credential.BasisProof, r.role().Record.Current.Basis)
	})
}

// A crash between the call and the proof is resumed with a login.
func TestInterruptedChangeIsProvedAfterRestart(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		b := r.remote.blockChange(2, applied)
		go func() { _, _ = r.rotate() }()
		advance(time.Second)
		r.storage.failAll() // the process ends
		r.engine.Stop()
		b.release()
		advance(time.Second)
		r.storage.heal()
		r.start()
		advance(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, r.remote.changeCount())
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		require.Zero(t, d.refusals())
	})
}

// While a password is queued, logins with the one in force are made; only when that is refused, the next one is tried.
func TestQueuedPasswordIsPolled(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.remote.setSettleAfter(time.Minute)
		r.remote.answer(queued, false)
		old := r.read().Password.Value
		require.Equal(t, credential.StateAccepted, r.mustRotate().View.State)
		advance(10 * time.Minute)
		require.Equal(t, credential.StateAccepted, r.read().State, "settle_after has passed, but the old one still works")
		require.Equal(t, old, r.read().Password.Value)
		require.Zero(t, d.refusals())
		require.Greater(t, d.logins(), 2)
		r.remote.setPassword("login", r.remote.sent()[1])
		advance(15 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.sent()[1], r.read().Password.Value)
		require.Equal(t, 1, d.refusals())
	})
}

func TestQueuedPasswordSettlesByTimeIfNoLoginCanTell(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.remote.setSettleAfter(time.Minute)
		r.remote.answer(queued, true)
		d.say(&shut)
		r.mustRotate()
		advance(2 * time.Minute)
		require.Equal(t, credential.StateAssumed, r.read().State)
		d.say(nil)
		advance(time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The password that a confirmation names is tried out.
func TestConfirmationIsProved(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		require.Contains(t, r.confirmFails(Confirmation{Password: "anotherone1"}), "a login with it was refused")
		require.Equal(t, 1, r.version())
		r.mustConfirm(Confirmation{Password: "anotherone1", Force: true})
		require.Equal(t, credential.StateAssumed, r.read().State)
		r.remote.setPassword("login", "anotherone2")
		r.mustConfirm(Confirmation{Password: "anotherone2"})
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, "anotherone2", r.read().Password.Value)
		d.say(&shut)
		r.mustConfirm(Confirmation{Password: "anotherone3"})
		require.Equal(t, credential.StateAssumed, r.read().State)
	})
}

func TestAdoptedPasswordIsProved(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		d := r.proves()
		r.remote.setPassword("login", "present1")
		adopt := func(password string) (credential.State, error) {
			report, err := r.create(func(in *NewRole) {
				proved(&in.Options)
				in.Options.SkipInitialRotation, in.Password = true, password
			})
			if err != nil {
				return "", err
			}
			return report.View.State, nil
		}
		_, err := adopt("wrongone1")
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "the role was not created: a login with the given password was refused")
		require.False(t, r.exists("role/role"))
		state, err := adopt("present1")
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, state)
		require.Equal(t, 1, d.refusals())
		require.NoError(t, r.deleteRole(false))
		_, err = adopt("wrongone1")
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		_, err = adopt("wrongone1")
		require.Equal(t, problem.KindBusy, kindOf(t, err), "a wrong password is not believed because it is repeated")
		require.ErrorContains(t, err, "the role was not created: no login can check the given password before")
		require.False(t, r.exists("role/role"))
		advance(16 * time.Minute)
		d.say(&shut)
		state, err = adopt("present1")
		require.NoError(t, err)
		require.Equal(t, credential.StateAssumed, state)
	})
}

// After a wrong old password, a login finds the right one: it costs the account no attempt.
func TestMismatchIsResolvedByLogin(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.needsOld = true
		r.proves()
		r.remote.setPassword("login", "present1")
		r.mustCreate(func(in *NewRole) { proved(&in.Options); in.Password = "present1" })
		var acc account
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if result, refused := acc.refuses(r.remote, c); refused {
				return result, false
			}
			return applied, true
		})
		previous := r.read().Password.Value
		r.mustRotate()
		r.remote.setPassword("login", previous) // a restored backup
		report := r.mustRotate()
		require.Equal(t, credential.StateActive, report.View.State)
		require.Equal(t, r.remote.password("login"), report.View.Password.Value)
		require.LessOrEqual(t, acc.wrong, 1)
	})
}

// An operator's request on a frozen mount is proved like any other.
func TestRequestOnFrozenMountIsProved(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.freeze(time.Hour)
		before := d.logins()
		require.Equal(t, credential.StateActive, r.mustRotate().View.State)
		require.Equal(t, before+1, d.logins())
		require.Equal(t, 2, r.remote.changeCount())
	})
}

// The answer to a request that ends during a login claims nothing about passwords.
func TestRequestThatEndsDuringLoginHasNoResults(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		slow := newBlock()
		d.pauseAt(slow)
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		proved, err := r.engine.VerifyRole(ctx, r.storage, "role")
		require.NoError(t, err)
		require.Empty(t, proved.Tried)
		slow.release()
	})
}

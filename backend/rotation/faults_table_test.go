package rotation

import (
	"context"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

var (
	appliedAnswer = provider.Result{Outcome: provider.Applied, Exclusive: true}
	busyAnswer    = provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}
	noAccount     = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}
	weakPassword  = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too weak"}
)

// operations are all that write to storage.
func operations() map[string]operation {
	all := map[string]operation{}
	for _, table := range []map[string]operation{creations(), changes(), requests(), byItself(), ofConnections()} {
		for name, o := range table {
			all[name] = o
		}
	}
	return all
}

// alwaysAnswers lets each change be answered alike.
func (l *ordeal) alwaysAnswers(result provider.Result, applied bool) {
	l.answers(func(int) (provider.Result, bool) { return result, applied })
}

// losesTheFirstAnswer lets each change be made, and the answer to the first be lost.
func (l *ordeal) losesTheFirstAnswer() {
	l.answers(func(call int) (provider.Result, bool) {
		if call == 1 {
			return unknown, true
		}
		return appliedAnswer, true
	})
}

// partOfServers lets one of three servers take a change later than the others.
func (l *ordeal) partOfServers() {
	l.answers(func(call int) (provider.Result, bool) {
		if call == 1 {
			return partly(provider.Busy, provider.ScopeTarget, "c", "a", "b"), false
		}
		return restartAnswer, false
	})
}

func isActive(l *ordeal) {
	l.Helper()
	view := l.read()
	require.Equal(l, credential.StateActive, view.State)
	require.Equal(l, l.remote.holds("login"), view.Password.Value)
}

func isAssumed(l *ordeal) {
	l.Helper()
	view := l.read()
	require.Equal(l, credential.StateAssumed, view.State)
	require.Equal(l, l.remote.holds("login"), view.Password.Value)
}

func waitsForRestart(l *ordeal) {
	l.Helper()
	require.Equal(l, credential.StateRestartRequired, l.read().State)
	next := l.role().Record.Next
	require.Equal(l, l.waiting, next.Value)
	require.False(l, next.Partial())
}

// unlessFor drops an error that the remote system's answer leads to.
func unlessFor(err error, words string) error {
	if err != nil && strings.Contains(err.Error(), words) {
		return nil
	}
	return err
}

func creations() map[string]operation {
	plain := func(ctx context.Context, l *ordeal) error { return l.createOrUpdate(ctx, nil) }
	return map[string]operation{
		"create": {
			asked: true, passwords: 1, do: plain, done: isActive,
			before: func(l *ordeal) { l.alwaysAnswers(appliedAnswer, true) },
		},
		"create, adopting": {
			asked: true, done: isAssumed,
			before: func(l *ordeal) { l.remote.passwords["login"] = "presentpassword" },
			do: func(ctx context.Context, l *ordeal) error {
				return l.createOrUpdate(ctx, func(in *NewRole) { in.Options.SkipInitialRotation, in.Password = true, "presentpassword" })
			},
		},
		"create with the old password": {
			asked: true, passwords: 2, done: isActive,
			before: func(l *ordeal) {
				l.remote.needsOld = true
				l.remote.passwords["login"] = "presentpassword"
				l.alwaysAnswers(appliedAnswer, true)
			},
			do: func(ctx context.Context, l *ordeal) error {
				return l.createOrUpdate(ctx, func(in *NewRole) { in.Password = "presentpassword" })
			},
		},
		"create, queued": {
			asked: true, passwords: 1, do: plain, done: isAssumed,
			before: func(l *ordeal) {
				l.remote.settles(settleAfter)
				l.alwaysAnswers(queuedAnswer, true)
			},
		},
		"create, servers to restart": {
			asked: true, passwords: 1, do: plain, done: waitsForRestart,
			before: func(l *ordeal) {
				l.remote.parts = []string{"a", "b", "c"}
				l.partOfServers()
			},
		},
		"create, refused": {
			asked: true, passwords: 1,
			before: func(l *ordeal) { l.alwaysAnswers(noAccount, false) },
			do: func(ctx context.Context, l *ordeal) error {
				return unlessFor(l.createOrUpdate(ctx, nil), "not created: no such account")
			},
			mend: func(l *ordeal) { l.alwaysAnswers(appliedAnswer, true) },
			done: func(l *ordeal) {
				role, err := l.engine.Role(l.Context(), l.storage, "role")
				require.NoError(l, err)
				if role != nil && l.read().State != credential.StateNone { // none: it could not be removed, which was told
					isActive(l)
				}
			},
		},
		"first read": {
			asked: true, passwords: 1, done: isActive,
			before: func(l *ordeal) {
				l.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
				l.alwaysAnswers(appliedAnswer, true)
			},
			do: func(ctx context.Context, l *ordeal) error {
				_, err := l.engine.first(ctx, l.storage, "role")
				return err
			},
		},
	}
}

func changes() map[string]operation {
	rotate := func(ctx context.Context, l *ordeal) error {
		_, err := l.engine.Rotate(ctx, l.storage, "role", 0)
		return err
	}
	return map[string]operation{
		"rotate": {
			asked: true, passwords: 1, do: rotate, done: isActive,
			before: func(l *ordeal) {
				l.mustCreate(nil)
				l.alwaysAnswers(appliedAnswer, true)
			},
		},
		"set a password": {
			asked: true, passwords: 1, done: isActive,
			before: func(l *ordeal) {
				l.mustCreate(nil)
				l.alwaysAnswers(appliedAnswer, true)
			},
			do: func(ctx context.Context, l *ordeal) error {
				_, err := l.engine.SetPassword(ctx, l.storage, "role", "chosenpassword")
				return err
			},
		},
		"rotate with the old password": {
			asked: true, passwords: 2, do: rotate, done: isActive,
			before: func(l *ordeal) {
				l.remote.needsOld = true
				l.remote.passwords["login"] = "presentpassword"
				l.alwaysAnswers(appliedAnswer, true)
				l.mustCreate(func(in *NewRole) { in.Password = "presentpassword" })
			},
		},
		"rotate with the old password, lost answer": {
			asked: true, passwords: 3, do: rotate, done: isActive,
			before: func(l *ordeal) {
				l.remote.needsOld = true
				l.remote.passwords["login"] = "presentpassword"
				l.alwaysAnswers(appliedAnswer, true)
				l.mustCreate(func(in *NewRole) { in.Password = "presentpassword" })
				l.losesTheFirstAnswer()
			},
		},
		"rotate, lost answer": {
			asked: true, passwords: 1, do: rotate, done: isActive,
			before: func(l *ordeal) {
				l.mustCreate(nil)
				l.losesTheFirstAnswer()
			},
		},
		"rotate, queued": {
			asked: true, passwords: 1, do: rotate, done: isAssumed,
			before: func(l *ordeal) {
				l.mustCreate(nil)
				l.remote.settles(settleAfter)
				l.alwaysAnswers(queuedAnswer, true)
			},
		},
		"rotate, servers to restart": {
			asked: true, passwords: 1, do: rotate, done: waitsForRestart,
			before: func(l *ordeal) {
				l.fleet()
				l.partOfServers()
			},
		},
		"rotate, refused passwords": {
			asked: true, passwords: 3, do: rotate, done: isActive,
			before: func(l *ordeal) {
				l.mustCreate(nil)
				l.answers(func(call int) (provider.Result, bool) {
					if call <= 2 {
						return weakPassword, false
					}
					return appliedAnswer, true
				})
			},
		},
	}
}

func requests() map[string]operation {
	uncertain := func(l *ordeal) {
		l.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		l.alwaysAnswers(unknown, true)
		_, err := l.rotate()
		require.NoError(l, err)
	}
	word := func(word Word) func(context.Context, *ordeal) error {
		return func(ctx context.Context, l *ordeal) error {
			_, err := l.engine.Confirm(ctx, l.storage, "role", word)
			return err
		}
	}
	gone := func(l *ordeal) {
		role, err := l.engine.Role(l.Context(), l.storage, "role")
		require.NoError(l, err)
		require.Nil(l, role)
		l.alwaysAnswers(appliedAnswer, true)
		l.mustCreate(nil) // nothing that is left blocks another one
		after(3 * time.Hour)
		isActive(l)
	}
	deletion := func(force bool) func(context.Context, *ordeal) error {
		return func(ctx context.Context, l *ordeal) error { return l.engine.Delete(ctx, l.storage, "role", force) }
	}
	return map[string]operation{
		"update": {
			asked:  true,
			before: func(l *ordeal) { l.mustCreate(nil) },
			do: func(ctx context.Context, l *ordeal) error {
				return l.createOrUpdate(ctx, func(in *NewRole) { in.Options.HistorySize = 7 })
			},
			done: func(l *ordeal) { require.Equal(l, 7, l.role().Options.HistorySize) },
		},
		"delete":                   {asked: true, before: func(l *ordeal) { l.mustCreate(nil) }, do: deletion(false), done: gone},
		"delete what is uncertain": {asked: true, before: uncertain, do: deletion(true), done: gone},
		"confirm a version": {
			asked: true, before: uncertain, do: word(Word{Version: 2}),
			done: func(l *ordeal) { isAssumed(l) },
		},
		"confirm a password": {
			asked: true, before: uncertain, do: word(Word{Password: "elsewherepassword"}),
			done: func(l *ordeal) { require.Equal(l, "elsewherepassword", l.read().Password.Value) },
		},
		"discard": {
			asked: true, before: uncertain, do: word(Word{Version: 2, Discard: true}),
			done: func(l *ordeal) { require.Equal(l, credential.WhyDiscarded, l.role().Record.Candidates[0].Why) },
		},
		"confirm servers": {
			asked: true, do: word(Word{Version: 2, Servers: []string{"a", "b"}}),
			before: func(l *ordeal) {
				l.fleet()
				l.alwaysAnswers(restartAnswer, false)
				_, err := l.rotate()
				require.NoError(l, err)
			},
			done: func(l *ordeal) { require.Equal(l, []string{"a", "b"}, l.role().Record.Next.InForceOn) },
		},
		"settings": {
			asked: true, before: func(*ordeal) {},
			do: func(ctx context.Context, l *ordeal) error {
				return l.engine.WriteSettings(ctx, l.storage, Settings{CatchUpLimit: 3600})
			},
			done: func(l *ordeal) {
				settings, err := l.engine.ReadSettings(l.Context(), l.storage)
				require.NoError(l, err)
				require.Equal(l, 3600, settings.CatchUpLimit)
			},
		},
	}
}

// byItself is what the engine does when its time comes.
func byItself() map[string]operation {
	passes := func(d time.Duration) func(context.Context, *ordeal) error {
		return func(context.Context, *ordeal) error {
			after(d)
			return nil
		}
	}
	rotated := func(l *ordeal) {
		l.mustCreate(nil)
		_, _ = l.rotate()
	}
	first := func(l *ordeal, result provider.Result, applied bool) {
		l.answers(func(call int) (provider.Result, bool) {
			if call == 2 { // after the role's first password
				return result, applied
			}
			return appliedAnswer, true
		})
		rotated(l)
	}
	return map[string]operation{
		"resume after an unknown outcome": {
			before: func(l *ordeal) { first(l, unknown, false) }, do: passes(5 * time.Minute), passwords: 1, done: isActive,
		},
		"retry after busy": {
			before: func(l *ordeal) { first(l, busyAnswer, false) }, do: passes(5 * time.Minute), passwords: 1, done: isActive,
		},
		"settle a queue": {
			before: func(l *ordeal) {
				l.remote.settles(settleAfter)
				l.alwaysAnswers(queuedAnswer, true)
				rotated(l)
			},
			do: passes(settleAfter + 5*time.Minute), done: isAssumed,
		},
		"start": {
			before: func(l *ordeal) { first(l, unknown, false) }, passwords: 1, done: isActive,
			do: func(_ context.Context, l *ordeal) error {
				l.restart()
				after(5 * time.Minute)
				return nil
			},
			mend: func(l *ordeal) { // what could not be listed is listed again
				after(sweepEvery)
				l.engine.Wake()
			},
		},
	}
}

func ofConnections() map[string]operation {
	writes := func(name string, patch Patch) func(context.Context, *ordeal) error {
		return func(ctx context.Context, l *ordeal) error {
			return l.engine.WriteConnection(ctx, l.storage, name, patch)
		}
	}
	made := Patch{Provider: ptr("remote"), Address: ptr("https://remote.example"), Settings: provider.Settings{"key": "key"}}
	changed := Patch{Settings: provider.Settings{"key": "another"}}
	key := func(l *ordeal, name string) string {
		c, _, err := l.engine.ReadConnection(l.Context(), l.storage, name)
		require.NoError(l, err)
		return c.Settings.String("key")
	}
	refused := func(l *ordeal) {
		l.mustCreate(nil)
		l.remote.refuseCredential()
	}
	mended := func(l *ordeal) {
		l.alwaysAnswers(appliedAnswer, true)
		l.remote.checksAs(provider.Result{Outcome: provider.Applied})
	}
	return map[string]operation{
		"create a connection": {
			asked: true, before: func(*ordeal) {}, do: writes("other", made),
			done: func(l *ordeal) { require.Equal(l, "key", key(l, "other")) },
		},
		"another credential": {
			asked: true, before: func(l *ordeal) { l.mustCreate(nil) }, do: writes("conn", changed),
			done: func(l *ordeal) { require.Equal(l, "another", key(l, "conn")) },
		},
		"another credential for a paused connection": {
			asked: true, passwords: 1,
			before: func(l *ordeal) {
				refused(l)
				_, err := l.rotate()
				require.Error(l, err)
				mended(l)
			},
			do: writes("conn", changed),
			done: func(l *ordeal) {
				require.Equal(l, "another", key(l, "conn"))
				isActive(l)
			},
		},
		"delete a connection": {
			asked: true,
			before: func(l *ordeal) {
				require.NoError(l, writes("other", made)(l.Context(), l))
				l.connectionIsAsStored("other") // from now on it is cached
			},
			do: func(ctx context.Context, l *ordeal) error { return l.engine.DeleteConnection(ctx, l.storage, "other") },
			done: func(l *ordeal) {
				_, _, err := l.engine.ReadConnection(l.Context(), l.storage, "other")
				require.ErrorIs(l, err, ErrNoConnection)
			},
		},
		"pause": {
			asked: true, passwords: 1, before: refused, mend: mended, done: isActive,
			do: func(ctx context.Context, l *ordeal) error {
				_, err := l.engine.Rotate(ctx, l.storage, "role", 0)
				return unlessFor(err, "wrong password")
			},
		},
		"probe": {
			passwords: 1, done: isActive,
			before: func(l *ordeal) {
				refused(l)
				_, err := l.rotate()
				require.Error(l, err)
				mended(l)
			},
			do: func(context.Context, *ordeal) error {
				after(30 * time.Minute)
				return nil
			},
		},
		"failing probe": {
			passwords: 1, mend: mended, done: isActive,
			before: func(l *ordeal) {
				refused(l)
				_, err := l.rotate()
				require.Error(l, err)
			},
			do: func(context.Context, *ordeal) error {
				after(30 * time.Minute)
				return nil
			},
		},
	}
}

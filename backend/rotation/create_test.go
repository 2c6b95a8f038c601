package rotation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestFailedCreationLeavesNothing(t *testing.T) {
	for name, result := range map[string]provider.Result{
		"refused": noAccount, "unreachable": unreachable, "denied": {Outcome: provider.Denied, Reason: "not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.fail(result)
				_, err := r.create(nil)
				require.ErrorContains(t, err, "the role was not created")
				require.Empty(t, r.entries(store.RolePrefix))
				require.Empty(t, r.entries(store.TargetPrefix))
				r.remote.succeed()
				r.mustCreate(func(in *NewRole) { in.Name = "another" })
			})
		})
	}
}

func TestUndoneCreationIsNotRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.fail(unreachable)
		_, err := r.create(nil)
		require.EqualError(t, err, "the role was not created: refused. It is not retried automatically: repeat the request")
	})
}

func TestUncertainCreationKeepsRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer(unknown, true)
		report, err := r.create(nil)
		require.NoError(t, err)
		require.NotNil(t, report, "the role exists")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value, "the newest one, as none is known to be in force")
		r.remote.succeed()
		advance(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The servers that took the password keep it, whatever happens to the others.
func TestCreationTakenBySomeServersKeepsRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.parts = []string{"a", "b", "c"}
		r.remote.answerCall(1, oneServerRefuses, false, unreachable)
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Equal(t, credential.StateRestartRequired, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Len(t, r.role().Record.Candidates, 1)
		r.remote.fail(needsRestart)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 2, 0)
	})
}

func TestCrashDuringCreationIsResumed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storage.failIf(func(operation, key string) error { // as a crash after the role is stored
			if operation == opPut && key == roleKey {
				r.storage.fault = func(string, string) error { return errors.New("gone") }
			}
			return nil
		})
		_, err := r.create(nil)
		require.Error(t, err)
		r.storage.heal()
		r.restart()
		advance(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State, "without a request")
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
	})
}

func TestTargetIsStoredBeforeRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storage.failIf(func(operation, key string) error { // as a crash before the target is stored
			if operation == opPut && strings.HasPrefix(key, store.TargetPrefix) {
				return errors.New("gone")
			}
			return nil
		})
		_, err := r.create(nil)
		require.ErrorContains(t, err, "gone")
		r.storage.heal()
		left, err := r.engine.Roles(t.Context(), r.storage)
		require.NoError(t, err)
		require.Empty(t, left, "another role could claim the free target and change its password")
		require.Zero(t, r.remote.changeCount())
		r.restart()
		r.mustCreate(func(in *NewRole) { in.Name = "another" })
		advance(time.Hour)
		require.Equal(t, 1, r.remote.changeCount())
		report, err := r.engine.Read(t.Context(), r.storage, "another")
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, report.View.State)
	})
}

func TestIndexEntryLeftByCrashIsFree(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRoles("another")
		for _, name := range []string{"gone", "another"} {
			require.NoError(t, r.store().PutOwner(t.Context(), store.Owner{Role: name, Identity: "remote|login"}))
			r.mustCreate(nil)
			require.NoError(t, r.deleteRole(false))
		}
	})
}

func TestTargetBelongsToOneRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		done := make(chan error, 20)
		for i := range cap(done) {
			go func() {
				_, err := r.create(func(in *NewRole) { in.Name = string(rune('a' + i)) })
				done <- err
			}()
		}
		created := 0
		for range cap(done) {
			if err := <-done; err == nil {
				created++
			} else {
				require.Equal(t, problem.KindMistake, kindOf(t, err))
			}
		}
		require.Equal(t, 1, created)
	})
}

func TestPausedConnectionRefusesNewRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createPaused()
		for _, skip := range []bool{false, true} {
			_, err := r.create(func(in *NewRole) {
				in.Name, in.Target = "other", provider.Settings{"login": "other"}
				in.Options.SkipInitialRotation = skip
			})
			require.Equal(t, problem.KindBusy, kindOf(t, err))
			other, err := r.engine.Role(t.Context(), r.storage, "other")
			require.NoError(t, err)
			require.Nil(t, other)
		}
	})
}

func TestConnectionChangedDuringCreationStopsIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.onCheckTarget(func() provider.Result {
			r.mustWriteConn(withKey("another"))
			return applied
		})
		_, err := r.create(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		require.ErrorContains(t, err, "changed in the meantime")
	})
}

func TestLoginOfConnectionIsNoTarget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.loginIdentity = "remote|login"
		_, err := r.create(nil)
		require.ErrorContains(t, err, "logs in with this account")
		require.Zero(t, r.remote.changeCount())
		r.remote.loginIdentity = ""
		r.mustCreate(nil)
		r.remote.loginIdentity = "remote|login"
		err = r.engine.Connections.Write(t.Context(), r.storage, "other", newConn("key"))
		require.ErrorContains(t, err, "a role of this mount changes the password")
	})
}

// A remote system that identifies itself is one, whatever its addresses.
func TestAccountAtAnotherAddressIsTaken(t *testing.T) {
	const taken = `another role of this mount already manages this account: its connection "conn" leads to the same remote system at another address`
	for name, test := range map[string]struct {
		systems []string // of "conn" and of "other", as their checks read them
		login   string
		want    string
	}{
		"one system":               {[]string{"s", "s"}, "login", taken},
		"another account":          {[]string{"s", "s"}, "free", ""},
		"login of the other":       {[]string{"s", "s"}, "admin", `the connection "conn" logs in with this account`},
		"two systems":              {[]string{"s", "t"}, "login", ""},
		"systems that do not tell": {[]string{"", ""}, "login", ""},
		"login on another system":  {[]string{"s", "t"}, "admin", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.perAddress, r.remote.loginIdentity = true, "remote.example|admin"
				identify := func(system string) {
					r.remote.onCheck(func() provider.Result { return provider.Result{Outcome: provider.Applied, System: system} })
				}
				identify(test.systems[0])
				r.mustWriteConn(withKey("new"))
				r.mustCreate(nil)
				identify(test.systems[1])
				other := newConn("other", func(o *connection.Options) { o.Address = "https://another.example" })
				require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "other", other))
				r.restart()
				changes := r.remote.changeCount()
				_, err := r.create(func(in *NewRole) {
					in.Name, in.Connection, in.Target = "second", "other", provider.Settings{"login": test.login}
				})
				if test.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, test.want)
				require.Equal(t, problem.KindMistake, kindOf(t, err))
				require.Equal(t, changes, r.remote.changeCount())
			})
		})
	}
}

func TestNewRoleChecksOnlyRefusedCredential(t *testing.T) {
	for scope, checks := range map[provider.Scope]int{provider.ScopeTarget: 0, provider.ScopeConnection: 1} {
		t.Run(string(scope), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.onCheckTarget(func() provider.Result {
					return provider.Result{Outcome: provider.Denied, Scope: scope, Code: "403", Reason: "no rights"}
				})
				before := r.remote.checkCount()
				_, err := r.create(func(in *NewRole) { in.Options.SkipInitialRotation = true })
				require.Equal(t, problem.KindUnreachable, kindOf(t, err))
				require.EqualError(t, err, "the role was not created: no rights (403). Check the credential of config/conn and its permissions")
				require.Equal(t, before+checks, r.remote.checkCount())
				role, err := r.engine.Role(t.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Nil(t, role)
				r.createRoles("other") // the connection is not paused
			})
		})
	}
}

func TestCreationThatPausesConnectionSaysSo(t *testing.T) {
	for _, adopts := range []bool{false, true} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.remote.refuseCredential()
			r.remote.onCheckTarget(func() provider.Result { return refusedCredential })
			_, err := r.create(func(in *NewRole) { in.Options.SkipInitialRotation = adopts })
			require.Equal(t, problem.KindUnreachable, kindOf(t, err))
			require.ErrorContains(t, err, "the role was not created: wrong password (1001)")
			require.ErrorContains(t, err, "he connection is paused: write a working credential to config/conn")
		})
	}
}

func TestRecreatedRoleKeepsDistance(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.fail(unknown)
		began := time.Now()
		r.mustRotate()
		require.ErrorContains(t, r.deleteRole(false), "force_delete=true")
		require.NoError(t, r.deleteRole(true))
		r.remote.succeed()
		calls := r.remote.changeCount()
		r.mustCreate(nil)
		require.Equal(t, calls, r.remote.changeCount())
		advance(2 * time.Minute)
		require.Equal(t, calls+1, r.remote.changeCount())
		require.GreaterOrEqual(t, r.read().Since.Sub(began), time.Minute)
	})
}

func TestForceDeleteOptionDeletesWaitingRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unknown)
		r.mustRotate()
		require.ErrorContains(t, r.deleteRole(false), "force_delete=true")
		r.update(func(o *role.Options) { o.ForceDelete = true }, nil)
		require.NoError(t, r.deleteRole(false))
	})
}

func TestRecreatedRoleWaitsForQueuedPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createQueued(nil)
		queued := r.engine.Now()
		require.NoError(t, r.deleteRole(true))
		calls := r.remote.changeCount()
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Contains(t, report.Warning, "no new password yet")
		advance(time.Until(queued.Add(settleAfter - time.Second)))
		require.Equal(t, calls, r.remote.changeCount())
		advance(time.Minute)
		require.Equal(t, calls+1, r.remote.changeCount())
	})
}

func TestCreationReportedAsContinuingIsNotUndone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.RequestTimeout = 60 }})
		r.remote.delay(50*time.Second, noAccount) // longer than a request waits
		report, err := r.create(nil)
		require.NoError(t, err)
		require.NotEmpty(t, report.Warning)
		advance(time.Hour)
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class, "the role exists and says why it has no password")
	})
}

// A request that ends while its role is being removed is not told that the change continues.
func TestUndoneCreationIsNotReportedAsContinuing(t *testing.T) {
	for name, at := range map[string]matches{
		"before its entries are read": on(opGet, store.ReadPrefix+"role"),
		"before the role is deleted":  on(opDelete, roleKey),
		"after the role is deleted":   on(opDelete, store.ReadPrefix+"role"),
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				undone := r.storage.blockAt(at)
				defer undone.release()
				r.remote.fail(noAccount)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				type answer struct {
					report *roles.Report
					err    error
				}
				answers := make(chan answer, 1)
				go func() {
					report, err := r.engine.Create(ctx, r.storage, newRole(nil))
					answers <- answer{report, err}
				}()
				synctest.Wait()
				require.True(t, undone.isReached())
				cancel()
				synctest.Wait()
				undone.release()
				got := <-answers
				advance(time.Minute)
				if r.exists(roleKey) { // the change does continue
					require.NoError(t, got.err)
					require.NotNil(t, got.report)
					return
				}
				require.Error(t, got.err, "the role is gone")
				require.Nil(t, got.report)
				require.NotContains(t, got.err.Error(), "continues")
			})
		})
	}
}

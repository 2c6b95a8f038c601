package connections

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
)

func TestConnectionIsReadWithoutSecrets(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 7 }, Settings: provider.Settings{"note": "hello"}})
		view, err := r.c.Read(t.Context(), r.storage, "conn")
		require.NoError(t, err)
		require.Equal(t, &View{
			Provider: "remote", Options: connection.Options{
				Address: "https://remote.example", AllowedRoles: []string{"*"}, AllowedTargets: []string{"*"}, VerifyConnection: true,
				RequestTimeout: connection.DefaultRequestTimeout, MaxInFlight: 7,
			}, Settings: provider.Settings{"note": "hello", "kind": "a"}, CredentialFields: []string{"key"},
		}, view)
		names, err := r.c.List(t.Context(), r.storage)
		require.NoError(t, err)
		require.Equal(t, []string{"conn"}, names)

		_, err = r.c.Read(t.Context(), r.storage, "other")
		require.ErrorIs(t, err, problem.ErrNoConnection)
		r.storage.Arm(1, storagetest.Down, nil)
		_, err = r.c.Read(t.Context(), r.storage, "conn")
		require.ErrorContains(t, err, "reading connection conn failed")
		_, err = r.c.List(t.Context(), r.storage)
		require.ErrorContains(t, err, "listing connections failed")
	})
}

func TestInvalidConnectionIsNotStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		before := r.stored()
		r.policy = problem.Mistake("the policy does not exist")
		for want, patch := range map[string]connection.Patch{
			"provider cannot be changed":                        {Provider: ptr("other")},
			"url is missing":                                    {Change: func(o *connection.Options) { o.Address = "" }},
			"request_timeout must be":                           {Change: func(o *connection.Options) { o.RequestTimeout = 0 }},
			"kind cannot be changed":                            {Settings: provider.Settings{"kind": "b"}},
			"requires the credential":                           {Change: func(o *connection.Options) { o.Address = "https://another.example" }},
			"a TLS setting requires the credential in the same": {Change: func(o *connection.Options) { o.TLS.Insecure = true }},
			"the policy does not exist":                         {Change: func(o *connection.Options) { o.PasswordPolicy = "policy" }},
			"ca_cert is not PEM":                                {Change: func(o *connection.Options) { o.TLS.CACert = "bad" }, Settings: provider.Settings{"key": "key"}},
			`secret does not belong to provider "rem`:           {Settings: provider.Settings{"secret": "x"}},
		} {
			err := r.write(patch)
			requireKind(t, problem.KindMistake, err)
			require.ErrorContains(t, err, want)
			require.Equal(t, before, r.stored())
		}
		require.Zero(t, r.retries())
	})
}

func TestConnectionIsCheckedOnlyWhenRequestsChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		checks := r.remote.used("key")
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 9 }})
		r.mustWrite(connection.Patch{Settings: provider.Settings{"note": "changed"}})
		r.mustWrite(connection.Patch{Settings: provider.Settings{"kind": "a"}}) // the present value
		require.Equal(t, checks, r.remote.used("key"))
		require.Equal(t, 1, r.stored().Revision)
		require.Equal(t, "changed", r.stored().Settings.String("note"))
		require.Equal(t, 3, r.retries(), "each may allow more roles")

		r.remote.answer("key", unreachable)
		require.NoError(t, r.write(withKey("key")), "a field written with its present value is never an error")
		require.Equal(t, checks, r.remote.used("key"), "there is nothing to end")
		require.Equal(t, 1, r.stored().Revision)

		r.remote.answer("another", denied)
		require.ErrorContains(t, r.write(withKey("another")), "11003")
		require.Equal(t, 1, r.remote.used("another"))
		r.mustWrite(unchecked("another"))
		require.Equal(t, 1, r.remote.used("another"))
		require.Equal(t, 2, r.stored().Revision)
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.Address = "https://another.example" }, Settings: provider.Settings{"key": "another"}})
		require.Equal(t, 3, r.stored().Revision)
	})
}

// The client that made the check is the one in use: it may have a token, which would be asked for again.
func TestCheckedConnectionIsUsed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		opened := r.remote.opened
		r.mustWrite(withKey("new"))
		require.Equal(t, "new", r.handle().Settings.String("key"))
		require.Equal(t, opened+1, r.remote.opened)
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 9 }})
		require.Equal(t, 9, r.handle().MaxInFlight)
	})
}

// Clients repeat a request that fails with 5xx. One that presents a refused credential must not be repeated.
func TestFailedCheckIsReported(t *testing.T) {
	busy := func(retryAfter time.Duration) provider.Result {
		return provider.Result{Outcome: provider.Busy, Reason: "throttled", RetryAfter: retryAfter}
	}
	for name, c := range map[string]struct {
		result provider.Result
		kind   problem.Kind
		want   string
	}{
		"denied":       {denied, problem.KindMistake, "wrong key (11003). It keeps the credential that it has"},
		"rejected":     {provider.Result{Outcome: provider.Rejected, Reason: "no such project"}, problem.KindMistake, "no such project"},
		"busy":         {busy(lockHint - 1), problem.KindBusy, "throttled. Try again later"},
		"locked":       {busy(lockHint), problem.KindMistake, "Try again in 1m0s"},
		"unreachable":  {unreachable, problem.KindUnreachable, "no route. To store it unchecked"},
		"no such host": {provider.Result{Outcome: provider.Unreachable, Misconfigured: true, Reason: "no such host"}, problem.KindMistake, "no such host. To store it unchecked"},
		"unknown":      {provider.Result{Outcome: provider.Unknown, Reason: "a proxy's page"}, problem.KindUnreachable, "a proxy's page"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				before := r.stored()
				r.remote.answer("new", c.result)
				err := r.write(withKey("new"))
				requireKind(t, c.kind, err)
				require.ErrorContains(t, err, "the connection was not stored, because its check failed: ")
				require.ErrorContains(t, err, c.want)
				require.Equal(t, before, r.stored())
				require.Equal(t, 1, r.logged("connection not stored: its check failed: connection=conn"), "others see that too")
				require.Zero(t, r.retries())
			})
		})
	}
}

func TestRepeatedWrongCredentialsAreRefused(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		used := 0
		for i := range 8 {
			key := fmt.Sprintf("wrong %d", i)
			r.remote.answer(key, denied)
			err := r.write(withKey(key))
			requireKind(t, problem.KindMistake, err)
			if i >= 2 {
				require.ErrorContains(t, err, "refused 2 times in a row (2 of them with another secret), and the remote system locks it after 5")
				require.ErrorContains(t, err, "the last refused write was that of config/conn at 2000-01-01T00:00:00Z. Try again at 2000-01-01T00:06:00Z; or write it with force=true")
			}
			used += r.remote.used(key)
		}
		require.Equal(t, 2, used, "two are left for the secret in use: it may be refused, and is checked then")
		require.Equal(t, 2, r.logged("connection not stored: its check failed"))
		time.Sleep(6 * time.Minute)
		r.mustWrite(withKey("right"))
		works, err := r.change(r.handle())
		require.NoError(t, err)
		require.True(t, works)
	})
}

// However often an operator's tool writes an obsolete secret, the remote system sees it once. It forgets nothing here.
func TestObsoleteSecretIsTriedOnce(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		r.remote.answer("obsolete", denied)
		for i := range 60 {
			requireKind(t, problem.KindMistake, r.write(withKey("obsolete")))
			if i%10 == 0 {
				works, err := r.change(r.handle())
				require.NoError(t, err, "the connection goes on")
				require.True(t, works)
			}
			if i == 30 {
				r.restart()
			}
			time.Sleep(30 * time.Second)
		}
		require.Equal(t, 1, r.remote.used("obsolete"))
		r.requireNotPaused()
		require.ErrorContains(t, r.write(withKey("obsolete")), "refused this secret at 2000-01-01T00:00:00Z (write of config/conn), and it is not tried again")

		r.remote.answer("obsolete", applied)
		r.mustWrite(forced("obsolete"))
		require.Equal(t, "obsolete", r.stored().Settings.String("key"))
		r.remote.answer("obsolete", denied)
		require.Error(t, r.write(forced("obsolete")))
	})
}

// Trials of several wrong secrets end before they reach the lock, and the connection is not paused by them.
func TestTrialsDoNotPauseWorkingConnection(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		h := r.handle()
		for i := range 20 {
			key := fmt.Sprintf("wrong %d", i)
			r.remote.answer(key, denied)
			require.Error(t, r.write(withKey(key)))
		}
		works, err := r.change(h)
		require.NoError(t, err)
		require.True(t, works)
		r.requireNotPaused()
		r.remote.answer("another", denied)
		require.Error(t, r.write(withKey("another")))
		require.Equal(t, 1, r.remote.used("another"), "the remote system has reset its count")
	})
}

// A paused connection whose attempts are spent is opened by one request, which says what it risks.
func TestForceTriesSpentCredential(t *testing.T) {
	for name, verify := range map[string]bool{"checked": true, "unchecked": false} {
		t.Run(name, func(t *testing.T) {
			withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
				r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.VerifyConnection = verify }})
				r.pause()
				for i := range 2 {
					key := fmt.Sprintf("wrong %d", i)
					r.remote.answer(key, denied)
					require.Error(t, r.write(connection.Patch{Settings: provider.Settings{"key": key}, Change: func(o *connection.Options) { o.VerifyConnection = true }}))
				}
				time.Sleep(24 * time.Hour)
				used := r.remote.used("key")
				err := r.write(withKey("key"))
				requireKind(t, problem.KindMistake, err)
				require.ErrorContains(t, err, "force=true: it is checked once, and if it is refused again, the remote system may lock the login")
				require.Equal(t, used, r.remote.used("key"))
				r.requirePaused()

				require.Error(t, r.write(forced("key")))
				require.Equal(t, used+1, r.remote.used("key"))
				r.remote.answer("key", applied)
				r.mustWrite(forced("key"))
				r.requireNotPaused()
				require.Equal(t, verify, r.stored().VerifyConnection)
			})
		})
	}
}

// A pause that could not be stored ends with the handle that knew it, and stays in status until the credential works.
func TestUnstoredPauseEndsWithCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", denied)
		r.remote.onCall(func(string) { r.storage.Arm(1, storagetest.Down, nil) })
		require.False(t, r.c.Denied(t.Context(), r.store(), r.handle(), r.c.Now()))
		r.remote.onCall(nil)
		r.storage.Heal()
		r.c.Cache.Drop("conn")
		require.Len(t, r.c.Health.Report(time.Now()).Paused, 1)
		require.Error(t, r.write(withKey("key")))
		r.remote.answer("key", applied)
		r.mustWrite(withKey("key"))
		r.requireNotPaused()
	})
}

// A tool that writes the right secret often does not make waiting roles try at once.
func TestRightSecretWrittenAgainRetriesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		used := r.remote.used("key")
		for range 10 {
			r.mustWrite(withKey("key"))
		}
		require.Equal(t, used, r.remote.used("key"))
		require.Equal(t, 1, r.stored().Revision)
	})
}

// A check waits for its turn with a credential that another call presents.
func TestCheckGivesUpWaitingForItsTurn(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		r.restart() // until a call has worked, calls run alone
		release := r.remote.blockCalls("key")
		defer release()
		done := inBackground(func() error { _, err := r.change(r.handle()); return err })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.c.Write(ctx, r.storage, "conn", withKey("new"))
		requireKind(t, problem.KindBusy, err)
		require.ErrorContains(t, err, "other calls are using its credential")
		release()
		require.NoError(t, <-done)
	})
}

func TestConnectionInUseKeepsItsAccounts(t *testing.T) {
	withRemote(t, &remote{settle: time.Minute}, func(t *testing.T, r *rig) {
		r.createRole()
		write := func(address string) error {
			return r.write(connection.Patch{Change: func(o *connection.Options) { o.Address = address }, Settings: provider.Settings{"key": "key"}})
		}
		require.NoError(t, write("https://remote.example/v2"), "the same host")
		calls := r.remote.used("key")
		require.ErrorContains(t, write("https://elsewhere.example"), "the host and the project of a connection in use cannot be changed")
		require.ErrorContains(t, r.write(connection.Patch{Settings: provider.Settings{"note": "another"}}), `role "role" would get another account`)
		r.remote.settle = 2 * time.Hour
		require.ErrorContains(t, write("https://remote.example/v3"), `role "role" has 3600 seconds`)
		r.remote.settle = 0
		r.remote.login = "|login"
		require.ErrorContains(t, r.write(withKey("new")), "a role of this mount changes the password of the account that it logs in with")
		require.Equal(t, calls, r.remote.used("key"), "no call was made with it")
		require.Zero(t, r.remote.used("new"))
		require.NoError(t, r.storage.Delete(t.Context(), "role/role"))
		require.NoError(t, write("https://elsewhere.example"), "no role uses it")
	})
}

// at is a patch that creates a connection at a host with a key.
func at(host, key string) connection.Patch {
	return connection.Patch{Provider: ptr("remote"), Settings: provider.Settings{"key": key}, Change: func(o *connection.Options) {
		o.Address = "https://" + host
	}}
}

// An error of a write means that nothing was stored. Otherwise the new credential is in use, and nothing of the old one.
func TestWriteIsAllOrNothing(t *testing.T) {
	failed := 0
	for n := 1; ; n++ {
		met := ""
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.createRole()
			r.pause()
			before := r.stored()
			r.storage.Arm(n, storagetest.Fails, nil)
			err := r.write(connection.Patch{Change: func(o *connection.Options) { o.Address = "https://remote.example/v2" }, Settings: provider.Settings{"key": "new"}})
			met = r.storage.Heal()
			if err != nil {
				failed++
				require.ErrorIs(t, err, storagetest.ErrFault, met)
				require.Equal(t, before, r.stored(), met)
				require.NotNil(t, r.handle().Paused(), met)
				return
			}
			require.Equal(t, 2, r.stored().Revision, met)
			require.Nil(t, r.handle().Paused(), met)
			require.Empty(t, r.c.Health.Report(time.Now()).Paused, met)
			require.Equal(t, 1, r.retries(), met)
			r.restart()
			require.Nil(t, r.handle().Paused(), met)
		})
		if met == "" {
			break
		}
	}
	require.Greater(t, failed, 5)
}

// A pause that a newer version wrote may mean something that this version does not know.
func TestPauseOfNewerVersionStopsWrites(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		newer := &logical.StorageEntry{Key: "pause/conn", Value: []byte(`{"schema":99}`)}
		require.NoError(t, r.storage.Put(t.Context(), newer))
		require.ErrorContains(t, r.write(withKey("new")), "newer version")
		require.ErrorContains(t, r.delete(), "newer version")
		require.Equal(t, "key", r.stored().Settings.String("key"))
	})
}

func TestWorkingCredentialWrittenAgainEndsPause(t *testing.T) {
	for name, again := range map[string]connection.Patch{"checked": withKey("key"), "unchecked": unchecked("key")} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				pause := r.pause()
				require.Error(t, r.write(withKey("key")))
				require.Equal(t, pause, r.requirePaused())
				r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 7 }})
				require.Equal(t, pause, r.requirePaused(), "another field does not end it")
				r.retries()
				r.remote.answer("key", applied)
				r.mustWrite(again)
				r.requireNotPaused()
				require.Equal(t, 1, r.retries())
				require.Equal(t, 2, r.stored().Revision)
				r.restart()
				r.requireNotPaused()
			})
		})
	}
}

// A policy is tried when it is set. It may have been changed since then.
func TestPolicyIsTriedWhenSet(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.PasswordPolicy = "policy" }})
		r.policy = errors.New("the policy is gone")
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 3 }})
		require.ErrorIs(t, r.write(connection.Patch{Change: func(o *connection.Options) { o.PasswordPolicy = "other" }}), r.policy)
	})
}

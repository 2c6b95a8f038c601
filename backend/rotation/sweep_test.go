package rotation

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

// The sweep resumes a role that is stored as being sent long after the deadline, although the queue knows the role.
func TestSweepResumesLostSend(t *testing.T) {
	for name, period := range map[string]time.Duration{"at rest": 0, "due in a month": 30 * day} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(period, nil)
				var sending *logical.StorageEntry
				r.remote.onChange(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
					sending, _ = r.storage.Get(ctx, roleKey)
					return applied, true
				})
				r.mustRotate()
				r.remote.succeed()
				require.NoError(t, r.storage.Put(t.Context(), sending), "the outcome is lost")
				r.engine.health.Sending("role", time.Now()) // as the lost work noted
				require.Equal(t, credential.StateUncertain, r.read().State)
				r.wakeFor(12)
				require.Equal(t, credential.StateActive, r.read().State)
				require.Equal(t, 3, r.remote.changeCount(), "the same password is sent again")
				require.Equal(t, 2, r.version())
				r.requireKnown()
			})
		})
	}
}

// An entry that panics stops neither the other entries nor the process, which serves other mounts too.
func TestSweepSurvivesEntryThatPanics(t *testing.T) {
	inChild(t, func(t *testing.T) {
		for _, damaged := range []string{store.RolePrefix + "damaged", store.PausePrefix + "damaged"} {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				r.createRoles("damaged")
				r.createConnection("damaged", "key")
				require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: store.PausePrefix + "damaged", Value: []byte(`{"schema":1}`)}))
				r.storage.failIf(func(operation, key string) error {
					if operation == storagetest.Get && key == damaged {
						panic("in storage")
					}
					return nil
				})
				r.restart()
				require.False(t, r.engine.Health().Complete, damaged)
				require.NotEmpty(t, r.log.lines("panic"), "the panic is logged")
				r.wakeFor(62)
				require.Equal(t, 2, r.version(), "the other role is changed when it is due")
				r.storage.heal()
				r.wakeFor(12)
				require.True(t, r.engine.Health().Complete, damaged)
			})
		}
	})
}

func TestFailedListIsRepeatedSoon(t *testing.T) {
	for _, prefix := range []string{store.ConnectionPrefix, store.RolePrefix} {
		t.Run(prefix, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				r.createRoles("other")
				r.engine.Stop()
				advance(2 * time.Hour)
				failed := false
				r.storage.failIf(func(operation, key string) error {
					if operation == opList && key == prefix && !failed {
						failed = true
						return errors.New("gone")
					}
					return nil
				})
				r.start()
				require.True(t, failed)
				r.wakeFor(2)
				health := r.engine.Health()
				require.True(t, health.Complete)
				require.Equal(t, 2, health.Roles)
				r.wakeFor(1) // overdue changes are spread over a minute
				require.Equal(t, 2, r.version())
			})
		})
	}
}

// guardsOf returns the storage keys of the guards of these keys.
func guardsOf(keys ...string) (entries []string) {
	for _, key := range keys {
		entries = append(entries, guardOf(key))
	}
	return entries
}

// Each temporary key leaves a guard. That of a key that no connection uses is removed after a day: the remote system has
// forgotten the refusals long before.
func TestGuardsOfUnusedCredentialsAreRemoved(t *testing.T) {
	for name, restarts := range map[string]bool{"while the engine runs": false, "across a restart": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				k := r.useKeys(5)
				for _, key := range []string{"old1", "old2", "old3", "old4"} {
					r.mustWriteConn(withKey(key))
				}
				r.createConnection("idle", "old2") // in use, though it makes no call
				r.createConnection("deleted", "old5")
				require.NoError(t, r.engine.Connections.Delete(t.Context(), r.storage, "deleted"))
				advance(time.Second)
				if restarts {
					r.restartWith(k)
				}
				r.wakeFor(23 * 60)
				require.Subset(t, r.entries(store.GuardPrefix), guardsOf("old1", "old2", "old3", "old4", "old5"), "they are less than a day old")
				r.mustWriteConn(withKey("young"))
				r.mustWriteConn(withKey("present"))
				r.wakeFor(2 * 60)
				require.ElementsMatch(t, guardsOf("old2", "young", "present"), r.entries(store.GuardPrefix))
				require.LessOrEqual(t, r.engine.guards.Len(), 3)
				r.wakeFor(24 * 60)
				require.ElementsMatch(t, guardsOf("old2", "present"), r.entries(store.GuardPrefix))
				require.LessOrEqual(t, r.engine.guards.Len(), 2)
				r.createRoles("role")
			})
		})
	}
}

// The guard of a credential in use is kept, however old its last refusal is.
func TestGuardOfRefusedCredentialInUseStays(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		k := r.useKeys(3)
		r.createRoles("role")
		k.refuse("key", true)
		require.Error(t, r.rotateAll("role")[0])
		used := k.used("key")
		r.wakeFor(50 * 60)
		r.restartWith(k)
		require.ErrorContains(t, r.rotateAll("role")[0], "paused")
		require.Equal(t, used, k.used("key"))
		require.Equal(t, 2, r.attempts("key").Refused)
	})
}

// childVariable marks the child process of a test.
const childVariable = "ROTATION_TEST_CHILD"

// inChild runs a test in a process of its own, so that a panic that ends the process fails only this test.
func inChild(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(childVariable) != "" {
		test(t)
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=yes")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "the process ended: %.2000s", out)
}

// The role is created again just after the sweep found that it does not exist.
func TestSweepKeepsRoleCreatedMeanwhile(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.engine.Stop()
		created := make(chan error, 1)
		removed := false // set while no sweep runs
		r.storage.Storage = &storagetest.Hooked{Storage: r.storage.Storage, After: func(operation, key string) {
			if operation == storagetest.Get && key == roleKey && removed {
				removed = false
				go func() {
					_, err := r.create(nil)
					created <- err
				}()
				time.Sleep(time.Second)
			}
		}}
		r.start()
		advance(time.Minute)
		require.NoError(t, r.storage.Delete(t.Context(), roleKey))
		require.NoError(t, r.storage.Delete(t.Context(), store.TargetKey("", "remote|login")))
		removed = true
		r.wakeFor(11)
		require.NoError(t, <-created)
		require.Equal(t, 1, r.engine.Health().Roles)
	})
}

package rotation

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// useServer restarts the engine with a remote system that counts refusals of all keys together, and creates connections
// with keys of their own, each with a role.
func (r *rig) useServer(refusals int, names ...string) *keyedRemote {
	r.Helper()
	k := r.useKeys(refusals)
	k.sender = provider.Sender{Server: "server", Refusals: 3, Window: 10 * time.Minute}
	r.engine.cache.Drop("conn")
	r.createRoles("role")
	for _, name := range names {
		r.createConnection(name, name)
		r.createAs(name, func(in *NewRole) { in.Connection = name })
	}
	return k
}

// However many credentials stop working, at most three calls are refused in ten minutes.
func TestServerRefusesFewCallsOfMount(t *testing.T) {
	for name, refusals := range map[string]int{"logins": 5, "keys that are not locked": 0} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				names := []string{"a", "b", "c", "d"}
				k := r.useServer(refusals, names...)
				r.restartWith(k) // none has worked since
				var mu sync.Mutex
				var times []time.Time
				k.onCall(func(_ call, result *provider.Result) {
					mu.Lock()
					defer mu.Unlock()
					if result.Outcome == provider.Denied {
						times = append(times, time.Now())
					}
				})
				for _, name := range names {
					k.refuse(name, true)
				}
				for i := range 60 {
					for _, name := range names {
						require.Error(t, r.rotateAll(name)[0])
						wrong := fmt.Sprintf("wrong %s %d", name, i)
						k.refuse(wrong, true)
						require.Error(t, r.engine.Connections.Write(t.Context(), r.storage, name, withKey(wrong)))
					}
					advance(time.Minute)
				}
				mu.Lock()
				defer mu.Unlock()
				require.GreaterOrEqual(t, len(times), 6)
				for i := range len(times) - 3 {
					require.GreaterOrEqual(t, times[i+3].Sub(times[i]), 10*time.Minute, "four calls were refused")
				}
			})
		})
	}
}

// A credential that works goes on. One that is not known to work waits, and says until when and why.
func TestUnprovedCredentialWaitsForServerToForget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		k := r.useServer(5, "a", "b")
		r.restartWith(k)
		r.mustRotate()
		k.refuse("a", true)
		k.refuse("wrong", true)
		require.Error(t, r.rotateAll("a")[0], "refused, and so is the check")
		err := r.engine.Connections.Write(t.Context(), r.storage, "b", withKey("wrong"))
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		until := time.Now().Add(10*time.Minute + 10*time.Second)

		used := k.used("b")
		err = r.rotateAll("b")[0]
		require.Equal(t, problem.KindBusy, kindOf(t, err))
		require.ErrorContains(t, err, "blocks Vault's address after too many of them")
		require.ErrorContains(t, err, "next attempt is at "+until.UTC().Format("2006-01-02T15:04"))
		err = r.engine.Connections.Write(t.Context(), r.storage, "a", withKey("right"))
		require.ErrorContains(t, err, "3 calls from this mount were refused by this server within 10m0s")
		require.ErrorContains(t, err, "Try again at "+until.UTC().Format(time.RFC3339))
		require.Equal(t, problem.KindMistake, kindOf(t, err), "clients do not repeat it")
		require.Equal(t, used, k.used("b"))
		require.Zero(t, k.used("right"))
		require.Equal(t, 3, r.mustRotate().View.Password.Version)

		advance(time.Until(until) + time.Minute)
		r.requireVersion("b", 2)
		require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "a", withKey("right")))
		advance(time.Minute)
		r.requireVersion("a", 2)
	})
}

// What mends the last failure does not end a wait that began after it: the role would be tried over and over.
func TestMendedRoleWaitsForServerToForget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		k := r.useServer(5, "a", "b")
		var lost atomic.Bool
		k.onCall(func(c call, result *provider.Result) {
			if c.login == "role" && c.kind == callChange {
				*result = unreachable
				if !lost.Swap(true) {
					*result = unknown
				}
			}
		})
		_ = r.rotateAll("role")
		advance(10 * time.Second) // the next attempt does not get through
		require.Equal(t, credential.StateUncertain, r.read().State)
		for _, key := range []string{"a", "wrong"} {
			k.refuse(key, true)
		}
		require.Error(t, r.rotateAll("a")[0])
		require.Error(t, r.engine.Connections.Write(t.Context(), r.storage, "b", withKey("wrong")))
		puts := 0
		r.storage.failIf(func(operation, key string) error {
			if operation == opPut && key == roleKey {
				if puts++; puts > 100 {
					return errors.New("the role is stored over and over")
				}
			}
			return nil
		})
		r.mustWriteConn(unchecked("another")) // not known to work
		advance(time.Minute)
		r.storage.heal()
		require.LessOrEqual(t, puts, 3)
		used := k.used("another")
		advance(10 * time.Minute)
		require.Greater(t, k.used("another"), used, "the server has forgotten the refusals")
	})
}

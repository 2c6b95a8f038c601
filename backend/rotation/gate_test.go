package rotation

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// A heartbeat that cannot be read may be an old one.
func TestNothingRunsBeforeHeartbeatIsKnown(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		for _, key := range []string{store.HeartbeatKey, store.FreezeKey, store.SettingsKey} {
			r.engine.Stop()
			r.storage.fail(opGet, key, "gone")
			r.start()
			r.update(func(o *role.Options) { o.MaxReadTTL++ }, nil) // which queues the role
			calls, version := r.remote.changeCount(), r.version()
			advance(2 * time.Hour)
			require.Equal(t, calls, r.remote.changeCount(), key)
			_, err := r.engine.Gate.Read(t.Context(), r.storage)
			require.ErrorContains(t, err, "gone")
			r.storage.heal()
			r.engine.Wake()
			advance(2 * time.Minute)
			require.Equal(t, version+1, r.version(), "soon after storage works again")
		}
	})
}

// A read changes nothing before it is known that automation may run: the mount may be frozen, or restored from a snapshot.
// Requests of operators are carried out, unless it is not known which hosts the mount may connect to.
func TestReadSendsNothingBeforeFreezeIsKnown(t *testing.T) {
	for _, key := range []string{store.HeartbeatKey, store.FreezeKey, store.SettingsKey} {
		t.Run(key, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createOnRead()
				r.engine.Stop()
				r.storage.fail(opGet, key, "gone")
				r.start()
				calls := r.remote.changeCount()
				for range 3 {
					require.Equal(t, 1, r.serve().View.Password.Version)
					_, err := r.serveNone()
					require.Equal(t, problem.KindBusy, kindOf(t, err))
					require.Equal(t, calls, r.remote.changeCount(), "nothing was sent")
					r.wakeFor(1)
				}
				if _, err := r.rotate(); key == store.SettingsKey {
					require.ErrorContains(t, err, "reading the settings")
				} else {
					require.NoError(t, err)
					require.Equal(t, 2, r.serve().View.Password.Version)
				}

				r.storage.heal()
				r.wakeFor(2)
				report, err := r.serveNone()
				require.NoError(t, err)
				require.Equal(t, r.remote.password("none"), report.View.Password.Value)
			})
		})
	}
}

// Whoever writes the settings, those of a newer version are not replaced.
func TestNewerSettingsAreNotReplaced(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		newer := []byte(`{"schema":2,"catch_up_limit":90,"other":true}`)
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: store.SettingsKey, Value: newer}))
		err := r.engine.Gate.WriteSettings(t.Context(), r.storage, func(s *store.Settings) { s.CatchUpLimit = 3600 })
		require.ErrorContains(t, err, "newer version")
		entry, err := r.storage.Get(t.Context(), store.SettingsKey)
		require.NoError(t, err)
		require.Equal(t, newer, entry.Value)
	})
}

func TestReadSendsNothingBeforeStart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createOnRead()
		r.engine.Stop()
		r.engine = New(Config{Types: []provider.Type{r.remote}, Policies: r})
		calls := r.remote.changeCount()
		require.Equal(t, 1, r.serve().View.Password.Version)
		_, err := r.serveNone()
		require.Error(t, err)
		require.Equal(t, calls, r.remote.changeCount())
	})
}

// A read changes nothing before the promoted standby has checked the heartbeat.
func TestReadOnPromotedStandbyWaitsForHeartbeat(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.setCatchUpLimit(store.DefaultCatchUpLimit)
		r.createOnRead()
		r.engine.Stop()
		r.readOnly.Store(true)
		r.start()
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.ErrorIs(t, err, logical.ErrReadOnly, "the standby knows that the mount is not frozen")
		advance(26 * time.Hour)
		calls := r.remote.changeCount()
		r.readOnly.Store(false)
		require.Equal(t, 1, r.serve().View.Password.Version)
		require.Equal(t, calls, r.remote.changeCount())
		r.wakeFor(5)
		require.Equal(t, 1, r.serve().View.Password.Version)
		r.requireFrozen(calls)
	})
}

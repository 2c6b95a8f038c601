package rotation

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// standbyFor starts an engine with storage of its own view, as another node has it. takeOver lets it write, and this node no
// longer.
func (r *rig) standbyFor(d *door) (takeOver func() *Engine) {
	next, active := &storage{Storage: r.storage.Storage}, &atomic.Bool{}
	standby := New(Config{Types: []provider.Type{r.remote}, Policies: r, Writable: active.Load, Login: d.login})
	standby.Start(next)
	r.Cleanup(standby.Stop)
	synctest.Wait()
	return func() *Engine {
		r.readOnly.Store(true)
		r.storage.failAll()
		active.Store(true)
		r.storage = next
		standby.Wake()
		synctest.Wait()
		return standby
	}
}

// A node that takes over knows which logins were refused before, and the one before makes no more.
func TestFailoverKeepsBudgetOfRefusedLogins(t *testing.T) {
	t.Parallel()
	for name, stops := range map[string]bool{"the other node stops": true, "the other node goes on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inProvedTime(t, func(t *testing.T, r *rig, d *door) {
				for range 4 {
					r.mustRotate()
				}
				takeOver, former, formerStorage := r.standbyFor(d), r.engine, r.storage
				r.remote.setPassword("login", "changed outside")
				_, err := former.RecoverRole(r.Context(), formerStorage, "role")
				require.NoError(t, err)
				require.Equal(t, 2, d.refusals())

				r.engine = takeOver()
				if stops {
					former.Stop()
				}
				_, err = former.RecoverRole(r.Context(), formerStorage, "role")
				require.Error(t, err)
				proved, err := r.engine.RecoverRole(r.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Equal(t, credential.StateDrifted, proved.Report.View.State)
				require.WithinDuration(t, time.Now().Add(15*time.Minute), proved.Until, 2*time.Minute)
				require.Equal(t, 2, d.refusals())

				advance(time.Until(proved.Until))
				_, err = r.engine.RecoverRole(r.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Equal(t, 4, d.refusals(), "the next two passwords")
				if !stops {
					former.Stop()
				}
			})
		})
	}
}

// A login that runs when another node takes over counts there: its answer may be a refusal.
func TestFailoverCountsRunningLogins(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		for range 4 {
			r.mustRotate()
		}
		takeOver, former, formerStorage := r.standbyFor(d), r.engine, r.storage
		r.remote.setPassword("login", "changed outside")
		slow := newBlock()
		d.pauseAt(slow)
		go func() { _, _ = former.RecoverRole(r.Context(), formerStorage, "role") }()
		synctest.Wait()
		require.True(t, slow.isReached())

		r.engine = takeOver()
		_, err := r.engine.RecoverRole(r.Context(), r.storage, "role")
		require.NoError(t, err)
		slow.release()
		synctest.Wait()
		former.Stop()
		require.Equal(t, 2, d.refusals(), "one of each node")
	})
}

package connection

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// The connection may have been written between the read and Keep, here or on another node.
func TestHandleReadBeforeDropIsNotCached(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, ticket := r.cache.Get("conn")
		r.cache.Drop("conn")
		old := r.open(nil)
		require.Same(t, old, r.cache.Keep(old, ticket), "it serves the request that read it")
		cached, _ := r.cache.Get("conn")
		require.Nil(t, cached, "and no other")
	})
}

// A ticket says nothing of which connection was dropped.
func TestDropOfAnyConnectionEndsTickets(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, ticket := r.cache.Get("conn")
		r.cache.Drop("other")
		r.cache.Keep(r.open(nil), ticket)
		cached, ticket := r.cache.Get("conn")
		require.Nil(t, cached)
		h := r.open(nil)
		r.cache.Keep(h, ticket)
		cached, _ = r.cache.Get("conn")
		require.Same(t, h, cached)
	})
}

func TestFirstKeptHandleIsUsedByAll(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, ticket := r.cache.Get("conn")
		first, second := r.open(nil), r.open(nil)
		require.Same(t, first, r.cache.Keep(first, ticket))
		require.Same(t, first, r.cache.Keep(second, ticket), "its pause and its checks are known")
		cached, _ := r.cache.Get("conn")
		require.Same(t, first, cached)
		other, _ := r.cache.Get("other")
		require.Nil(t, other)
		r.cache.Drop("conn")
		cached, _ = r.cache.Get("conn")
		require.Nil(t, cached)
	})
}

// Only a connection that is stored changes how many changes run: others are only tried.
func TestOnlyKeptHandleResizesSlots(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, ticket := r.cache.Get("conn")
		r.cache.Keep(r.open(nil), ticket)
		more := func(c *Connection) { c.MaxInFlight = 7 }
		tried := r.open(more)
		require.Equal(t, 2, tried.Room())
		r.cache.Drop("conn")
		require.Equal(t, 2, r.cache.Keep(r.open(more), ticket).Room(), "it was read before the drop")
		_, ticket = r.cache.Get("conn")
		require.Equal(t, 7, r.cache.Keep(r.open(more), ticket).Room())
	})
}

func TestOpenReportsErrors(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		open := func(change func(*Connection)) error {
			stored := Connection{Name: "conn", Provider: "remote"}
			change(&stored)
			h, err := r.cache.Open(stored, Limits{})
			require.Nil(t, h)
			return err
		}
		require.ErrorContains(t, open(func(c *Connection) { c.Provider = "gone" }), `"conn" has the provider "gone"`)
		require.EqualError(t, open(func(c *Connection) { c.Address = "bad" }), "the url is not valid")
		r.remote.opens = errors.New("ca_cert is not PEM")
		require.EqualError(t, open(func(*Connection) {}), "ca_cert is not PEM")
	})
}

func TestOpenCompletesConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(nil)
		require.Equal(t, "https://remote.example", h.Completed.URL)
		require.Equal(t, "https://login.example", h.Completed.Settings.String("login_url"))
		require.Empty(t, h.Address, "what is stored stays as the operator gave it")
		require.False(t, h.Settings.Has("login_url"))
		require.Equal(t, r.remote, h.Kind)

		bare := r.open(func(c *Connection) { c.Settings = nil })
		require.True(t, bare.Completed.Settings.Has("login_url"))
	})
}

func TestMarginCoversQueuedChanges(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for settles, want := range map[time.Duration]time.Duration{0: time.Minute, 30 * time.Second: time.Minute, time.Hour: time.Hour} {
			r.remote.settleAfter = settles
			h := r.open(nil)
			require.Equal(t, want, h.Margin())
			require.Equal(t, settles, h.SettleAfter())
		}
	})
}

func TestHandlesShareGuardOfCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h, other := r.open(nil), r.open(func(c *Connection) { c.Name, c.Revision = "other", 3 })
		require.Same(t, h.Guard, other.Guard)
		require.NotSame(t, h.slots, other.slots)
		r.remote.lockout = provider.Lockout{}
		require.NotSame(t, r.open(nil).Guard, r.open(func(c *Connection) { c.Revision = 2 }).Guard)
	})
}

func TestHandleRemembersPauseAndCheck(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(nil)
		require.Nil(t, h.Paused())
		require.Zero(t, h.OpenedAt())
		began := time.Now()
		require.False(t, h.CheckedSince(began))
		pause := &Pause{Reason: "refused"}
		h.SetPause(pause)
		require.Same(t, pause, h.Paused())
		time.Sleep(time.Minute)
		h.Checked(time.Now())
		require.True(t, h.CheckedSince(began))
		require.False(t, h.CheckedSince(time.Now()), "it must have begun later")
		h.EndPause(time.Now())
		require.Nil(t, h.Paused())
		require.Equal(t, time.Now(), h.OpenedAt())
	})
}

func TestCacheMayBeUsedConcurrently(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for j := range 200 {
				name := fmt.Sprint(j % 3)
				h, ticket := r.cache.Get(name)
				if h == nil {
					opened, err := r.cache.Open(Connection{Name: name, Provider: "remote", Options: Options{MaxInFlight: 1 + j%4}, Revision: j % 5}, Limits{})
					if err != nil {
						t.Error(err)
						return
					}
					h = r.cache.Keep(opened, ticket)
				}
				if h.Name != name {
					t.Errorf("a handle of %s for %s", h.Name, name)
				}
				h.Room()
				if (i+j)%10 == 0 {
					r.cache.Drop(name)
				}
			}
		})
	}
	users.Wait()
}

// A handle that is read from storage while a pause is stored may lack the pause.
func TestHandleReadDuringPauseIsNotCached(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(nil)
		_, ticket := r.cache.Get(h.Name)
		require.Equal(t, []*Handle{h}, r.cache.Handles(h))
		r.cache.Keep(h, ticket)
		cached, _ := r.cache.Get(h.Name)
		require.Nil(t, cached)
	})
}

// What waited for the end of a pause need not wait any more, even if the connection was written since.
func TestEndOfPauseIsKnownAfterWrite(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for _, drop := range []func(){func() { r.cache.Drop("conn") }, r.cache.DropAll} {
			ended := time.Now()
			opened, err := r.cache.Open(Connection{Name: "conn", Provider: "remote"}, Limits{})
			require.NoError(t, err)
			_, ticket := r.cache.Get("conn")
			r.cache.Keep(opened, ticket).EndPause(ended)
			drop()
			opened, err = r.cache.Open(Connection{Name: "conn", Provider: "remote"}, Limits{})
			require.NoError(t, err)
			_, ticket = r.cache.Get("conn")
			require.Equal(t, ended, r.cache.Keep(opened, ticket).OpenedAt())
			r.cache.Drop("conn")
		}
	})
}

package lockout

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// stopAt makes the next operation that matches wait for release. reached is closed when it waits.
func (m *memory) stopAt(matches func(operation string, a Attempts) bool) (reached <-chan struct{}, release func()) {
	met, released := make(chan struct{}), make(chan struct{})
	var stopped atomic.Bool
	m.set(func() {
		m.blocks = func(operation string, a Attempts) {
			if matches(operation, a) && !stopped.Swap(true) {
				close(met)
				<-released
			}
		}
	})
	return met, sync.OnceFunc(func() { close(released) })
}

// on matches an operation.
func on(operation string) func(string, Attempts) bool {
	return func(o string, _ Attempts) bool { return o == operation }
}

// While an entry is between its read and its write, no other change of it is made: each of these pairs would hide the
// attempt of the other, or bring a hold back.
func TestUpdatesDoNotHideEachOther(t *testing.T) {
	take := func(r *rig) { // counts an attempt whose call is then running
		p, err := r.Enter(r.Context())
		if err == nil {
			err = p.Take(r.Context(), r.memory, true)
		}
		if err != nil {
			r.Error(err)
		}
	}
	renew := func(proved bool) func(r *rig) {
		return func(r *rig) {
			if err := r.Renew(r.Context(), r.memory, proved, true); err != nil {
				r.Error(err)
			}
		}
	}
	for name, pair := range map[string]struct {
		first, second func(r *rig)
	}{
		"attempt and renewal":       {take, renew(true)},
		"renewal and attempt":       {renew(true), take},
		"attempt, renewal unproved": {take, renew(false)},
		"renewal unproved, attempt": {renew(false), take},
	} {
		for _, operation := range []string{"get", "put"} {
			t.Run(name+" at "+operation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, five)
					r.call(refused)
					r.call(unknown)
					r.call(hinted(20 * time.Second))
					reached, release := r.stopAt(on(operation))
					go pair.first(r)
					<-reached
					go pair.second(r)
					synctest.Wait()
					release()
					synctest.Wait()
					a := r.stored()
					require.GreaterOrEqual(t, a.Refused+a.Unanswered, 3, "the attempt stays counted")
					require.Zero(t, r.storedHold().Hold, "the hold does not come back")
					require.Zero(t, r.HeldUntil())
				})
			})
		}
	}
}

func TestUpdateIsAtomic(t *testing.T) {
	t.Parallel()
	r := newRig(t, provider.Lockout{Credential: "c", Refusals: 500})
	r.set(func() { r.blocks = func(string, Attempts) { runtime.Gosched() } })
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 25 {
				if err := r.update(t.Context(), r.memory, func(a *Attempts) { a.Unanswered++ }, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	r.requireStored(0, 200)
}

func TestUpdateWritesOnlyChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.put(Attempts{Refused: 1, Last: r.time()})
	stored := 0
	require.NoError(t, r.update(t.Context(), r.memory, func(*Attempts) {}, func() { stored++ }))
	require.Equal(t, 1, r.puts)
	require.Equal(t, 1, stored, "storage says so already")
	change := func(a *Attempts) { a.Refused = 2 }
	for _, operation := range []string{"get", "put"} {
		r.failing(operation)
		require.ErrorIs(t, r.update(t.Context(), r.memory, change, func() { stored++ }), errStorage)
	}
	r.failing("")
	require.Equal(t, 1, stored)
	r.requireStored(1, 0)
	require.NoError(t, r.update(t.Context(), r.memory, change, func() { stored++ }))
	require.Equal(t, 2, stored)
	r.requireStored(2, 0)
}

// Storage may hang. A call that waits for it gives up with its context, and is not made.
func TestAttemptGivesUpWhileStorageHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, five)
		r.putHold(r.time().Add(time.Hour))
		reached, release := r.stopAt(on("put"))
		renewed := make(chan error, 1)
		go func() { renewed <- r.Renew(t.Context(), r.memory, true, true) }()
		<-reached
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p := r.enter()
		require.ErrorIs(t, p.Take(ctx, r.memory, false), context.DeadlineExceeded)
		p.Leave()
		release()
		require.NoError(t, <-renewed)
		r.requireStored(0, 0)
		r.call(applied)
	})
}

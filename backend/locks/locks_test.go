package locks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// mustLock locks a name without waiting.
func mustLock(t *testing.T, l *Locks, name string) (unlock func()) {
	t.Helper()
	began := time.Now()
	unlock, err := l.Lock(t.Context(), name)
	require.NoError(t, err)
	require.Zero(t, time.Since(began), "in the time of a bubble")
	return unlock
}

func TestLockWaitsForHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		first := mustLock(t, &l, "role")
		took := make(chan func(), 1)
		go func() {
			unlock, err := l.Lock(t.Context(), "role")
			if err == nil {
				took <- unlock
			}
		}()
		time.Sleep(time.Hour)
		require.Empty(t, took)
		mustLock(t, &l, "other")() // another name is another lock
		first()
		second := <-took
		require.True(t, l.Held("role"))
		second()
		require.False(t, l.Held("role"))
	})
}

func TestLockGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		unlock := mustLock(t, &l, "role")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		gaveUp := make(chan error, 1)
		go func() { _, err := l.Lock(ctx, "role"); gaveUp <- err }()
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		require.Empty(t, gaveUp, "it waits as long as its context lasts")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(gaveUp) == 0 {
			unlock()
			t.Fatal("it still waits after its context ended")
		}
		require.ErrorIs(t, <-gaveUp, context.DeadlineExceeded)
		require.True(t, l.Held("role"), "the holder has it still")
		unlock()
		require.Empty(t, l.named, "nothing is kept of a waiter that gave up")
		mustLock(t, &l, "role")()
	})
}

func TestTryDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		unlock := l.Try("role")
		require.NotNil(t, unlock)
		require.True(t, l.Held("role"))
		require.False(t, l.Held("other"))
		require.Nil(t, l.Try("role"))
		other := l.Try("other")
		require.NotNil(t, other)
		other()
		unlock()
		again := l.Try("role")
		require.NotNil(t, again)
		again()
		require.Empty(t, l.named)
	})
}

// A request that waits comes before background work that tries.
func TestTryFailsWhileNameIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		unlock := mustLock(t, &l, "role")
		took := make(chan func(), 1)
		go func() {
			second, _ := l.Lock(context.Background(), "role")
			took <- second
		}()
		synctest.Wait()
		unlock()
		require.Nil(t, l.Try("role"))
		(<-took)()
		last := l.Try("role")
		require.NotNil(t, last)
		last()
	})
}

// However many use them, one at a time holds a name, and nothing is kept of names that are not in use.
func TestLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	var l Locks
	held := map[string]int{} // by name, written under its lock
	var mu sync.Mutex
	use := func(name string, unlock func()) {
		mu.Lock()
		held[name]++
		alone := held[name] == 1
		mu.Unlock()
		if !alone {
			t.Errorf("two hold %s", name)
		}
		mu.Lock()
		held[name]--
		mu.Unlock()
		unlock()
	}
	var users sync.WaitGroup
	for i := range 16 {
		users.Go(func() {
			for j := range 500 {
				name := fmt.Sprint((i * j) % 5)
				switch j % 3 {
				case 0:
					if unlock := l.Try(name); unlock != nil {
						use(name, unlock)
					}
				case 1:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(j%7)*time.Microsecond)
					if unlock, err := l.Lock(ctx, name); err == nil {
						use(name, unlock)
					}
					cancel()
				default:
					unlock, err := l.Lock(t.Context(), name)
					if err != nil {
						t.Error(err)
						return
					}
					use(name, unlock)
				}
				l.Held(name)
			}
		})
	}
	users.Wait()
	require.Empty(t, l.named)
}

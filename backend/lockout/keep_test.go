package lockout

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// A connection may be opened after the connections were listed: two guards of one credential would not know of each other.
func TestGuardInUseIsKept(t *testing.T) {
	guards := NewGuards(Config{Timing: timing.Timing{Now: time.Now}})
	of := func() *Guard { return guards.Of(provider.Lockout{Credential: "key", Refusals: 3}, "conn", 1) }
	known := of()
	guards.Keep(nil)
	require.Same(t, known, of(), "it was asked for after the list was made, for all that is known")
	guards.Keep(map[string]bool{known.Key(): true})
	guards.Keep(map[string]bool{known.Key(): true})
	require.Equal(t, 1, guards.Len())

	permit, err := known.Enter(noWait)
	require.NoError(t, err)
	guards.Keep(nil)
	require.Equal(t, 1, guards.Len(), "a call is running")
	permit.Leave()
	guards.Keep(nil)
	require.Zero(t, guards.Len())
}

// slowStore holds one read of an entry up.
type slowStore struct {
	mu     sync.Mutex
	entry  Attempts
	holdUp chan struct{} // nil: not
}

func (s *slowStore) Attempts(context.Context, string) (Attempts, error) {
	s.mu.Lock()
	entry, wait := s.entry, s.holdUp
	s.holdUp = nil
	s.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return entry, nil
}

func (s *slowStore) PutAttempts(_ context.Context, _ string, a Attempts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry = a
	return nil
}

// A hold that an operator's credential ends does not come back with the outcome of a call that was running.
func TestEndedHoldStaysEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guards := NewGuards(Config{Timing: timing.Timing{Now: time.Now, Random: rand.Reader}})
		g, s, ctx := guards.Of(provider.Lockout{Credential: "key", Refusals: 5}, "conn", 1), &slowStore{}, t.Context()
		call := func() *Permit {
			permit, err := g.Enter(ctx)
			require.NoError(t, err)
			require.NoError(t, permit.Take(ctx, s, false))
			return permit
		}
		running := call()
		g.mu.Lock() // a call that ran beside it was throttled
		g.hold, g.holds = Hold{Until: g.Now().Add(time.Hour)}, 1
		g.mu.Unlock()
		proceed := make(chan struct{})
		s.holdUp = proceed
		renewed := make(chan error, 1)
		go func() { renewed <- g.Renew(ctx, s, true, true) }()
		synctest.Wait()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			running.Answered(ctx, s, provider.Result{Outcome: provider.Applied})
		}()
		synctest.Wait()
		close(proceed)
		require.NoError(t, <-renewed)
		<-answered
		require.Zero(t, g.HeldUntil())
		require.Zero(t, s.entry.Hold)
	})
}

package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
)

// storm does what operators, readers, remote systems and storage may do, by chance and at the same time.
type storm struct {
	*rig
	k     *keyedRemote
	rand  *rand.Rand
	names []string
	mu    sync.Mutex // guards the fields below
	// calls and fails are how likely a call is answered badly, and how likely storage fails, in percent.
	calls, fails int
	chance       *rand.Rand
}

func (s *storm) odds(percent int) bool {
	return percent > 0 && s.chance.IntN(100) < percent
}

// badly is an answer by chance.
func (s *storm) badly(result *provider.Result) {
	*result = []provider.Result{
		unknown, unreachable, weakPassword, noAccount, busy, throttled(time.Duration(s.chance.IntN(3)) * time.Minute), refusedCredential, queued,
		{Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no right"},
	}[s.chance.IntN(9)]
}

func (s *storm) begin() {
	for _, r := range []struct {
		name    string
		options func(*role.Options)
	}{
		{"hourly", func(o *role.Options) { o.RotationPeriod = 3600 }},
		{"daily", func(o *role.Options) { o.RotationPeriod = 24 * 3600 }},
		{"cron", func(o *role.Options) { o.RotationSchedule, o.RotationWindow = "0 */2 * * *", 3600 }},
		{"read", func(o *role.Options) { o.RotationPeriod, o.RotationMode = 3600, role.ModeOnRead }},
		{"after", func(o *role.Options) { o.RotateAfterRead = 3600 }},
		{"hand", nil},
	} {
		s.names = append(s.names, r.name)
		s.createAs(r.name, func(in *NewRole) {
			if r.options != nil {
				r.options(&in.Options)
			}
		})
	}
	s.k.onCall(func(_ call, result *provider.Result) {
		s.mu.Lock()
		wait := time.Duration(s.chance.IntN(3000)) * time.Millisecond
		if s.odds(s.calls) && result.Outcome == provider.Applied {
			s.badly(result)
		}
		s.mu.Unlock()
		time.Sleep(wait)
	})
	s.storage.failIf(func(_, key string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.odds(s.fails) && key != "freeze" && key != "settings" {
			return errors.New("out of order")
		}
		return nil
	})
}

func (s *storm) weather(calls, fails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.fails = calls, fails
}

// happens does one thing by chance, beside the others.
func (s *storm) happens(busy *sync.WaitGroup) {
	name, n := s.names[s.rand.IntN(len(s.names))], s.rand.IntN(19)
	key := fmt.Sprintf("key%d", s.rand.IntN(3))
	wait := time.Duration(s.rand.IntN(5000)) * time.Millisecond
	ctx := s.Context()
	if n == 18 {
		s.k.refuse(key, s.rand.IntN(3) == 0)
		return
	}
	if n == 17 {
		s.weather(s.rand.IntN(3)*20, s.rand.IntN(3)*5)
		return
	}
	busy.Go(func() {
		e := s.engine
		switch n {
		case 0, 1:
			_, _ = e.Rotate(ctx, s.storage, name, 0)
		case 2:
			short, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			_, _ = e.Rotate(short, s.storage, name, 0)
		case 3:
			_, _ = e.SetPassword(ctx, s.storage, name, "abcdefgh12345678"+strconv.FormatInt(int64(wait), 36))
		case 4, 5, 6, 7:
			_, _ = e.Serve(ctx, s.storage, name)
		case 8, 9:
			_, _ = e.Update(ctx, s.storage, name, func(v *roles.View) (role.Options, provider.Settings, error) {
				o := v.Options
				o.ReturnLast = !o.ReturnLast
				return o, nil, nil
			})
		case 10, 11:
			_ = e.Connections.Write(ctx, s.storage, "conn", withKey(key))
		case 12:
			_ = e.Connections.Write(ctx, s.storage, "conn", unchecked(key))
		case 13, 14:
			_ = e.Connections.Write(ctx, s.storage, "conn", connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 1 + int(wait)%4 }})
		case 15:
			if report, err := e.Read(ctx, s.storage, name); err == nil && report.View.Next != nil {
				_, _ = e.Confirm(ctx, s.storage, name, Confirmation{Version: report.View.Next.Version, Discard: wait > 2*time.Second})
			}
		case 16:
			if wait > 4*time.Second {
				_, _ = e.Gate.Write(ctx, s.storage, wait*60, "a release")
			} else {
				_ = e.Gate.End(ctx, s.storage)
			}
		}
	})
}

// Whatever happens, each role goes on when it is over: none is forgotten, none is worked on without end, and none is left
// with a password that Vault does not hold.
func TestNoRoleIsForgottenInStorm(t *testing.T) {
	seeds := uint64(20)
	if n, err := strconv.ParseUint(os.Getenv("STORM_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				s := &storm{rig: r, rand: rand.New(rand.NewPCG(seed, 1)), chance: rand.New(rand.NewPCG(seed, 2))}
				s.remote.setSettleAfter(time.Minute)
				s.k = r.useKeys(int(seed%3) * 4)
				s.begin()
				var busy sync.WaitGroup
				for range 150 {
					s.happens(&busy)
					time.Sleep(time.Duration(s.rand.IntN(90_000)) * time.Millisecond)
					s.engine.Wake()
					if s.rand.IntN(40) == 0 {
						busy.Wait()
						s.restartWith(s.k)
					}
				}
				s.weather(0, 0)
				for _, key := range []string{"key", "key0", "key1", "key2"} {
					s.k.refuse(key, false)
				}
				busy.Wait()
				synctest.Wait()
				_ = s.engine.Gate.End(t.Context(), s.storage)
				s.wakeFor(100)                                                                           // the longest wait for a probe
				if paused := s.engine.Health().Paused; len(paused) > 0 && paused[0].NextProbe.IsZero() { // nothing else may help
					s.mustWriteConn(unchecked("good"))
				}
				s.wakeFor(100)
				s.calm()
			})
		})
	}
}

// calm asserts that every role stands well, goes on to be changed when it is due, and costs nothing while it rests.
func (s *storm) calm() {
	s.Helper()
	var before []int
	for _, name := range s.names {
		status, err := s.engine.Status(s.Context(), s.storage, name)
		require.NoError(s, err)
		report, err := s.engine.Serve(s.Context(), s.storage, name)
		require.NoError(s, err, name)
		require.NotContains(s, []credential.State{credential.StateUncertain, credential.StateDrifted, credential.StateNone}, report.View.State, "%s: %s %s", name, status.Reason, status.Advice)
		known := false
		held := s.remote.password(name)
		listed, err := s.engine.History(s.Context(), s.storage, name)
		require.NoError(s, err)
		for _, p := range listed {
			known = known || p.Value == held
		}
		require.True(s, known, "%s: Vault does not hold what the remote system does", name)
		if report.View.State == credential.StateActive {
			require.Equal(s, held, report.View.Password.Value, name)
		}
		before = append(before, report.View.Password.Version)
	}
	require.Empty(s, s.engine.Health().Paused)
	require.Zero(s, s.engine.Health().Freeze)
	advance(50 * time.Minute)
	s.storage.reset()
	advance(5 * time.Minute)
	used := s.storage.counts()
	require.Less(s, used.gets, 40, "a role spins")
	require.Less(s, used.puts, 20, "a role spins")
	s.wakeFor(200)
	for i, name := range s.names {
		report, err := s.engine.Serve(s.Context(), s.storage, name)
		require.NoError(s, err, name)
		switch name {
		case "hourly", "cron", "read", "after":
			status, _ := s.engine.Status(s.Context(), s.storage, name)
			require.Greater(s, report.View.Password.Version, before[i], "%s is forgotten: %s (due %s, next %s) %s", name, status.Reason, status.Due, status.NextAttempt, status.Advice)
		}
	}
}

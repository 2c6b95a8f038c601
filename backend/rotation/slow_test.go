package rotation

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// slowRig is a rig whose remote system confirms changes before they are in force.
type slowRig struct {
	*oldPasswordRig
	looks atomic.Int32
}

// withSlowChange runs a test after a rotation that the remote system has confirmed, but not put in force yet.
func withSlowChange(t *testing.T, test func(t *testing.T, s *slowRig)) {
	t.Helper()
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		s := &slowRig{oldPasswordRig: o}
		o.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if result, wrong := o.refuses(o.remote, c); wrong {
				return result, false
			}
			return provider.Result{
				Outcome: provider.Unknown, Scope: provider.ScopeTarget, Confirmed: true, Exclusive: true, Accepted: true, Reason: "confirmed, but not in force",
			}, true
		})
		s.look(busy)
		o.mustRotate()
		o.requireState(credential.StateUncertain, 2, 3)
		require.Equal(t, 2, o.remote.changeCount())
		test(t, s)
	})
}

// look answers all looks alike.
func (s *slowRig) look(result provider.Result) {
	s.remote.onCheckTarget(func() provider.Result {
		s.looks.Add(1)
		return result
	})
}

// The old password is wrong as soon as the change is in force, so nothing is sent again, whatever has forgotten the answer.
func TestConfirmedChangeIsNeverSentAgain(t *testing.T) {
	for name, between := range map[string]func(s *slowRig){
		"in one process":          func(*slowRig) {},
		"after a restart":         func(s *slowRig) { s.restart() },
		"with another connection": func(s *slowRig) { s.mustWriteConn(newConn("key")) },
		"after a lost look":       func(s *slowRig) { s.look(unreachable); advance(10 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			withSlowChange(t, func(t *testing.T, s *slowRig) {
				advance(time.Minute)
				between(s)
				s.look(applied)
				advance(time.Minute)
				s.requireState(credential.StateActive, 3, 0)
				require.Equal(t, s.remote.password("login"), s.read().Password.Value)
				require.Equal(t, 2, s.remote.changeCount(), "nothing should be sent again")
				require.Zero(t, s.wrong, "no wrong old password was presented")
				require.Zero(t, s.engine.Health().OperatorsNeeded)
				s.remote.onChange(s.change)
				require.Equal(t, 4, s.mustRotate().View.Password.Version)
			})
		})
	}
}

// A look every five to six seconds costs a call that reads. It backs off after ten minutes, and an operator is asked after an
// hour.
func TestSlowChangeIsLookedAtOften(t *testing.T) {
	withSlowChange(t, func(t *testing.T, s *slowRig) {
		advance(10 * time.Minute)
		require.InDelta(t, 106, s.looks.Load(), 15)
		health := s.engine.Health()
		require.Zero(t, health.Failing, "it only waits")
		require.Len(t, s.log.lines("password not changed"), 2, "one for the change, one for the first look")
		require.Zero(t, health.Overdue)
		require.Zero(t, health.OperatorsNeeded)
		require.Contains(t, s.status().Advice, "No action is needed: the next attempt is at ")
		require.Contains(t, s.status().Reason, "the remote system confirmed it, but has not reported it in force: busy")

		advance(5 * time.Minute)
		before := s.looks.Load()
		advance(35 * time.Minute)
		require.Less(t, s.looks.Load()-before, int32(6))
		require.Equal(t, 1, s.engine.Health().Failing)
		advance(20 * time.Minute)
		require.Equal(t, 1, s.engine.Health().OperatorsNeeded)
		require.Equal(t, 2, s.remote.changeCount())
	})
}

// Only the remote system's own answer that the change goes on is followed by another look so soon.
func TestLookThatFailsBacksOff(t *testing.T) {
	withSlowChange(t, func(t *testing.T, s *slowRig) {
		s.look(unreachable)
		advance(5 * time.Minute)
		require.InDelta(t, 5, s.looks.Load(), 2)
		require.Equal(t, 1, s.engine.Health().Failing)
	})
}

// A change that the remote system gave up is made again, once that is possible.
func TestConfirmedChangeThatFailsIsSentAgain(t *testing.T) {
	withSlowChange(t, func(t *testing.T, s *slowRig) {
		s.look(noAccount)
		advance(10 * time.Second)
		require.Equal(t, 1, s.engine.Health().OperatorsNeeded)
		s.remote.setPassword("login", s.remote.changes[1].OldPassword)
		s.remote.onChange(s.change)
		advance(time.Minute)
		s.requireState(credential.StateActive, 3, 0)
		require.Equal(t, s.remote.changes[1].NewPassword, s.remote.password("login"))
	})
}

// Another password that an operator wants is set over the one that is not in force yet.
func TestPasswordIsSetOverSlowChange(t *testing.T) {
	withSlowChange(t, func(t *testing.T, s *slowRig) {
		s.look(applied)
		s.remote.onChange(s.change)
		_, err := s.setPassword("chosenpassword")
		require.NoError(t, err)
		advance(5 * time.Minute)
		s.requireState(credential.StateActive, 4, 0)
		require.Equal(t, "chosenpassword", s.remote.password("login"))
	})
}

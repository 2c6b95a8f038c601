package rotation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// inRestartTime is inFakeTime with a role whose three servers the engine has restarted once.
func inRestartTime(t *testing.T, options func(*role.Options), test func(t *testing.T, r *rig, servers *restarts)) {
	t.Helper()
	inFakeTime(t, func(t *testing.T, r *rig) {
		servers := r.restarting()
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) {
			o.AllowedVerifyAddresses = []string{"a.example:22", "b.example:22", "c.example:22"}
		}})
		r.mustCreate(func(in *NewRole) {
			if options != nil {
				options(&in.Options)
			}
		})
		advance(10 * time.Minute)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
		servers.change(func(s *restarts) { s.requests = nil })
		test(t, r, servers)
	})
}

func TestServersAreRestartedOneAtATime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options func(*role.Options)
		want    credential.State
	}{
		"proved":   {provedServers, credential.StateActive},
		"unproved": {nil, credential.StateAssumed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestartTime(t, c.options, func(t *testing.T, r *rig, servers *restarts) {
				require.Equal(t, c.want, r.read().State)
				old := r.read().Password.Value
				report := r.mustRotate()
				require.Equal(t, credential.StateRestartRequired, report.View.State)
				require.Equal(t, old, report.View.Password.Value)
				require.Contains(t, report.Warning, "Server a is restarted next.")
				require.Empty(t, r.why("role"), "it needs no operator")
				advance(90 * time.Second)
				require.Equal(t, []string{"a", "b"}, servers.asked())
				require.Contains(t, r.status().Reason, "Server b has been restarting since")
				advance(5 * time.Minute)
				require.Equal(t, []string{"a", "b", "c"}, servers.asked())
				require.Equal(t, 1, servers.most)
				require.Equal(t, c.want, r.read().State)
				require.Equal(t, servers.pending, r.read().Password.Value)
				advance(24 * time.Hour)
				require.Equal(t, []string{"a", "b", "c"}, servers.asked(), "never twice for one change")
			})
		})
	}
}

// The first failure stops the rest.
func TestFailedRestartStopsOthers(t *testing.T) {
	t.Parallel()
	refused := func(string) (provider.Result, bool) {
		return provider.Result{Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "the permission is missing"}, false
	}
	for name, c := range map[string]struct {
		fault func(*restarts)
		want  string
	}{
		"never back":  {func(s *restarts) { s.never["b"] = true }, "server b: it has not come back within restart_timeout"},
		"job failed":  {func(s *restarts) { s.failing["b"] = true }, "server b: the remote system reports that its restart failed: the job failed"},
		"refused":     {func(s *restarts) { s.answer = refused }, "server a: the remote system refuses to restart it: the permission is missing"},
		"other image": {func(s *restarts) { s.inForceNever("b") }, "server b: it was restarted, but the new password does not log in there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
				servers.change(c.fault)
				r.mustRotate()
				advance(30 * time.Minute)
				require.NotContains(t, servers.asked(), "c")
				require.Contains(t, r.status().Reason, c.want)
				require.NotEmpty(t, r.why("role"))
				require.Equal(t, credential.StateRestartRequired, r.read().State)
				asked := len(servers.asked())
				for range 24 {
					advance(time.Hour)
					require.Len(t, servers.asked(), asked)
				}
			})
		})
	}
}

// A restart does not fail because earlier logins were refused: the next one waits until the budget allows it.
func TestRestartWaitsForBudgetOfLogins(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		servers.change(func(s *restarts) { s.inForceNever("a") })
		r.mustRotate()
		advance(20 * time.Minute)
		require.Contains(t, r.status().Reason, "the new password does not log in there")
		require.Contains(t, r.confirmFails(Confirmation{Version: 2}), "a login with it was refused")
		r.mustConfirm(Confirmation{Version: 2, Discard: true}) // another one
		servers.change(func(s *restarts) { s.answer, s.requests = nil, nil })
		r.mustRotate()
		advance(14 * time.Minute) // the server should be back by now
		require.Contains(t, r.status().ProofReason, "no login was made")
		require.Equal(t, []string{"a"}, servers.asked())
		require.Empty(t, r.why("role"))
		advance(10 * time.Minute)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// A server that was turned off is looked at until it is on again, even after its time.
func TestLateServerIsFollowed(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		servers := r.restarting()
		r.remote.restart = provider.RestartHard
		servers.change(func(s *restarts) { s.never["a"] = true })
		r.mustCreate(nil)
		advance(20 * time.Minute)
		require.Contains(t, r.status().Reason, "may be turned off; if it is, the engine turns it on")
		require.Equal(t, "a", r.role().Restarts.Part)
		r.mustRotate() // another password
		advance(20 * time.Minute)
		require.Equal(t, []string{"a", "a"}, servers.asked())
		servers.change(func(s *restarts) { s.never["a"] = false })
		advance(20 * time.Minute)
		require.Empty(t, r.role().Restarts.Part)
		require.Equal(t, []string{"a", "a"}, servers.asked(), "the others stay as they are")
		require.NotEmpty(t, r.why("role"))
	})
}

// A request whose answer was lost is not repeated: the server is followed.
func TestLostRestartIsNotRepeated(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		servers.answers(func(string) (provider.Result, bool) { return unknown, true })
		r.mustRotate()
		advance(30 * time.Minute)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// A busy server is asked again later; nothing was requested.
func TestBusyServerIsRestartedLater(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		n := 0
		servers.answers(func(string) (provider.Result, bool) {
			if n++; n < 3 {
				return busy, false
			}
			return applied, true
		})
		r.mustRotate()
		advance(30 * time.Minute)
		require.Equal(t, []string{"a", "a", "a", "b", "c"}, servers.asked())
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// A crash between two steps follows the restart, and never requests it again.
func TestRestartIsFollowedAfterCrash(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		r.mustRotate()
		for range 40 {
			advance(7 * time.Second)
			r.engine.Stop()
			r.start()
		}
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// A crash during a request hides its answer: it is not repeated.
func TestInterruptedRestartIsNotRepeated(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		servers.answers(func(string) (provider.Result, bool) {
			r.storage.failAll() // the process ends
			return applied, true
		})
		r.mustRotate()
		advance(10 * time.Second)
		r.engine.Stop()
		servers.answers(nil)
		r.storage.heal()
		r.start()
		advance(30 * time.Minute)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// Servers of a scheduled change are restarted in its windows only.
func TestRestartsKeepWindow(t *testing.T) {
	t.Parallel()
	inRestartTime(t, func(o *role.Options) {
		provedServers(o)
		o.RotationSchedule, o.RotationWindow = "0 3 * * *", 3600
	}, func(t *testing.T, r *rig, servers *restarts) {
		start := time.Now()
		opens := time.Date(start.Year(), start.Month(), start.Day(), 3, 0, 0, 0, time.UTC)
		if !opens.After(start) {
			opens = opens.Add(day)
		}
		slow := func(string) (provider.Result, bool) { // the first server is refused until the window is closed
			if time.Since(opens) < time.Hour {
				return busy, false
			}
			return applied, true
		}
		servers.answers(slow)
		advance(opens.Sub(start) + 3*time.Hour)
		require.Equal(t, credential.StateRestartRequired, r.read().State)
		before := len(servers.asked())
		advance(18 * time.Hour)
		require.Len(t, servers.asked(), before, "the window is closed")
		advance(4 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The mount's freeze holds restarts, but a server that is being restarted is followed.
func TestFreezeHoldsRestarts(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		r.mustRotate()
		advance(30 * time.Second)
		r.freeze(time.Hour)
		advance(30 * time.Minute)
		require.Equal(t, []string{"a"}, servers.asked())
		require.Empty(t, r.role().Restarts.Part, "it was followed to its end")
		advance(time.Hour)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
	})
}

// A login that the freeze holds does not keep the engine busy while the remote system holds the look at a restarting server.
func TestFreezeHoldsLoginWhileServerRestarts(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		r.mustRotate()
		advance(30 * time.Second)
		r.freeze(time.Hour)
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			r.storage.failAll() // the process ends
			return unknown, true
		})
		_, _ = r.rotate()
		r.engine.Stop()
		servers.throttle(throttled(20 * time.Second))
		r.storage.heal()
		r.remote.succeed()
		r.start()
		advance(time.Minute)
		require.True(t, r.role().Proofs.Wanted)
		require.Equal(t, "a", r.role().Restarts.Part)
		servers.throttle(provider.Result{})
		advance(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The connection decides whether servers may be restarted, whatever the role says.
func TestConnectionCanStopRestarts(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(t *testing.T, r *rig, servers *restarts) {
		r.remote.forbidRestarts.Store(true)
		r.mustRotate()
		advance(time.Hour)
		require.Empty(t, servers.asked())
		require.Contains(t, r.status().Reason, "allow_restart of config/conn is no longer set")
		r.remote.forbidRestarts.Store(false)
		r.mustWriteConn(withKey("key"))
		advance(time.Hour)
		require.Equal(t, []string{"a", "b", "c"}, servers.asked())
	})
}

// inForceNever makes a server keep its password over restarts. r.mu must be held.
func (r *restarts) inForceNever(part string) {
	keep := r.inForce[part]
	r.answer = func(p string) (provider.Result, bool) {
		if p == part {
			r.began[p], r.inForce[p] = time.Now(), keep
			return applied, false
		}
		return applied, true
	}
}

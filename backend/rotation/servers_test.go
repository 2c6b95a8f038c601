package rotation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// createServers creates the role "role" on the servers a, b and c, and confirms its first password on all.
func (r *rig) createServers() {
	r.Helper()
	r.remote.parts = []string{"a", "b", "c"}
	r.remote.fail(needsRestart)
	r.mustCreate(nil)
	r.requireState(credential.StateRestartRequired, 1, 0)
	r.mustConfirm(Confirmation{Version: 1})
	r.requireState(credential.StateAssumed, 1, 0)
}

// askedServers returns the servers of the changes after the first n.
func (r *rig) askedServers(n int) (servers [][]string) {
	for _, c := range r.remote.changesSince(n) {
		servers = append(servers, c.Parts)
	}
	return servers
}

func (r *rig) servers() map[string]explain.Server {
	r.Helper()
	out := map[string]explain.Server{}
	for _, server := range r.status().Servers {
		out[server.Part] = server
	}
	return out
}

func TestServersAreSettledOneByOne(t *testing.T) {
	for name, outcome := range map[string]provider.Outcome{"rejected": provider.Rejected, "busy": provider.Busy, "denied": provider.Denied} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createServers()
				before := r.remote.changeCount()
				r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
					if call < before+4 {
						return partly(outcome, provider.ScopeTarget, "b", []string{"a", "c"}[:3-min(call-before, 2)]...), false
					}
					return needsRestart, false
				})
				report := r.mustRotate()
				require.Contains(t, report.Warning, "Only 2 of 3 servers took the next password (version 2)")
				r.requireState(credential.StateRestartRequired, 1, 2)
				all := r.servers()
				require.Equal(t, credential.PartView{Part: "a", State: credential.StateRestartRequired, Version: 1, NextVersion: 2}, all["a"].PartView)
				require.Equal(t, credential.PartView{Part: "b", State: credential.StateAssumed, Version: 1}, all["b"].PartView)
				require.Equal(t, "it is busy (E.1)", all["b"].LastError)
				require.Empty(t, all["a"].LastError)

				report = r.mustConfirm(Confirmation{Version: 2, Servers: []string{"a"}})
				require.Contains(t, report.Warning, "Only 2 of 3 servers")
				require.Equal(t, before+1, r.remote.changeCount(), "a confirmation does not cause a retry")
				status := r.status()
				require.Contains(t, status.Reason, "2 of 3 servers took the next password")
				require.Contains(t, status.Reason, "It is missing on: b.")
				require.Contains(t, r.confirmFails(Confirmation{Version: 2}), "was not taken by: b")
				require.Contains(t, r.confirmFails(Confirmation{Version: 2, Discard: true}), "was confirmed on some servers")
				require.Equal(t, credential.PartView{Part: "a", State: credential.StateAssumed, Version: 2}, r.servers()["a"].PartView)
				r.requireState(credential.StateRestartRequired, 1, 2)

				advance(2 * time.Minute)
				require.Equal(t, [][]string{{"a", "b", "c"}, {"b"}, {"b"}, {"b"}}, r.askedServers(before))
				require.Len(t, r.remote.sent(), 2)
				r.requireState(credential.StateRestartRequired, 1, 2)
				require.Nil(t, r.role().Retry.Last)
				require.Empty(t, r.servers()["b"].LastError)
				advance(time.Hour)
				require.Len(t, r.askedServers(before), 4, "nothing is left to send")

				report = r.mustConfirm(Confirmation{Version: 2, Servers: []string{"b"}})
				require.Contains(t, report.Warning, "that are not confirmed yet (c)")
				r.requireState(credential.StateRestartRequired, 1, 2)
				r.mustConfirm(Confirmation{Version: 2, Servers: []string{"c"}})
				r.requireState(credential.StateAssumed, 2, 0)
			})
		})
	}
}

func TestReadersDoNotSeeRetryOfServers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		r.remote.fail(oneServerBusy)
		r.mustRotate()
		r.remote.delay(20*time.Second, needsRestart)
		advance(10 * time.Second)
		require.Equal(t, credential.Sending, r.role().Record.Next.Phase)
		r.requireState(credential.StateRestartRequired, 1, 2)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 1, 2)
	})
}

func TestPasswordRefusedBySomeServersIsReplacedOnAll(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		before := r.remote.changeCount()
		r.remote.answerCall(before+1, oneServerRefuses, false, needsRestart)
		r.mustRotate()
		require.Equal(t, [][]string{{"a", "b", "c"}, {"a", "b", "c"}}, r.askedServers(before))
		r.requireState(credential.StateRestartRequired, 1, 3)
		r.mustConfirm(Confirmation{Version: 2, Servers: []string{"a"}}) // restarted between the two changes
		require.Equal(t, credential.PartView{Part: "a", State: credential.StateRestartRequired, Version: 2, NextVersion: 3}, r.servers()["a"].PartView)
		r.mustConfirm(Confirmation{Version: 3})
		r.requireState(credential.StateAssumed, 3, 0)
	})
}

// Some servers took a password, which comes into force when they restart.
func TestPasswordTakenBySomeServersIsReported(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		r.remote.answerCall(r.remote.changeCount()+1, oneServerRefuses, false, unreachable)
		report, err := r.rotate()
		require.NoError(t, err, "some servers took it")
		require.Contains(t, report.Warning, "and others refused it, so all of them need a new password")
		require.Contains(t, r.status().Reason, "and others refused it, so all of them need a new password")
		r.remote.fail(needsRestart)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 1, 3)
	})
}

func TestServersThatRefuseEveryPasswordAreRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		r.remote.fail(oneServerRefuses)
		report, err := r.rotate()
		require.NoError(t, err, "some servers took it")
		require.Contains(t, report.Warning, "and others refused it, so all of them need a new password")
		r.requireState(credential.StateRestartRequired, 1, 4)
		require.Len(t, r.remote.sent(), 4)
		r.remote.fail(needsRestart)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 1, 5)
		require.Nil(t, r.role().Retry.Last)
		r.mustConfirm(Confirmation{Version: 5})
		r.requireState(credential.StateAssumed, 5, 0)
	})
}

func TestLostAnswerOfRemainingServersIsUncertain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		before := r.remote.changeCount()
		r.remote.fail(partly(provider.Unknown, "", "b", "a"))
		report := r.mustRotate()
		require.Equal(t, credential.StateUncertain, report.View.State)
		r.requireState(credential.StateUncertain, 1, 2)
		all := r.servers()
		require.Equal(t, credential.StateRestartRequired, all["a"].State)
		require.Equal(t, credential.StateUncertain, all["b"].State)
		require.Equal(t, credential.StateUncertain, all["c"].State)
		r.remote.fail(busy)
		advance(6 * time.Second)
		r.requireState(credential.StateUncertain, 1, 2)
		r.restart()
		r.remote.fail(needsRestart)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 1, 2)
		for _, asked := range r.askedServers(before + 1) {
			require.Equal(t, []string{"b", "c"}, asked)
		}
		require.Len(t, r.remote.sent(), 2)
	})
}

func TestRepeatedRotationAddressesRemainingServers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.parts = []string{"a", "b"}
		r.remote.fail(needsRestart)
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.mustConfirm(Confirmation{Version: 1})
		before := r.remote.changeCount()
		r.remote.fail(partly(provider.Rejected, provider.ScopeTarget, "b", "a"))
		report := r.mustRotate()
		require.Contains(t, report.Warning, "disable_automated_rotation")
		report = r.mustRotate()
		require.Contains(t, report.Warning, "Only 1 of 2 servers")
		require.Equal(t, before+1, r.remote.changeCount(), "within the backoff")
		advance(time.Minute)
		require.Equal(t, before+1, r.remote.changeCount(), "the engine does not retry it")
		r.remote.fail(needsRestart)
		_, err := r.rotateVersion(1)
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b"}, {"b"}}, r.askedServers(before))
		require.Len(t, r.remote.sent(), 2)
		r.mustRotate()
		require.Len(t, r.remote.sent(), 3, "all servers have the one before")
		r.requireState(credential.StateRestartRequired, 1, 3)
	})
}

// A request that all servers refuse does not affect the password before it: the servers that lack it are asked again.
func TestRefusedGivenPasswordKeepsRemainingServers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		before := r.remote.changeCount()
		r.remote.fail(partly(provider.Rejected, provider.ScopeTarget, "b", "a", "c"))
		r.mustRotate()
		r.remote.fail(noAccount)
		require.Contains(t, r.setPasswordFails(problem.KindMistake, chosen), "was not set: no such account")
		require.Equal(t, credential.PartView{Part: "b", State: credential.StateAssumed, Version: 1}, r.servers()["b"].PartView)
		r.remote.fail(busy)
		advance(time.Minute)
		require.Empty(t, r.servers()["a"].LastError)
		r.remote.fail(needsRestart)
		advance(10 * time.Minute)
		calls := r.askedServers(before)
		require.Equal(t, []string{"b"}, calls[len(calls)-1])
		r.requireState(credential.StateRestartRequired, 1, 2)
		require.Equal(t, credential.StateRestartRequired, r.servers()["b"].State)
	})
}

func TestPasswordReplacingPartlyTakenOneGoesToAllServers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		before := r.remote.changeCount()
		r.remote.fail(oneServerBusy)
		r.mustRotate()
		r.remote.fail(needsRestart)
		_, err := r.setPassword(chosen)
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b", "c"}, {"a", "b", "c"}}, r.askedServers(before))
		require.Equal(t, chosen, r.read().Next.Value)
		r.requireState(credential.StateRestartRequired, 1, 3)
	})
}

func TestServerErrorIsReportedUntilServerTakesPassword(t *testing.T) {
	another := partly(provider.Busy, provider.ScopeTarget, "b", "a")
	another.Failures[0].Reason = "it is full"
	for name, row := range map[string]struct {
		first, second provider.Result
		last          string
	}{
		"no news of the server":       {first: oneServerBusy, second: unreachable, last: "it is busy (E.1)"},
		"another error":               {first: oneServerBusy, second: another, last: "it is full (E.1)"},
		"no server took the password": {first: partly(provider.Busy, provider.ScopeTarget, "b"), second: unreachable},
		"others took it meanwhile":    {first: partly(provider.Busy, provider.ScopeTarget, "b"), second: another, last: "it is full (E.1)"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createServers()
				r.remote.fail(row.first)
				_, _ = r.rotate() // an error where nothing was changed
				require.Equal(t, "it is busy (E.1)", r.servers()["b"].LastError)
				require.Empty(t, r.servers()["a"].LastError)
				r.remote.fail(row.second)
				calls := r.remote.changeCount()
				advance(8 * time.Second)
				require.Equal(t, calls+1, r.remote.changeCount())
				require.Equal(t, row.last, r.servers()["b"].LastError)
				r.remote.fail(needsRestart)
				advance(time.Minute)
				r.requireState(credential.StateRestartRequired, 1, 2)
				require.Empty(t, r.servers()["b"].LastError)
			})
		})
	}
}

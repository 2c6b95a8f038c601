package rotation

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// partly is the answer of a remote system that let some servers take the change, and not the one named.
func partly(outcome provider.Outcome, scope provider.Scope, failed string, took ...string) provider.Result {
	return provider.Result{
		Outcome: outcome, Scope: scope, Stage: provider.StageRestart, Reason: "one did not", Taken: took,
		Failures: []provider.PartFailure{{Part: failed, Code: "E.1", Reason: "it is busy"}},
	}
}

// fleet makes a role of the servers a, b and c, with its first password in force on all.
func (r *rig) fleet() {
	r.Helper()
	r.remote.parts = []string{"a", "b", "c"}
	r.remote.set(always(restartAnswer, false))
	r.mustCreate(nil)
	r.stands(credential.StateRestartRequired, 1, 0)
	r.confirm(Word{Version: 1})
	r.stands(credential.StateAssumed, 1, 0)
}

// asked lists the servers of the calls since the first n.
func (r *rig) asked(n int) [][]string {
	r.remote.mu.Lock()
	defer r.remote.mu.Unlock()
	var out [][]string
	for _, call := range r.remote.calls[n:] {
		out = append(out, call.Parts)
	}
	return out
}

func (r *rig) servers() map[string]ServerStatus {
	r.Helper()
	status, err := r.engine.Explain(r.Context(), r.storage, "role")
	require.NoError(r, err)
	out := map[string]ServerStatus{}
	for _, server := range status.Servers {
		out[server.Part] = server
	}
	return out
}

func TestServersAreSettledOneByOne(t *testing.T) {
	for name, outcome := range map[string]provider.Outcome{"rejected": provider.Rejected, "busy": provider.Busy, "denied": provider.Denied} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.fleet()
				before := r.remote.count()
				r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
					if call < before+4 {
						return partly(outcome, provider.ScopeTarget, "b", []string{"a", "c"}[:3-min(call-before, 2)]...), false
					}
					return restartAnswer, false
				})
				report, err := r.rotate()
				require.NoError(t, err)
				require.Contains(t, report.Warning, "only 2 of 3 servers have taken the new password (version 2); not yet: b")
				r.stands(credential.StateRestartRequired, 1, 2)
				all := r.servers()
				require.Equal(t, credential.PartView{Part: "a", State: credential.StateRestartRequired, Version: 1, NextVersion: 2}, all["a"].PartView)
				require.Equal(t, credential.PartView{Part: "b", State: credential.StateAssumed, Version: 1}, all["b"].PartView)
				require.Equal(t, "it is busy (E.1)", all["b"].LastError)
				require.Empty(t, all["a"].LastError)

				report, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Servers: []string{"a"}})
				require.NoError(t, err)
				require.Contains(t, report.Warning, "only 2 of 3 servers")
				require.Equal(t, before+1, r.remote.count(), "a word hastens nothing")
				status, err := r.engine.Explain(t.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Contains(t, status.Reason, "2 of 3 servers have taken the next password")
				require.Contains(t, status.Reason, "Not yet: b.")
				_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2})
				require.Equal(t, KindMistake, kindOf(t, err), "the engine knows that one has not taken it")
				require.ErrorContains(t, err, "b has not taken version 2")
				_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Discard: true})
				require.ErrorContains(t, err, "was confirmed on some servers")
				require.Equal(t, credential.PartView{Part: "a", State: credential.StateAssumed, Version: 2}, r.servers()["a"].PartView)
				r.stands(credential.StateRestartRequired, 1, 2)

				after(2 * time.Minute)
				calls := r.asked(before)
				require.Equal(t, [][]string{{"a", "b", "c"}, {"b"}, {"b"}, {"b"}}, calls)
				require.Len(t, r.sent(), 2)
				r.stands(credential.StateRestartRequired, 1, 2)
				require.Nil(t, r.role().Retry.Last)
				require.Empty(t, r.servers()["b"].LastError)
				after(time.Hour)
				require.Len(t, r.asked(before), 4, "nothing is left to send")

				report, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Servers: []string{"b"}})
				require.NoError(t, err)
				require.Contains(t, report.Warning, "that have not confirmed it yet (c)")
				r.stands(credential.StateRestartRequired, 1, 2)
				r.confirm(Word{Version: 2, Servers: []string{"c"}})
				r.stands(credential.StateAssumed, 2, 0)
			})
		})
	}
}

func TestReadersSeeNothingOfTheServersThatAreAskedAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		r.remote.set(always(partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
			}
			return restartAnswer, false
		})
		after(10 * time.Second)
		require.Equal(t, credential.Sending, r.role().Record.Next.Phase)
		r.stands(credential.StateRestartRequired, 1, 2)
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 1, 2)
	})
}

func TestAPasswordThatSomeServersRefuseGivesWayToAnotherForAll(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		before := r.remote.count()
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == before+1 {
				return partly(provider.Rejected, provider.ScopePassword, "b", "a", "c"), false
			}
			return restartAnswer, false
		})
		_, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b", "c"}, {"a", "b", "c"}}, r.asked(before))
		r.stands(credential.StateRestartRequired, 1, 3)
		r.confirm(Word{Version: 2, Servers: []string{"a"}}) // it restarted in between
		require.Equal(t, credential.PartView{Part: "a", State: credential.StateRestartRequired, Version: 2, NextVersion: 3}, r.servers()["a"].PartView)
		r.confirm(Word{Version: 3})
		r.stands(credential.StateAssumed, 3, 0)
	})
}

// Some servers have taken a password that comes into force with their next start, and only those.
func TestAPasswordThatSomeServersTookIsNotNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		before := r.remote.count()
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == before+1 {
				return partly(provider.Rejected, provider.ScopePassword, "b", "a", "c"), false
			}
			return provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false
		})
		report, err := r.rotate()
		require.NoError(t, err, "something was changed")
		require.Contains(t, report.Warning, "some servers took a password that others refused")
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "Some servers have taken a password that others refused")
		r.remote.set(always(restartAnswer, false))
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 1, 3)
	})
}

func TestServersThatRefuseEveryPasswordAreNotForgotten(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		r.remote.set(always(partly(provider.Rejected, provider.ScopePassword, "b", "a", "c"), false))
		report, err := r.rotate()
		require.NoError(t, err, "something was changed")
		require.Contains(t, report.Warning, "some servers took a password that others refused")
		r.stands(credential.StateRestartRequired, 1, 4)
		require.Len(t, r.sent(), 4)
		r.remote.set(always(restartAnswer, false))
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 1, 5)
		require.Nil(t, r.role().Retry.Last)
		r.confirm(Word{Version: 5})
		r.stands(credential.StateAssumed, 5, 0)
	})
}

func TestALostAnswerOfTheServersThatAreLeftIsUncertain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		before := r.remote.count()
		r.remote.set(always(partly(provider.Unknown, "", "b", "a"), false))
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		r.stands(credential.StateUncertain, 1, 2)
		all := r.servers()
		require.Equal(t, credential.StateRestartRequired, all["a"].State)
		require.Equal(t, credential.StateUncertain, all["b"].State)
		require.Equal(t, credential.StateUncertain, all["c"].State)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}, false))
		after(6 * time.Second)
		r.stands(credential.StateUncertain, 1, 2)
		r.restart()
		r.remote.set(always(restartAnswer, false))
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 1, 2)
		for _, asked := range r.asked(before + 1) {
			require.Equal(t, []string{"b", "c"}, asked)
		}
		require.Len(t, r.sent(), 2)
	})
}

func TestARotationThatIsAskedForAgainIsForTheServersThatAreLeft(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.parts = []string{"a", "b"}
		r.remote.set(always(restartAnswer, false))
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.confirm(Word{Version: 1})
		before := r.remote.count()
		r.remote.set(always(partly(provider.Rejected, provider.ScopeTarget, "b", "a"), false))
		report, err := r.rotate()
		require.NoError(t, err)
		require.Contains(t, report.Warning, "disable_automated_rotation")
		report, err = r.rotate()
		require.NoError(t, err)
		require.Contains(t, report.Warning, "only 1 of 2 servers")
		require.Equal(t, before+1, r.remote.count(), "not before its time")
		after(time.Minute)
		require.Equal(t, before+1, r.remote.count(), "nor by itself")
		r.remote.set(always(restartAnswer, false))
		_, err = r.engine.Rotate(t.Context(), r.storage, "role", 1)
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b"}, {"b"}}, r.asked(before))
		require.Len(t, r.sent(), 2)
		_, err = r.rotate()
		require.NoError(t, err)
		require.Len(t, r.sent(), 3, "all have the one before")
		r.stands(credential.StateRestartRequired, 1, 3)
	})
}

// The next request that is refused as a whole leaves the one before where it was: some have it, the others are asked.
func TestARefusedPasswordByHandLeavesTheServersThatAreLeft(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		before := r.remote.count()
		r.remote.set(always(partly(provider.Rejected, provider.ScopeTarget, "b", "a", "c"), false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no plug-in"}, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "this password was not set: no plug-in")
		require.Equal(t, credential.PartView{Part: "b", State: credential.StateAssumed, Version: 1}, r.servers()["b"].PartView)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}, false))
		after(time.Minute)
		require.Empty(t, r.servers()["a"].LastError)
		r.remote.set(always(restartAnswer, false))
		after(10 * time.Minute)
		calls := r.asked(before)
		require.Equal(t, []string{"b"}, calls[len(calls)-1])
		r.stands(credential.StateRestartRequired, 1, 2)
		require.Equal(t, credential.StateRestartRequired, r.servers()["b"].State)
	})
}

func TestAWordAboutServersNamesServersOfTheRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		_, err := r.rotate()
		require.NoError(t, err)
		for _, word := range []Word{{Version: 2, Servers: []string{"x"}}, {Version: 9, Servers: []string{"a"}}} {
			_, err := r.engine.Confirm(t.Context(), r.storage, "role", word)
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		r.confirm(Word{Version: 2, Servers: slices.Clone(r.remote.parts)})
		r.stands(credential.StateAssumed, 2, 0)
	})
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		_, err := r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 1, Servers: []string{"a"}})
		require.ErrorContains(t, err, "one account")
	})
}

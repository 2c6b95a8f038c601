package rotation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// recordAfter is a record after these events; each make numbers its password.
func recordAfter(t *testing.T, now time.Time, events ...string) credential.Record {
	t.Helper()
	var rec credential.Record
	for _, event := range events {
		var err error
		switch event {
		case "make":
			rec, err = rec.Make("value"+strings.Repeat("x", len(rec.List())), "rotated by request", false, now)
		case "send":
			rec = rec.Send(now.Add(time.Minute), 0)
		case "applied":
			rec = rec.Applied(now, false)
		case "queued":
			rec = rec.Staged(credential.Accepted, now)
		case "ripe":
			rec = rec.Ripe(now, now)
		case "restart":
			rec = rec.Staged(credential.RestartRequired, now)
		case "partly":
			rec = rec.Took([]string{"a"}, credential.RestartRequired, now).NotApplied()
		case "on-a":
			rec, err = rec.ConfirmOn(rec.Next.Version, []string{"a"}, []string{"a", "b", "c"}, now)
		case "unknown":
			rec = rec.Unresolved()
		case "discard":
			rec, err = rec.Discard(rec.Next.Version, now)
		case "refused":
			rec.Current.Refused = true
		default:
			t.Fatalf("the event %q is not known", event)
		}
		require.NoError(t, err)
	}
	return rec
}

// pauses lets the connection be paused, for another role's change.
func (r *rig) pauses() {
	r.Helper()
	r.remote.refuseCredential()
	_, err := r.engine.Rotate(r.Context(), r.storage, "other", 0)
	require.Equal(r, KindUnreachable, kindOf(r.T, err))
	_, err = r.engine.Rotate(r.Context(), r.storage, "other", 0)
	require.ErrorContains(r, err, "is paused since")
}

func TestAnotherPasswordThanTheOneSomeServersTookGoesToAll(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		before := r.remote.count()
		r.remote.set(always(partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(always(restartAnswer, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b", "c"}, {"a", "b", "c"}}, r.asked(before))
		require.Equal(t, "chosenbyhand", r.read().Next.Value)
		r.stands(credential.StateRestartRequired, 1, 3)
	})
}

// What was sent is open: that, and not the pause, is the answer.
func TestARoleOfAPausedConnectionWhosePasswordIsOpenAnswersHowItStands(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.other()
		r.remote.set(always(unknown, true))
		_, err := r.rotate()
		require.NoError(t, err)
		r.pauses()
		calls := r.remote.count()
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Contains(t, report.Warning, "its outcome is unknown")
		require.Equal(t, calls, r.remote.count())
	})
}

func TestARequestWhosePasswordIsGoneWhileTheRoleIsBusySaysThat(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "throttled"}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		for _, o := range []order{
			{trigger: triggerRequest, waits: "a password that is gone", version: 9},
			{trigger: triggerRequest, waits: "a password that is gone", version: 2, given: "a password that is gone"},
		} {
			_, err = r.engine.goOn(t.Context(), t.Context(), store{r.storage}, "role", &o).answer(r.engine)
			require.Equal(t, KindBusy, kindOf(t, err))
			require.ErrorContains(t, err, "took the place of this one, whose password was not sent")
		}
	})
}

func TestADueTimeAheadSaysNothingWhileAPasswordWaitsForARestart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	role := &Role{Options: options(), Due: now.Add(100 * time.Second)}
	for state, want := range map[credential.State]time.Duration{
		credential.StateRestartRequired: 300 * time.Second, credential.StateAssumed: 100 * time.Second,
	} {
		require.Equal(t, want, ttl(role, credential.View{State: state}, now, false), state)
	}
}

func TestAFirstPasswordThatIsOpenIsTheNextVersion(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for events, want := range map[string]int{
		"make send restart": 1,
		"make send queued":  1,
		"make send unknown": 1,
		"make send partly":  1,
		"make":              0,
		"make send":         0,
		"make send applied": 0,
		"make send queued ripe make send unknown":         2,
		"make send unknown make send queued ripe refused": 0, // none of those that Vault holds
	} {
		role := &Role{Record: recordAfter(t, now, strings.Fields(events)...)}
		report := &Report{Role: role, View: role.Record.View(now)}
		require.Equal(t, want, report.NextVersion(), events)
	}
}

func TestAWordAboutThePasswordInForceIsTakenWhileSomeServersHaveAnother(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		r.remote.set(always(partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.confirm(Word{Version: 1})
		r.stands(credential.StateRestartRequired, 1, 2)
		r.confirm(Word{Password: r.role().Record.Current.Value})
		r.stands(credential.StateRestartRequired, 1, 2)
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2})
		require.Equal(t, KindMistake, kindOf(t, err))
	})
}

func TestAPasswordOfUnknownFateBeforeTheOneThatWaitsIsNamed(t *testing.T) {
	const named = "Version 2 was sent before, its outcome is unknown, and it may be in force too"
	for name, answer := range map[string]provider.Result{
		"queued": queuedAnswer, "restart": restartAnswer, "partly": partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"),
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				if name == "partly" {
					r.remote.parts = []string{"a", "b", "c"}
				}
				r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
				r.remote.settles(settleAfter)
				r.remote.set(always(unknown, true))
				_, err := r.rotate()
				require.NoError(t, err)
				after(10 * time.Minute)
				r.remote.set(always(answer, true))
				report, err := r.rotate()
				require.NoError(t, err)
				if name != "partly" {
					require.Contains(t, report.Warning, ". "+named)
				}
				require.Contains(t, r.explain().Reason, ". "+named)
			})
		})
	}
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(restartAnswer, true))
		report, err := r.rotate()
		require.NoError(t, err)
		require.NotContains(t, report.Warning, "was sent before")
		require.NotContains(t, r.explain().Reason, "was sent before")
	})
}

func TestTheLastFailureNamesSomeServersAndNotMany(t *testing.T) {
	t.Parallel()
	failed := func(n int) *Role {
		last := &Failure{Reason: "many did not", Code: "E.2"}
		for i := range n {
			last.Parts = append(last.Parts, provider.PartFailure{Part: fmt.Sprintf("s%d", i), Code: "E.1", Reason: "busy"})
		}
		return &Role{Retry: Retry{Last: last}}
	}
	require.Equal(t, "they are still being asked", lastOf(&Role{}))
	require.Equal(t, "many did not (E.2)", lastOf(failed(0)))
	require.Equal(t, "s0: busy (E.1); s1: busy (E.1)", lastOf(failed(2)))
	require.Equal(t, namedInErrors, strings.Count(lastOf(failed(namedInErrors)), "busy (E.1)"))
	require.Equal(t, "many did not (E.2)", lastOf(failed(namedInErrors+1)))
}

func TestTheReasonNamesWhatHasToRestart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, row := range map[string]struct {
		parts, on []string
	}{
		"when the remote system restarts.":                                 {},
		"when the server a restarts.":                                      {parts: []string{"a"}},
		"when the 3 servers restart.":                                      {parts: []string{"a", "b", "c"}},
		"when these servers restart: b, c (on the others it is in force).": {parts: []string{"a", "b", "c"}, on: []string{"a"}},
	} {
		role := &Role{Record: recordAfter(t, now, "make", "send", "restart"), Target: provider.Target{Parts: row.parts}}
		role.Record.Next.InForceOn = row.on
		require.Equal(t, "The next password is set and comes into force "+want, stateReason(role, role.Record.View(now)))
	}
}

func TestNothingWasChangedYetOnlyWhereTheNewPasswordStillWaitsToBeSent(t *testing.T) {
	busy := provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}
	for name, row := range map[string]struct {
		staged bool
		answer provider.Result
		text   string
	}{
		"waits":                    {answer: busy, text: "nothing was changed yet: busy"},
		"waits over a staged one":  {staged: true, answer: busy, text: "nothing was changed yet: busy"},
		"gone":                     {answer: noPlugin, text: "nothing was changed: no plug-in"},
		"gone, a staged one is on": {staged: true, answer: noPlugin, text: "nothing was changed: no plug-in"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				if row.staged {
					r.remote.set(always(restartAnswer, false))
					_, err := r.rotate()
					require.NoError(t, err)
				}
				r.remote.set(always(row.answer, false))
				_, err := r.rotate()
				require.ErrorContains(t, err, row.text)
			})
		})
	}
}

func TestAPauseAndAPasswordThatWaitsAreTwoMatters(t *testing.T) {
	const write = "Write a working credential to config/conn; the present one is tried again at "
	for advice, answer := range map[string]provider.Result{
		"Restart the remote system and try the password":  restartAnswer,
		"Nothing: the engine settles it by itself. Write": queuedAnswer,
		"Write a working credential":                      {Outcome: provider.Applied},
	} {
		t.Run(advice, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.settles(settleAfter)
				r.mustCreate(nil)
				r.other()
				r.remote.set(always(answer, true))
				_, err := r.rotate()
				require.NoError(t, err)
				r.pauses()
				status := r.explain()
				require.Contains(t, status.Reason, `The connection "conn" is paused since`)
				require.True(t, strings.HasPrefix(status.Advice, advice), status.Advice)
				require.Contains(t, status.Advice, write)
			})
		})
	}
}

func TestAChangeThatIsDueIsHeldWhileAPasswordWaits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := New(Config{Clock: func() time.Time { return now }})
	t.Cleanup(e.Stop)
	const held, overdue = ", and held until version 2 is in force.", "It is due since 2026-03-01T11:59:59Z"
	for events, want := range map[string]string{
		"make send applied make send queued":  held,
		"make send applied make send restart": held,
		"make send applied make send unknown": overdue,
		"make send applied":                   overdue,
	} {
		role := &Role{Record: recordAfter(t, now, strings.Fields(events)...), SettlesAt: now.Add(time.Minute), Due: now.Add(-time.Second)}
		require.Contains(t, e.reason(role, role.Record.View(now)), want, events)
		role.Due = now.Add(time.Second)
		require.NotContains(t, e.reason(role, role.Record.View(now)), "due", events)
	}
}

func TestEachStateHasItsAdvice(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := New(Config{Clock: func() time.Time { return now }, Types: []provider.Type{&variant{remote: &remote{}, otherwise: "take the other way"}}})
	t.Cleanup(e.Stop)
	fail := func(outcome provider.Outcome, scope provider.Scope) *Failure {
		return &Failure{Class: outcome, Scope: scope, Time: now}
	}
	const find = "find out which password works (history/role has them all) and write confirm-role/role with its version, or with password=… where it is not waiting"
	three := []string{"a", "b", "c"}
	for name, row := range map[string]struct {
		events string
		last   *Failure
		parts  []string
		open   int
		state  credential.State
		advice string
	}{
		"none":           {state: credential.StateNone, advice: "read creds/role or write rotate-role/role to set one"},
		"none, refused":  {last: fail(provider.Rejected, provider.ScopeTarget), state: credential.StateNone, advice: "see whether the account still exists and the role names it rightly, mend what is said here, and ask again"},
		"none, discards": {events: "make send restart discard", state: credential.StateNone, advice: "write rotate-role/role to set another one, or confirm-role/role with the version of one that works"},

		"active":              {events: "make send applied", state: credential.StateActive, advice: "nothing"},
		"active, refused":     {events: "make send applied", last: fail(provider.Rejected, provider.ScopePassword), state: credential.StateActive, advice: "give another password, or set a password_policy whose passwords the remote system takes"},
		"active, mismatch":    {events: "make send applied", last: fail(provider.Mismatch, provider.ScopeTarget), state: credential.StateActive, advice: "write the account's present password to confirm-role/role (password=…), or take the other way and rotate it"},
		"active, denied":      {events: "make send applied", last: fail(provider.Denied, provider.ScopeConnection), state: credential.StateActive, advice: "check the rights and the credential of config/conn"},
		"active, no rights":   {events: "make send applied", last: fail(provider.Denied, provider.ScopeTarget), state: credential.StateActive, advice: "the credential of config/conn works, so this is about the account alone: check its user's rights to it, and that the role names it rightly"},
		"active, unreachable": {events: "make send applied make", last: fail(provider.Unreachable, ""), state: credential.StateActive, advice: "check the network between Vault and the url of config/conn"},
		"active, busy":        {events: "make send applied make", last: fail(provider.Busy, provider.ScopeTarget), state: credential.StateActive, advice: "wait: the engine goes on by itself at 2026-03-01T12:01:00Z"},

		"assumed, the first":  {events: "make send queued ripe", state: credential.StateAssumed, advice: "nothing, if the password works; if it does not, write the one that does to confirm-role/role (password=…)"},
		"assumed":             {events: "make send applied make send queued ripe", state: credential.StateAssumed, advice: "nothing, if the password works; if it does not, write confirm-role/role with version=2 and discard=true: creds/role then gives the one before"},
		"assumed, being sent": {events: "make send applied make send queued ripe make send", state: credential.StateAssumed, advice: "nothing, if the password works; if it does not, write the one that does to confirm-role/role (password=…)"},
		"assumed, denied":     {events: "make send queued ripe", last: fail(provider.Denied, provider.ScopeConnection), state: credential.StateAssumed, advice: "check the rights and the credential of config/conn"},

		"accepted": {events: "make send queued", state: credential.StateAccepted, advice: "nothing: the engine settles it by itself"},

		"restart":            {events: "make send restart", state: credential.StateRestartRequired, advice: "restart the remote system and try the password: if it works, write confirm-role/role with version=1, if not, the same with discard=true"},
		"restart of one":     {events: "make send restart", parts: []string{"a"}, state: credential.StateRestartRequired, advice: "restart the server a and try the password: if it works, write confirm-role/role with version=1, if not, the same with discard=true"},
		"restart of all":     {events: "make send restart", parts: three, state: credential.StateRestartRequired, advice: "restart the servers (a, b, c) and try the password on each: if it works on all, write confirm-role/role with version=1; on some, the same with servers=ID; on none, with discard=true"},
		"restart of some":    {events: "make send restart on-a", parts: three, state: credential.StateRestartRequired, advice: "restart the servers that have not confirmed it yet (b, c) and try the password on each: where it works, write confirm-role/role with version=1 and servers=ID"},
		"restart, partly":    {events: "make send partly", last: fail(provider.Busy, provider.ScopeTarget), parts: three, state: credential.StateRestartRequired, advice: "mend what keeps the other servers from taking it (servers says what), and restart each that has; then write confirm-role/role with the version of next_password, and servers where it is only some of them"},
		"restart of another": {events: "make send restart make", state: credential.StateRestartRequired, advice: "if a restart has put the password in force that waits, write confirm-role/role with its version (history/role has it)"},

		"uncertain":        {events: "make send unknown", state: credential.StateUncertain, advice: "wait for the engine, or " + find},
		"uncertain, stuck": {open: credential.MaxCandidates + 1, state: credential.StateUncertain, advice: find},

		"drifted": {events: "make send applied refused", state: credential.StateDrifted, advice: "write the account's present password to confirm-role/role (password=…), or take the other way and rotate it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role := &Role{
				Name: "role", Connection: "conn", Provider: "remote", Target: provider.Target{Parts: row.parts},
				Record: recordAfter(t, now, strings.Fields(row.events)...), Retry: Retry{Last: row.last, NextAttempt: now.Add(time.Minute)},
			}
			for i := range row.open {
				role.Record.Candidates = append(role.Record.Candidates, credential.Candidate{
					Password: credential.Password{Version: i + 1}, Why: credential.WhyUnresolved,
				})
			}
			view := role.Record.View(now)
			require.Equal(t, row.state, view.State)
			require.Equal(t, row.advice, e.advice(role, view))
		})
	}
}

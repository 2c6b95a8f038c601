package explain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// A first password whose outcome is open is the next version, although creds returns it as password.
func TestNextVersionIsThatOfOpenPassword(t *testing.T) {
	t.Parallel()
	for events, want := range map[string]int{
		"make send restart":   1,
		"make send queued":    1,
		"make send unknown":   1,
		"make send on-a busy": 1,
		"make":                0,
		"59m30s make send":    0,
		"make send applied":   0,
		"make send queued settled make send unknown":         2,
		"make send unknown make send queued settled refused": 0, // none of those that Vault holds
	} {
		s := scene{record: strings.TrimSuffix(events, " refused")}
		if strings.HasSuffix(events, " refused") {
			s.after = func(f *Facts) {
				f.Role.Record.Current.Refused = true
				f.View = f.Role.Record.View(now)
			}
		}
		f := s.facts(t)
		require.Equal(t, want, NextVersion(f.Role, f.View), events)
	}
}

func TestWarningListsOnlyAFewServers(t *testing.T) {
	t.Parallel()
	failures := func(n int) string {
		last := &role.Failure{Reason: "many did not", Code: "E.2"}
		for i := range n {
			last.Parts = append(last.Parts, provider.PartFailure{Part: fmt.Sprintf("s%d", i), Code: "E.1", Reason: "busy"})
		}
		return Facts{Role: &role.Role{Retry: role.Retry{Last: last}}}.partFailures()
	}
	require.Empty(t, Facts{Role: &role.Role{}}.partFailures())
	require.Equal(t, " Many did not (E.2).", failures(0))
	require.Equal(t, " s0: busy (E.1); s1: busy (E.1).", failures(2))
	require.Equal(t, MaxNames, strings.Count(failures(MaxNames), "busy (E.1)"))
	require.Equal(t, " Many did not (E.2).", failures(MaxNames+1))
}

func TestReasonNamesServersToRestart(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]struct {
		parts, on []string
	}{
		"when the remote system restarts.":                                 {},
		"when server a restarts.":                                          {parts: []string{"a"}},
		"when the 3 servers restart.":                                      {parts: three},
		"when these servers restart: b, c (it is in force on the others).": {parts: three, on: []string{"a"}},
	} {
		s := scene{record: "make send restart", parts: row.parts, after: func(f *Facts) { f.Role.Record.Next.InForceOn = row.on }}
		require.Contains(t, s.facts(t).Reason(), "The next password (version 1) is set and takes effect "+want)
	}
}

// A due rotation starts only when a queued or staged password is in force: of two passwords that wait for one restart,
// the first would be lost.
func TestDueRotationWaitsForTheLastPassword(t *testing.T) {
	t.Parallel()
	const waits, due = "; it starts when version 2 is in force.", "A rotation has been due since 2026-03-01T11:59:59Z"
	for events, want := range map[string]string{
		active + "make send queued":  waits,
		active + "make send restart": waits,
		active + "make send unknown": due + ".",
		active:                       due,
	} {
		s := scene{record: events, due: -time.Second}
		require.Contains(t, s.facts(t).Reason(), due, events)
		require.Contains(t, s.facts(t).Reason(), want, events)
		s.due = time.Second
		require.NotContains(t, s.facts(t).Reason(), "due", events)
	}
}

func TestAdviceFitsState(t *testing.T) {
	t.Parallel()
	const (
		reset   = "set rotation_method=reset on the role"
		find    = "find out which password works (history/db lists them) and write it to confirm-role/db: version=N, or password=… if it is none of them"
		current = "Write the account's current password to confirm-role/db (password=…), or " + reset + " and rotate it."
		works   = "No action is needed if the password works; otherwise, "
	)
	for name, row := range map[string]struct {
		scene
		state  credential.State
		advice string
	}{
		"none":            {scene{}, credential.StateNone, "Read creds/db or write rotate-role/db to set one."},
		"none, refused":   {scene{last: rejected()}, credential.StateNone, "Fix the reported cause, and repeat the request."},
		"none, discarded": {scene{record: "make send restart discarded"}, credential.StateNone, "Write rotate-role/db to set another one, or confirm-role/db with the version of one that works."},

		"active":              {scene{record: active}, credential.StateActive, "No action is needed."},
		"active, refused":     {scene{record: active, last: weak()}, credential.StateActive, "Set a password_policy that fits the remote system's rules."},
		"active, mismatch":    {scene{record: active, last: wrongOld(), otherwise: reset}, credential.StateActive, current},
		"active, denied":      {scene{record: active, last: denied()}, credential.StateActive, "Check the credential of config/panel and its permissions."},
		"active, no rights":   {scene{record: active, last: deniedTarget()}, credential.StateActive, "The credential of config/panel works, so only this account is affected: check that the role names the right account, and that the credential may change it."},
		"active, unreachable": {scene{record: active + "make", last: unreachable()}, credential.StateActive, "Correct what last_error names; its fields are those of config/panel."},
		"active, busy":        {scene{record: active + "make", last: justNow(busy())}, credential.StateActive, "No action is needed: the next attempt is at 2026-03-01T12:05:00Z."},

		"assumed, the first":  {scene{record: "make send queued settled"}, credential.StateAssumed, works + "write the one that works to confirm-role/db (password=…)."},
		"assumed":             {scene{record: active + "make send queued settled"}, credential.StateAssumed, works + "write confirm-role/db with version=2 and discard=true: creds/db then returns the previous password."},
		"assumed, being sent": {scene{record: active + "make send queued settled 59m30s make send"}, credential.StateAssumed, works + "write the one that works to confirm-role/db (password=…)."},
		"assumed, denied":     {scene{record: "make send queued settled", last: denied()}, credential.StateAssumed, "Check the credential of config/panel and its permissions."},

		"accepted": {scene{record: "make send queued"}, credential.StateAccepted, "No action is needed."},

		"restart":            {scene{record: "make send restart"}, credential.StateRestartRequired, "Restart the remote system and try the new password: if it works, write confirm-role/db with version=1; if not, add discard=true."},
		"restart of one":     {scene{record: "make send restart", parts: []string{"a"}}, credential.StateRestartRequired, "Restart server a and try the new password: if it works, write confirm-role/db with version=1; if not, add discard=true."},
		"restart of all":     {scene{record: "make send restart", parts: three}, credential.StateRestartRequired, "Restart the servers (a, b, c) and try the new password on each: if it works on all of them, write confirm-role/db with version=1; if only on some, add servers=ID; if on none, add discard=true."},
		"restart of some":    {scene{record: "make send restart confirmed-a", parts: three}, credential.StateRestartRequired, "Restart the servers that are not confirmed yet (b, c) and try the new password on each: where it works, write confirm-role/db with version=1 and servers=ID."},
		"restart, partly":    {scene{record: "make send on-a busy", parts: three, last: busy()}, credential.StateRestartRequired, "Fix what keeps the other servers from taking version 1 (see servers); restart each server that took it, then write confirm-role/db with version=1 and servers=ID."},
		"restart of another": {scene{record: "make send restart make"}, credential.StateRestartRequired, "If a restart has already put version 1 in force, write confirm-role/db with version=1."},

		"uncertain":            {scene{record: "make send unknown"}, credential.StateUncertain, "Wait for the next attempt at 2026-03-01T12:00:00Z, or " + find + ". If the role names the wrong account, delete the role with force=true (which deletes the only copy of its password)."},
		"uncertain, unsettled": {scene{record: strings.Repeat("make send unknown ", credential.MaxCandidates+1) + "given-up"}, credential.StateUncertain, sentence(find)},

		"drifted": {scene{record: "adopted make present wrong given-up", modify: true, otherwise: reset}, credential.StateDrifted, current},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := row.facts(t)
			require.Equal(t, row.state, f.View.State)
			require.Equal(t, row.advice, f.Advice())
		})
	}
}

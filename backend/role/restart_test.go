package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// inTurn is the wait before a request is repeated.
func inTurn(tries int) time.Duration { return time.Duration(tries) * time.Minute }

func TestRestartBeginsWithNothingOfThePrevious(t *testing.T) {
	t.Parallel()
	before := Restarts{Version: 2, Done: []string{"a"}, Job: "old", Back: true, Refused: true, Tries: 1}
	of := before
	of.Begin(2, "b", now)
	require.Equal(t, Restarts{Version: 2, Done: []string{"a"}, Part: "b", Since: now, Tries: 1}, of)
	of = before
	of.Failed, of.FailedPart, of.NotBefore = "it failed", "a", now
	of.Begin(3, "a", now)
	require.Equal(t, Restarts{Version: 3, Part: "a", Since: now}, of)
}

// Only an answer that proves that nothing was done lets the restart be requested again.
func TestRestartIsRequestedAgainOnlyIfNotCarriedOut(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	answer := func(outcome provider.Outcome, scope provider.Scope, after time.Duration) provider.Result {
		return provider.Result{Outcome: outcome, Scope: scope, RetryAfter: after, Code: "E.1", Reason: "a reason"}
	}
	const refuses = "the remote system refuses to restart it: a reason (E.1)"
	for name, row := range map[string]struct {
		result provider.Result
		part   string
		wait   time.Duration
		failed string
	}{
		"taken":                 {answer(provider.Applied, "", 0), "a", 0, ""},
		"outcome unknown":       {answer(provider.Unknown, provider.ScopeTarget, 0), "a", 0, ""},
		"staged":                {answer(provider.Staged, "", 0), "a", 0, ""},
		"busy":                  {answer(provider.Busy, provider.ScopeTarget, 0), "", 3 * minute, ""},
		"busy, says when":       {answer(provider.Busy, provider.ScopeTarget, 5*minute), "", 5 * minute, ""},
		"busy, for too long":    {answer(provider.Busy, provider.ScopeTarget, 100*time.Hour), "", time.Hour, ""},
		"unreachable":           {answer(provider.Unreachable, "", 0), "", 3 * minute, ""},
		"credential refused":    {answer(provider.Denied, provider.ScopeConnection, 0), "", 3 * minute, ""},
		"every request refused": {answer(provider.Rejected, provider.ScopeConnection, 0), "", 3 * minute, ""},
		"this server refused":   {answer(provider.Rejected, provider.ScopeTarget, 0), "", 0, refuses},
		"permission missing":    {answer(provider.Denied, provider.ScopeTarget, 0), "", 0, refuses},
		"nonsense":              {answer(provider.Mismatch, provider.ScopeTarget, 0), "", 0, refuses},
	} {
		of := Restarts{Version: 2, Tries: 2}
		of.Begin(2, "a", now)
		of.Answered(row.result, "job", now, inTurn)
		require.Equal(t, row.part, of.Part, name)
		require.Equal(t, row.failed, of.Failed, name)
		if row.failed != "" {
			require.Equal(t, "a", of.FailedPart, name)
		}
		if row.wait > 0 {
			require.Equal(t, in(row.wait), of.NotBefore, name)
			require.Equal(t, 3, of.Tries, name)
		}
		if row.part != "" {
			require.Equal(t, "job", of.Job, name)
			require.Zero(t, of.Tries, name)
		}
		require.Empty(t, of.Done, name)
	}
}

func TestRestartIsFollowedUntilItsTimeout(t *testing.T) {
	t.Parallel()
	const inTime, late = 600 * time.Second, 601 * time.Second
	for name, row := range map[string]struct {
		progress provider.Progress
		since    time.Duration
		timeout  int
		back     bool
		failed   string
	}{
		"running":                 {provider.Restarting, inTime, 0, false, ""},
		"running, too long":       {provider.Restarting, late, 0, false, "it has not come back within restart_timeout"},
		"running, longer allowed": {provider.Restarting, late, 700, false, ""},
		"back":                    {provider.Restarted, inTime, 0, true, ""},
		"back, at last":           {provider.Restarted, late, 0, true, ""},
		"failed":                  {provider.RestartFailed, 0, 0, false, "the remote system reports that its restart failed: a reason"},
	} {
		of := Restarts{Version: 2, Part: "a", Since: in(-row.since), Job: "job"}
		of.Followed(provider.Target{RestartTimeout: row.timeout}, row.progress, "another job", "a reason", now)
		require.Equal(t, row.back, of.Back, name)
		require.Equal(t, row.failed, of.Failed, name)
		if row.failed == "" {
			require.Equal(t, "another job", of.Job, name)
			require.Equal(t, "a", of.Part, name)
		} else {
			require.Empty(t, of.Part, name)
		}
		require.Empty(t, of.Done, name)
	}
}

// A server that is back is done as soon as the new password logs in there.
func TestServerThatIsBackIsProved(t *testing.T) {
	t.Parallel()
	const inTime, late = time.Minute, 11 * time.Minute
	for name, row := range map[string]struct {
		since   time.Duration
		logins  []LoginResult
		part    string
		refused bool
		failed  string
	}{
		"works":                 {inTime, []LoginResult{works(2, "a")}, "", false, ""},
		"works, at last":        {late, []LoginResult{works(2, "a")}, "", false, ""},
		"cannot tell":           {inTime, []LoginResult{cannotTell(2, "a")}, "a", false, ""},
		"cannot tell, too long": {late, []LoginResult{cannotTell(2, "a")}, "", false, "it was restarted, but it is not known whether the new password works there: it was cannot_tell"},
		"refused":               {inTime, []LoginResult{refused(2, "a")}, "a", true, ""},
		"refused, too long":     {late, []LoginResult{refused(2, "a")}, "", false, "it was restarted, but the new password does not log in there"},
		"the old one works":     {inTime, []LoginResult{works(1, "a")}, "a", false, ""},
	} {
		r := given("staged", provesParts, restarts, restarting(2, "a", row.since))
		r.Restarts.Back = true
		r.RestartProved(row.logins, now, 0)
		require.Equal(t, row.part, r.Restarts.Part, name)
		require.Equal(t, row.refused, r.Restarts.Refused, name)
		require.Equal(t, row.failed, r.Restarts.Failed, name)
		require.Equal(t, row.part == "" && row.failed == "", len(r.Restarts.Done) == 1, name)
		require.Equal(t, credential.StateRestartRequired, r.Record.View(now).State, name)
	}
}

// trialsOf returns the passwords to log in with at the server of a role that is back.
func trialsOf(r *Role) []credential.Password { return r.Restarts.Trials(r) }

// Once the new password was refused, the old one is tried first: that it still works costs no refused login.
func TestRefusedServerIsAskedForOldPassword(t *testing.T) {
	t.Parallel()
	r := given("staged", provesParts, restarts, restarting(2, "a", time.Minute))
	r.Restarts.Back = true
	require.Equal(t, []int{2}, versions(trialsOf(r)))
	r.RestartProved([]LoginResult{refused(2, "a")}, now, 0)
	require.Equal(t, []int{1, 2}, versions(trialsOf(r)))
	r.RestartProved([]LoginResult{works(1, "a")}, now, 0)
	require.Equal(t, []int{1, 2}, versions(trialsOf(r)))
	r.RestartProved([]LoginResult{works(1, "a")}, in(11*time.Minute), 0)
	require.Equal(t, "it was restarted, but the new password does not log in there", r.Restarts.Failed)
	require.Equal(t, []int{1}, versions(trialsOf(given("active", restarting(2, "a", 0)))), "it is in force")
}

func TestLastProvedServerPutsPasswordInForce(t *testing.T) {
	t.Parallel()
	r := given("staged", provesParts, restarts, due(time.Hour), planned(time.Minute), restarting(2, "a", time.Minute))
	r.RestartProved([]LoginResult{works(2, "a")}, now, 0)
	require.Equal(t, []string{"a"}, r.Record.Next.InForceOn)
	require.Equal(t, "b", r.NextRestart())
	r.Restarts.Begin(2, "b", now)
	r.RestartProved([]LoginResult{works(2, "b")}, now, 0)
	require.Equal(t, credential.StateActive, r.Record.View(now).State)
	require.Equal(t, []string{"a", "b"}, r.Restarts.Done)
	require.Empty(t, r.Restarts.Part)
	require.Equal(t, in(24*time.Hour), r.Due)
	require.Zero(t, r.Proofs.Next, "nothing is left to be proved")
}

// Without a login, the restarts have to do.
func TestLastRestartedServerPutsPasswordInForce(t *testing.T) {
	t.Parallel()
	r := given("staged", restarts, due(time.Hour), busy(time.Minute), restarting(2, "a", time.Minute))
	r.RestartUnproved(now)
	require.Equal(t, credential.StateRestartRequired, r.Record.View(now).State)
	require.Equal(t, "b", r.NextRestart())
	r.Restarts.Begin(2, "b", now)
	r.RestartUnproved(now)
	require.Equal(t, credential.StateAssumed, r.Record.View(now).State)
	require.Equal(t, 2, r.Record.Current.Version)
	require.Equal(t, []string{"a", "b"}, r.Restarts.Done)
	require.Equal(t, in(24*time.Hour), r.Due)
	require.Zero(t, r.Retry)
}

// The password was replaced or came into force while the server restarted: nothing is expected of it any more.
func TestRestartForReplacedPasswordProvesNothing(t *testing.T) {
	t.Parallel()
	for _, situation := range []string{"active", "staged and asked"} {
		for name, end := range map[string]func(*Role){
			"proved":   func(r *Role) { r.RestartProved([]LoginResult{works(1, "a")}, now, 0) },
			"unproved": func(r *Role) { r.RestartUnproved(now) },
		} {
			r := given(situation, provesParts, restarts, restarting(7, "a", time.Minute))
			before := r.Record
			end(r)
			require.Equal(t, before, r.Record, "%s, %s", situation, name)
			require.Empty(t, r.Restarts.Part)
			require.Empty(t, r.Restarts.Done, "if it comes back, the server is restarted for it")
		}
	}
}

// The password waits on the servers, and another one is to follow: the restarts still put it in force.
func TestRestartEndsAlthoughAnotherPasswordIsToFollow(t *testing.T) {
	t.Parallel()
	r := given("staged and asked", provesParts, restarts, restarting(2, "a", time.Minute))
	require.Equal(t, []int{2}, versions(trialsOf(r)))
	r.RestartProved([]LoginResult{works(2, "a")}, now, 0)
	require.Equal(t, 2, r.Record.VersionOn("a"))
	require.Equal(t, []string{"a"}, r.Restarts.Done)

	r = given("staged and asked", restarts, restarted(2, "a"), due(time.Hour), busy(time.Minute))
	for _, server := range servers {
		r.Restarts.Begin(2, server, now)
		r.RestartUnproved(now)
	}
	require.Equal(t, 2, r.Record.Current.Version)
	require.Equal(t, 3, r.Record.Next.Version)
	require.Equal(t, in(24*time.Hour), r.Due)
	require.NotZero(t, r.Retry, "the next one is sent in its time")
}

// That the budget of refused logins ends a round does not keep a restart from failing.
func TestRestartFailsInTimeAlthoughBudgetEndsRound(t *testing.T) {
	t.Parallel()
	r := given("staged", provesParts, restarts, restarting(2, "a", 11*time.Minute))
	only := blocked(2, time.Minute)
	only.Part = "a"
	r.RestartProved([]LoginResult{only}, now, 0)
	require.Equal(t, "a", r.Restarts.Part, "no login was made")
	r.RestartProved([]LoginResult{refused(2, "a"), only}, now, 0)
	require.Equal(t, "it was restarted, but the new password does not log in there", r.Restarts.Failed)
}

func TestAllRestartsAreOfNextPassword(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		role *Role
		want bool
	}{
		"none":              {given("staged", restarts), false},
		"one":               {given("staged", restarts, restarted(2, "a")), false},
		"all":               {given("staged", restarts, restarted(2, servers...)), true},
		"one, and a login":  {given("staged, on a", restarts, restarted(2, "b")), true},
		"all, for another":  {given("staged", restarts, restarted(1, servers...)), false},
		"all, it is active": {given("active", restarts, restarted(1, servers...)), false},
	} {
		require.Equal(t, row.want, row.role.Restarts.All(row.role), name)
	}
}

// A server that was proved and refuses the password later was changed by others: the rest are not restarted.
func TestServerThatRefusesLaterStopsRestarts(t *testing.T) {
	t.Parallel()
	r := given("staged, on a", provesParts, restarts, restarted(2, "a"))
	require.Equal(t, "b", r.NextRestart())
	r.Learn([]LoginResult{refused(2, "b"), works(1, "b")}, now, 0)
	require.Empty(t, r.RestartsFailed(), "it was not restarted")
	r.Learn([]LoginResult{refused(2, "a"), works(1, "a"), works(1, "b")}, now, 0)
	require.Equal(t, "it was restarted, and does not accept the new password any more", r.RestartsFailed())
	require.Equal(t, "a", r.Restarts.FailedPart)
	require.Empty(t, r.NextRestart())
}

package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// learned is the role after a round of logins, the last of so many rounds in a row that settled nothing.
func learned(r *Role, rounds int, logins ...LoginResult) *Role {
	r.Proofs.Unsettled = rounds - 1
	r.Learn(logins, now, 0)
	return r
}

// When the next login is made. It is made less and less often, as long as logins settle nothing.
func TestNextLoginFollowsResult(t *testing.T) {
	t.Parallel()
	const minute, hour, none = time.Minute, time.Hour, time.Duration(-1)
	verified := func(r *Role) *Role { period(2)(r); return r }
	confirmed := func(s string, changes ...func(*Role)) *Role { return given(s, append(changes, proves)...) }
	for name, row := range map[string]struct {
		role *Role
		want time.Duration
	}{
		"works":                     {learned(confirmed("active"), 1, works(1)), none},
		"works, verify_period":      {learned(confirmed("active", period(2)), 1, works(1)), 2 * hour},
		"works, one may follow":     {learned(confirmed("discarded"), 1, works(1)), 5 * minute},
		"cannot tell":               {learned(confirmed("active"), 1, cannotTell(1)), 5 * minute},
		"cannot tell, again":        {learned(confirmed("active"), 2, cannotTell(1)), 10 * minute},
		"cannot tell, for long":     {learned(confirmed("active", period(2)), 9, cannotTell(1)), hour},
		"cannot tell on one":        {learned(verified(given("active", provesParts)), 1, works(1, "a"), cannotTell(1, "b")), 5 * minute},
		"adopted, works":            {learned(confirmed("assumed"), 1, works(1)), none},
		"refused":                   {learned(confirmed("active"), 1, refused(1)), none},
		"refused, verify_period":    {learned(confirmed("active", period(2)), 1, refused(1)), 2 * hour},
		"too many refused":          {learned(confirmed("active"), 1, blocked(1, 14*minute)), 14 * minute},
		"too many refused, a while": {learned(confirmed("active"), 3, blocked(1, 14*minute)), 14 * minute},

		"outcome unknown":          {learned(confirmed("unknown"), 1, refused(2), works(1)), none},
		"outcome unknown still":    {learned(confirmed("unknown"), 1, cannotTell(2)), none},
		"reported, old one works":  {learned(confirmed("reported"), 1, refused(2), works(1)), minute},
		"reported, again":          {learned(confirmed("reported"), 2, refused(2), works(1)), 2 * minute},
		"reported, too many":       {learned(confirmed("reported"), 1, refused(2), blocked(1, 14*minute)), 14 * minute},
		"reported, cannot tell":    {learned(confirmed("reported"), 1, cannotTell(2)), 5 * minute},
		"contradicted":             {learned(confirmed("contradicted"), 1, refused(2), works(1)), hour},
		"contradicted, and proved": {learned(confirmed("contradicted", period(2)), 1, works(2)), 2 * hour},

		"waits":                 {learned(confirmed("staged"), 1, works(1)), minute},
		"waits, second":         {learned(confirmed("staged"), 2, works(1)), minute},
		"waits, third":          {learned(confirmed("staged"), 3, works(1)), 2 * minute},
		"waits, for long":       {learned(confirmed("staged"), 9, works(1)), 15 * minute},
		"waits, cannot tell":    {learned(confirmed("staged"), 3, cannotTell(1)), 2 * minute},
		"waits, the first":      {learned(confirmed("first staged"), 1, refused(1)), 15 * minute},
		"waits on some servers": {learned(given("partial", provesParts), 1, works(1, "a"), works(1, "b")), none},
		"waited, and works":     {learned(confirmed("staged"), 5, refused(1), works(2)), none},
	} {
		want := logsIn(Proving, row.want)
		if row.want == none {
			want = Step{}
		}
		step, _ := row.role.prove(now, Env{})
		require.Equal(t, want, step, name)
	}
	require.Zero(t, learned(confirmed("active"), 5, works(1)).Proofs.Unsettled)
	require.Equal(t, 5, learned(confirmed("staged"), 5, works(1)).Proofs.Unsettled)
}

// The rounds after a request count anew: those before it were about another password.
func TestRequestResetsWaits(t *testing.T) {
	t.Parallel()
	r := learned(given("reported", proves, wanted), 9, refused(2), works(1))
	require.Equal(t, in(time.Minute), r.Proofs.Next)
}

// A login that worked while another password can still follow is repeated, until none can.
func TestAssumedPasswordIsProvedAgain(t *testing.T) {
	t.Parallel()
	r := given("candidate", proves)
	r.Record = r.Record.Adopt("other", "adopted", now)
	r.Learn([]LoginResult{works(3)}, now, time.Minute)
	require.False(t, r.Record.Current.Confirmed, "the lost request may be carried out")
	require.Equal(t, in(5*time.Minute), r.Proofs.Next)
	r.Learn([]LoginResult{works(3)}, in(5*time.Minute), time.Minute)
	require.True(t, r.Record.Current.Confirmed)
	require.Zero(t, r.Proofs.Next)
}

// While the old password works, a queued one does not count as in force. If no login can tell, time decides.
func TestQueuedPasswordSettlesOnceOldOneIsRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		logins []LoginResult
		want   time.Duration
	}{
		"old one works": {[]LoginResult{works(1)}, time.Minute},
		"neither works": {[]LoginResult{refused(1), refused(2)}, time.Minute},
		"cannot tell":   {[]LoginResult{cannotTell(1)}, settles},
	} {
		r := given("queued", proves)
		r.Learn(row.logins, now, 0)
		require.Equal(t, in(row.want), r.SettlesAt, name)
	}
}

// Without anything to log in with, a planned login is dropped: it would be due for ever.
func TestLoginWithoutPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, past := range []time.Duration{0, -time.Hour} {
		r := given("no password", proves, planned(past), wanted)
		require.False(t, r.Learn(nil, now, 0))
		require.Zero(t, r.Proofs)
	}
	r := given("no password", proves, planned(time.Hour))
	r.Learn(nil, now, 0)
	require.Equal(t, in(time.Hour), r.Proofs.Next)
}

// on_drift=recover tries one password after the other, and each once.
func TestRecoveryTriesEachPasswordOnce(t *testing.T) {
	t.Parallel()
	drifting := func(changes ...func(*Role)) *Role {
		r := given("active", append(changes, proves, onDrift(DriftRecover))...)
		for n := 2; n <= 4; n++ {
			r.Record, _ = r.Record.Make("password-"+string(rune('0'+n)), byRequest, false, now)
			r.Record = r.Record.Send(now, 0).Applied(now, false)
		}
		return r
	}
	r := drifting()
	r.Learn([]LoginResult{refused(4)}, now, 0)
	require.True(t, r.Proofs.Recovering)
	require.Equal(t, now, r.Proofs.Next, "at once")
	require.Equal(t, []int{3, 2, 1}, versions(r.Trials(true)))
	r.Learn([]LoginResult{refused(3), blocked(2, 15*time.Minute)}, now, 0)
	require.Equal(t, []int{2, 1}, versions(r.Trials(true)))
	require.Equal(t, in(15*time.Minute), r.Proofs.Next)
	r.Learn([]LoginResult{cannotTell(2)}, now, 0)
	require.Equal(t, []int{2, 1}, versions(r.Trials(true)), "it was not refused")
	require.Equal(t, in(4*time.Minute), r.Proofs.Next)
	found := *r
	r = &found
	r.Learn([]LoginResult{refused(2), works(1)}, now, 0)
	require.Equal(t, "password", r.Record.Current.Value)
	require.Equal(t, 5, r.Record.Current.Version)
	require.False(t, r.Proofs.Recovering)
	require.Empty(t, r.Proofs.Refused)

	none := drifting(period(2))
	none.Learn([]LoginResult{refused(4)}, now, 0)
	none.Learn([]LoginResult{refused(3), refused(2)}, now, 0)
	require.True(t, none.Proofs.Recovering)
	none.Learn([]LoginResult{refused(1)}, now, 0)
	require.False(t, none.Proofs.Recovering, "none works")
	step, _ := none.prove(now, Env{})
	require.Equal(t, logsIn(Proving, 2*time.Hour), step)
	require.Equal(t, []int{4, 3}, versions(none.Trials(false)), "the next round starts over")
	none.Learn([]LoginResult{works(4)}, now, 0)
	require.False(t, none.Record.Current.Refused)
}

func TestOnlyRecoveryTriesOlderPasswords(t *testing.T) {
	t.Parallel()
	for drift, want := range map[string]bool{DriftReport: false, DriftRotate: false, DriftRecover: true} {
		r := given("settled by time", proves, onDrift(drift))
		r.Learn([]LoginResult{refused(2)}, now, 0)
		require.Equal(t, want, r.Proofs.Recovering, drift)
		require.Equal(t, want, !r.Proofs.Next.IsZero(), drift)
	}
	r := given("drifted", proves, onDrift(DriftRecover)) // the remote system says so, and no login has shown it
	r.Learn([]LoginResult{cannotTell(1)}, now, 0)
	require.False(t, r.Proofs.Recovering)
}

// If the remote system checks old passwords and none is left to present, no request settles what is open. Logins do.
func TestLoginsSettleWhatNoRequestCan(t *testing.T) {
	t.Parallel()
	for drift, want := range map[string]time.Duration{DriftRecover: 15 * time.Minute, DriftReport: 2 * time.Hour} {
		r := given("unknown", proves, period(2), onDrift(drift))
		few := 1
		r.Record = r.Record.Send(in(sentFor), 1).OldRefused(false, &few, in(time.Hour))
		require.True(t, r.Record.OldExhausted())
		r.Learn([]LoginResult{blocked(2, 15*time.Minute)}, now, 0)
		r.Record = r.Record.GiveUp()
		require.True(t, r.Record.Exposed(), "the last request may have been carried out")
		step, first := r.prove(now, Env{OldPassword: true})
		require.Equal(t, logsIn(Proving, want), step, drift)
		require.False(t, first)
		require.Equal(t, []int{2, 1}, versions(r.Trials(false)))
		r.Learn([]LoginResult{works(2)}, in(want), 0)
		require.Equal(t, credential.StateActive, r.Record.View(in(want)).State)
	}
}

// A recovery that settles nothing for long needs an operator, and one ends as soon as a request can settle it.
func TestRecoveryEndsInTime(t *testing.T) {
	t.Parallel()
	r := given("active", proves, onDrift(DriftRecover))
	r.Record, _ = r.Record.Make("password-2", byRequest, false, now)
	r.Record = r.Record.Send(now, 0).Applied(now, false)
	r.Learn([]LoginResult{refused(2)}, now, 0)
	require.True(t, Recovers(r))
	for range maxPolls {
		r.Learn([]LoginResult{cannotTell(1)}, now, 0)
	}
	require.False(t, Recovers(r), "an operator is asked")
	require.Equal(t, in(time.Hour), r.Proofs.Next, "and the engine goes on")
	r.Proofs.Unsettled = 0
	disabled(r)
	require.False(t, Recovers(r))

	r.Record, _ = r.Record.Make("password-3", byRequest, false, now)
	r.Record = r.Record.Send(now, 0).Unresolved()
	r.Learn([]LoginResult{cannotTell(1)}, now, 0)
	require.False(t, r.Proofs.Recovering)
	require.Empty(t, r.Proofs.Refused)
}

// However a role comes to rest, the next login of verify_period follows. If none was ever made, the period begins with the
// password.
func TestPeriodCountsFromLastLogin(t *testing.T) {
	t.Parallel()
	since := given("active").Record.Current.Since
	check(t, map[string]row{
		"never":           {given("active", proves, period(2)), Env{}, logsIn(Proving, since.Sub(now)+2*time.Hour)},
		"an hour ago":     {given("active", proves, period(2), proved(provider.Works, -time.Hour)), Env{}, logsIn(Proving, time.Hour)},
		"assumed":         {given("assumed", proves, period(2), proved(provider.Works, -time.Hour)), Env{}, logsIn(Proving, time.Hour)},
		"drifted":         {given("drifted", proves, period(2), proved(provider.Refused, -time.Hour)), Env{}, logsIn(Proving, time.Hour)},
		"discarded":       {given("discarded", proves, period(2), proved(provider.Works, -time.Hour)), Env{}, logsIn(Proving, time.Hour)},
		"staged":          {given("staged", proves, period(2), proved(provider.Works, -time.Hour)), Env{}, Step{Do: Prove, Why: Proving}},
		"no verify":       {given("active", period(2), proved(provider.Works, -time.Hour)), Env{}, resting(ByHand)},
		"no period":       {given("active", proves, proved(provider.Works, -time.Hour)), Env{}, resting(ByHand)},
		"one restarts":    {given("active", provesParts, period(2), proved(provider.Works, -3*time.Hour), restarting(2, "a", 0)), mayRestart, restartsNow(Restarting)},
		"one is not back": {given("active", provesParts, period(2), proved(provider.Works, -3*time.Hour), failing(1), restarting(1, "a", time.Hour)), mayRestart, logsIn(Proving, -time.Hour)},
	})
	r := given("active", proves, period(2), proved(provider.Works, 24*time.Hour)) // by a clock that was ahead
	r.Refresh(now)
	require.Equal(t, now, r.Proofs.Time)
}

// A recovery ends when the history no longer has what it would try next.
func TestRecoveryEndsWithHistory(t *testing.T) {
	t.Parallel()
	r := given("active", proves, onDrift(DriftRecover), period(2))
	for n := 2; n <= 4; n++ {
		r.Record, _ = r.Record.Make("password-"+string(rune('0'+n)), byRequest, false, now)
		r.Record = r.Record.Send(now, 0).Applied(now, false)
	}
	r.Options.HistorySize = 0
	r.Learn([]LoginResult{refused(4)}, now, 0)
	require.True(t, r.Proofs.Recovering)
	r.Learn([]LoginResult{refused(3)}, now, 0)
	require.False(t, r.Proofs.Recovering)
	step, _ := r.prove(now, Env{})
	require.Equal(t, logsIn(Proving, 2*time.Hour), step)
}

// With on_drift=rotate, the password in force is due as soon as a login with it was refused.
func TestDriftMakesPasswordDue(t *testing.T) {
	t.Parallel()
	refusedCurrent := func(r *Role) { r.Record = r.Record.LoginRefused(r.Record.Current.Version, now, 0) }
	for name, row := range map[string]struct {
		role *Role
		want time.Duration
	}{
		"rotate":                 {given("drifted", proves, onDrift(DriftRotate), due(time.Hour), proved(provider.Refused, -time.Minute)), -time.Minute},
		"report":                 {given("drifted", proves, due(time.Hour), proved(provider.Refused, -time.Minute)), time.Hour},
		"rotate, the next waits": {given("staged", proves, onDrift(DriftRotate), due(time.Hour), proved(provider.Refused, -time.Minute), refusedCurrent), time.Hour},
		"rotate, without verify": {given("drifted", onDrift(DriftRotate), due(time.Hour), proved(provider.Refused, -time.Minute)), time.Hour},
		"rotate, never seen":     {given("settled by time", proves, onDrift(DriftRotate), due(time.Hour), proved(provider.Refused, -time.Minute), refusedCurrent), time.Hour},
		"rotate, in force":       {given("active", proves, onDrift(DriftRotate), due(time.Hour), proved(provider.Works, -time.Minute)), time.Hour},
	} {
		require.Equal(t, in(row.want), row.role.DueTime(), name)
	}
}

// A recovery of a role whose only password was refused tries it again: it may have been set again.
func TestRecoveryOfOnlyPasswordTriesItAgain(t *testing.T) {
	t.Parallel()
	r := given("active", proves, onDrift(DriftReport), period(2))
	r.Learn([]LoginResult{refused(1)}, now, 0)
	before := r.Options
	r.Options.OnDrift = DriftRecover
	r.PlanProof(before, now)
	step, _ := r.prove(now, Env{})
	require.Equal(t, logsIn(Proving, 0), step)
	require.Equal(t, []int{1}, versions(r.Trials(true)))
	r.Learn([]LoginResult{works(1)}, now, 0)
	require.False(t, drifted(r))
}

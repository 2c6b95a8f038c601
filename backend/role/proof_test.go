package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// The password that most probably works comes first, because a refused login may block Vault.
func TestLikeliestPasswordIsTriedFirst(t *testing.T) {
	t.Parallel()
	byTime := []string{"in force", "made", "sent", "queued", "settled"}
	driftedByTime := func(r *Role) { r.Record = after(byTime...).LoginRefused(2, now, 0) }
	history := func(r *Role) {
		r.Record.History = []credential.Past{{Password: credential.Password{Version: 4, Value: "older-4"}}, {Password: credential.Password{Version: 3, Value: "older-3"}}}
	}
	candidateRefused := func(r *Role) {
		r.Record = r.Record.GiveUp()
		r.Record.Candidates[0].Refused = true
	}
	for name, row := range map[string]struct {
		role      *Role
		some, all []int
	}{
		"no password":                {given("no password"), []int{}, []int{}},
		"in force":                   {given("active"), []int{1}, []int{1}},
		"in force, and older ones":   {given("settled by time", history), []int{2, 1}, []int{2, 1, 4, 3}},
		"adopted":                    {given("assumed"), []int{1}, []int{1}},
		"not sent":                   {given("asked"), []int{1}, []int{1}},
		"not sent, none in force":    {given("first asked"), []int{}, []int{}},
		"outcome unknown":            {given("unknown"), []int{1, 2}, []int{1, 2}},
		"outcome unknown, the first": {given("first sending"), []int{1}, []int{1}},
		"reported in force":          {given("reported"), []int{2, 1}, []int{2, 1}},
		// While it waits, it is in force only if the one before is refused.
		"queued":                      {given("queued"), []int{1, 2}, []int{1, 2}},
		"queued, the first":           {given("first queued"), []int{1}, []int{1}},
		"waits for a restart":         {given("staged"), []int{1, 2}, []int{1, 2}},
		"waits on one server":         {given("partial"), []int{1, 2}, []int{1, 2}},
		"waits, another to be sent":   {given("staged and asked"), []int{1, 2}, []int{1, 2}},
		"waits, another unknown":      {given("queued and unknown"), []int{1, 3, 2}, []int{1, 3, 2}},
		"two are open":                {given("candidate and next"), []int{1, 2}, []int{1, 2}},
		"discarded":                   {given("discarded"), []int{1}, []int{1, 2}},
		"discarded, none in force":    {given("discarded", func(r *Role) { r.Record.Current = nil }), []int{2}, []int{2}},
		"drifted":                     {given("drifted"), []int{1}, []int{1}},
		"drifted, settled by time":    {given("active", driftedByTime), []int{2, 1}, []int{1, 2}},
		"drifted, and one is unknown": {given("drifted, unknown"), []int{2, 1}, []int{2, 1}},
		"these were refused":          {given("drifted, unknown", func(r *Role) { r.Proofs.Refused = []int{2} }), []int{2, 1}, []int{1}},
		"refused ones come last":      {given("drifted, unknown", candidateRefused, history), []int{1, 2}, []int{4, 3, 1, 2}},
		"the same password twice":     {given("active", func(r *Role) { r.Record = r.Record.Adopt("other", "", now).Adopt("password", "", now) }), []int{3}, []int{3, 2}},
	} {
		require.Equal(t, row.some, versions(row.role.Trials(false)), name)
		require.Equal(t, row.all, versions(row.role.Trials(true)), "%s, all", name)
	}
}

// On a server where a password is known to be in force, that one is tried first.
func TestServerIsAskedForItsPassword(t *testing.T) {
	t.Parallel()
	r := given("staged, on a", provesParts)
	trials := r.Trials(false)
	require.Equal(t, []int{2, 1}, versions(FirstAt(r, "a", trials)))
	require.Equal(t, []int{1, 2}, versions(FirstAt(r, "b", trials)))
	require.Equal(t, []int{1, 2}, versions(FirstAt(r, "", trials)))
	require.Equal(t, []int{1, 2}, versions(trials))
	require.Empty(t, FirstAt(r, "a", nil))
	r.Proofs = Proofs{Part: "b", Version: 1, Verdict: provider.Refused} // and the budget allowed no other login
	require.Equal(t, []int{2, 1}, versions(FirstAt(r, "b", trials)))
	require.Equal(t, []int{1, 2}, versions(FirstAt(r, "c", trials)))
}

func TestFirstPollFollowsStaging(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		role *Role
		want time.Time
	}{
		"waits for a restart": {given("staged", provesParts), in(time.Minute)},
		"queued":              {given("queued", proves), in(settles)},
		"without verify":      {given("staged", planned(time.Hour)), time.Time{}},
	} {
		row.role.Proofs.Unsettled = 5
		row.role.PlanPolls(now)
		require.Equal(t, row.want, row.role.Proofs.Next, name)
		require.Zero(t, row.role.Proofs.Unsettled, name)
	}
}

// What logins change in each situation.
func TestLoginsShowWhatIsInForce(t *testing.T) {
	t.Parallel()
	const active, assumed, uncertain, drifted = credential.StateActive, credential.StateAssumed, credential.StateUncertain, credential.StateDrifted
	const waits, queued = credential.StateRestartRequired, credential.StateAccepted
	for name, row := range map[string]struct {
		role    *Role
		logins  []LoginResult
		state   credential.State
		version int
		changed bool
	}{
		"it works":         {given("active", proves), []LoginResult{works(1)}, active, 1, false},
		"adopted, works":   {given("assumed", proves), []LoginResult{works(1)}, active, 1, true},
		"cannot tell":      {given("active", proves), []LoginResult{cannotTell(1)}, active, 1, false},
		"it is refused":    {given("active", proves), []LoginResult{refused(1)}, drifted, 1, true},
		"refused still":    {given("drifted", proves), []LoginResult{refused(1)}, drifted, 1, false},
		"works after all":  {given("drifted", proves), []LoginResult{works(1)}, active, 1, true},
		"none in force":    {given("first asked", proves), nil, credential.StateNone, 0, false},
		"adopted, refused": {given("assumed", proves), []LoginResult{refused(1)}, drifted, 1, true},
		"by time, older":   {given("settled by time", proves), []LoginResult{refused(2), works(1)}, active, 3, true},
		"by time, neither": {given("settled by time", proves), []LoginResult{refused(2), refused(1)}, drifted, 2, true},

		"unknown, new works":   {given("unknown", proves), []LoginResult{works(2)}, active, 2, true},
		"unknown, old works":   {given("unknown", proves), []LoginResult{refused(2), works(1)}, uncertain, 1, false},
		"unknown, neither":     {given("unknown", proves), []LoginResult{refused(2), refused(1)}, uncertain, 1, false},
		"unknown, cannot tell": {given("unknown", proves), []LoginResult{cannotTell(2)}, uncertain, 1, false},
		"two, older works":     {given("candidate and next", proves), []LoginResult{works(2)}, active, 2, true},

		"reported, works":       {given("reported", proves), []LoginResult{works(2)}, active, 2, true},
		"reported, cannot tell": {given("reported", proves), []LoginResult{cannotTell(2)}, active, 2, true},
		"reported, old works":   {given("reported", proves), []LoginResult{refused(2), works(1)}, uncertain, 1, false},
		"reported, old unknown": {given("reported", proves), []LoginResult{refused(2), cannotTell(1)}, uncertain, 1, false},
		"reported, neither":     {given("reported", proves), []LoginResult{refused(2), refused(1)}, uncertain, 2, true},
		"refused, then unknown": {given("twice refused", proves), []LoginResult{cannotTell(2)}, uncertain, 1, false},
		"contradicted, works":   {given("contradicted", proves), []LoginResult{works(2)}, active, 2, true},

		"queued, old works":    {given("queued", proves), []LoginResult{works(1)}, queued, 1, false},
		"queued, new works":    {given("queued", proves), []LoginResult{refused(1), works(2)}, active, 2, true},
		"queued, neither":      {given("queued", proves), []LoginResult{refused(1), refused(2)}, queued, 1, false},
		"waits, old works":     {given("staged", proves), []LoginResult{works(1)}, waits, 1, false},
		"waits, cannot tell":   {given("staged", proves), []LoginResult{cannotTell(1)}, waits, 1, false},
		"the first one waits":  {given("first staged", proves), []LoginResult{refused(1)}, waits, 1, false},
		"the first one works":  {given("first staged", proves), []LoginResult{works(1)}, active, 1, true},
		"waits, not on both":   {given("staged", provesParts), []LoginResult{refused(1, "a"), works(2, "a"), works(1, "b")}, waits, 1, false},
		"waited, works":        {given("staged", provesParts), []LoginResult{refused(1, "a"), works(2, "a"), refused(1, "b"), works(2, "b")}, active, 2, true},
		"on one, now on both":  {given("staged, on a", provesParts), []LoginResult{works(2, "a"), works(2, "b")}, active, 2, true},
		"refused on one":       {given("active", provesParts), []LoginResult{works(1, "a"), refused(1, "b")}, drifted, 1, true},
		"cannot tell on one":   {given("active", provesParts), []LoginResult{works(1, "a"), cannotTell(1, "b")}, active, 1, false},
		"adopted, one unknown": {given("assumed", provesParts), []LoginResult{works(1, "a"), cannotTell(1, "b")}, assumed, 1, false},
		"another on one":       {given("staged and asked", provesParts), []LoginResult{works(2, "a"), refused(2, "b"), works(1, "b")}, waits, 1, false},
	} {
		changed := row.role.Learn(row.logins, now, 0)
		view := row.role.Record.View(now)
		require.Equal(t, row.state, view.State, name)
		require.Equal(t, row.version, versionOf(view.Password), name)
		require.Equal(t, row.changed, changed, name)
	}
}

// A server with another password that may be in force says nothing against the one on the other servers.
func TestOpenPasswordOnOneServerIsNoDrift(t *testing.T) {
	t.Parallel()
	r := given("staged and asked", provesParts)
	r.Learn([]LoginResult{works(2, "a"), refused(2, "b"), works(1, "b")}, now, 0)
	r.Learn([]LoginResult{refused(1, "a"), works(2, "a"), works(1, "b")}, now, 0)
	require.False(t, r.Record.Current.Refused)
	require.False(t, r.Record.Candidates[0].Refused)
	require.Equal(t, 2, r.Record.VersionOn("a"))
}

func TestProvedPasswordStartsItsPeriod(t *testing.T) {
	t.Parallel()
	r := given("unknown", proves, due(time.Hour), busy(time.Hour), wanted)
	r.Options.HistorySize = 0
	r.Record.History = []credential.Past{{Password: credential.Password{Version: 1, Value: "old"}}}
	r.Record.Current.Version, r.Record.Next.Version = 2, 3
	r.Learn([]LoginResult{works(3)}, now, 0)
	require.Equal(t, in(24*time.Hour), r.Due)
	require.Zero(t, r.Retry)
	require.False(t, r.Proofs.Wanted)
	require.Empty(t, r.Record.History, "history_size")

	r = given("active", proves, due(time.Hour), failed(provider.Rejected, provider.ScopeTarget, time.Hour))
	r.Learn([]LoginResult{works(1)}, now, 0)
	require.Equal(t, in(time.Hour), r.Due, "the same password is in force")
	require.NotNil(t, r.Retry.Last, "the last change failed all the same")

	r = given("queued", proves)
	r.Learn([]LoginResult{refused(1), works(2)}, now, 0)
	require.Zero(t, r.SettlesAt)
}

// The result that is remembered is the one that an operator has to know.
func TestWorstLoginStandsForAll(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		logins []LoginResult
		want   LoginResult
	}{
		"one":                    {[]LoginResult{works(1)}, works(1)},
		"the last one works":     {[]LoginResult{refused(1), works(2)}, works(2)},
		"the last one cannot":    {[]LoginResult{refused(1), cannotTell(2)}, cannotTell(2)},
		"one server cannot":      {[]LoginResult{works(1, "a"), cannotTell(1, "b"), works(1, "c")}, cannotTell(1, "b")},
		"one server refuses":     {[]LoginResult{refused(1, "a"), refused(2, "a"), cannotTell(1, "b"), works(1, "c")}, refused(2, "a")},
		"one server has the new": {[]LoginResult{refused(1, "a"), works(2, "a"), works(1, "b")}, works(1, "b")},
	} {
		r := given("active", provesParts)
		r.Learn(row.logins, now, 0)
		require.Equal(t, now, r.Proofs.Time, name)
		require.Equal(t, row.want, LoginResult{Version: r.Proofs.Version, Part: r.Proofs.Part, Proof: provider.Proof{Verdict: r.Proofs.Verdict, Reason: r.Proofs.Reason}}, name)
	}
}

func TestContradictionNeedsThreeRefusals(t *testing.T) {
	t.Parallel()
	for situation, want := range map[string]bool{"reported": false, "twice refused": false, "contradicted": true, "active": false, "unknown": false} {
		require.Equal(t, want, given(situation).Record.Contradicted(), situation)
	}
	r := given("reported", proves)
	r.Learn([]LoginResult{refused(2), works(1)}, now, 0)
	require.Equal(t, 1, r.Record.Next.LoginsRefused)
	last := provider.Proof{Verdict: r.Proofs.Verdict, Reason: r.Proofs.Reason}
	require.Equal(t, refused(2).Proof, last, "that the one before works is not worth knowing")
	require.Equal(t, 2, r.Proofs.Version)
	r = given("twice refused")
	r.Record = r.Record.LoginRefused(2, now, 0)
	require.False(t, r.Record.Contradicted(), "it was not sent again")
}

// On servers, a refused login shows that the password is not in force there, but not that it never will be.
func TestRefusedLoginAtServer(t *testing.T) {
	t.Parallel()
	r := given("staged, on a", provesParts)
	r.Learn([]LoginResult{refused(2, "a"), cannotTell(1, "a"), works(1, "b")}, now, 0)
	require.Zero(t, r.Record.VersionOn("a"))
	require.Equal(t, credential.StateRestartRequired, r.Record.View(now).State)

	r = given("unknown", provesParts)
	r.Record, _ = r.Record.Discard(2, now)
	r.Learn([]LoginResult{refused(2, "a"), works(1, "a"), works(1, "b")}, in(24*time.Hour), 0)
	require.Len(t, r.Record.Candidates, 1)
	require.False(t, r.Record.Candidates[0].Refused)
	require.Equal(t, credential.StateAssumed, r.Record.View(now).State, "it may wait for a restart")
}

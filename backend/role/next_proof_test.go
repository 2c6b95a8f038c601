package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestLoginsAreMadeAtTheirTime(t *testing.T) {
	t.Parallel()
	const minute, hour = time.Minute, time.Hour
	frozen, frozenFor := Env{Frozen: true}, Env{Frozen: true, FrozenUntil: in(hour)}
	check(t, map[string]row{
		// At rest.
		"none is planned":               {given("active", proves), Env{}, resting(ByHand)},
		"planned":                       {given("active", proves, planned(hour)), Env{}, logsIn(Proving, hour)},
		"planned, time over":            {given("active", proves, planned(-hour)), Env{}, logsIn(Proving, -hour)},
		"planned, without verify":       {given("active", planned(hour)), Env{}, resting(ByHand)},
		"planned, verify=none":          {given("active", planned(hour), func(r *Role) { r.Options.Verify = provider.LoginNone }), Env{}, resting(ByHand)},
		"planned, due earlier":          {given("active", proves, planned(hour), due(minute)), Env{}, begins(Due, minute)},
		"planned, due later":            {given("active", proves, planned(minute), due(hour)), Env{}, logsIn(Proving, minute)},
		"planned, disabled":             {given("active", proves, planned(hour), disabled), Env{}, resting(ByHand)},
		"planned, frozen":               {given("active", proves, planned(-hour)), frozen, resting(ByHand)},
		"planned, frozen until":         {given("active", proves, planned(-hour)), frozenFor, logsIn(Frozen, hour)},
		"planned, paused":               {given("active", proves, planned(hour)), Env{Paused: true}, logsIn(Proving, hour)},
		"planned, throttled":            {given("active", proves, planned(minute)), Env{ThrottledUntil: in(hour)}, logsIn(Proving, minute)},
		"drifted, report":               {given("drifted", proves), Env{}, resting(ByHand)},
		"drifted, recover":              {given("drifted", proves, onDrift(DriftRecover), planned(0)), Env{}, logsIn(Proving, 0)},
		"drifted, rotate":               {given("drifted", proves, onDrift(DriftRotate), proved(provider.Refused, -minute)), Env{}, begins(Due, -minute)},
		"drifted, rotate, without":      {given("drifted", onDrift(DriftRotate), proved(provider.Refused, -minute)), Env{}, resting(ByHand)},
		"drifted, rotate, window":       {given("drifted", proves, onDrift(DriftRotate), window(missed, hour), proved(provider.Refused, -minute)), Env{}, begins(Window, 21*hour)},
		"not drifted, rotate":           {given("active", proves, onDrift(DriftRotate), proved(provider.Works, -minute)), Env{}, resting(ByHand)},
		"in flight":                     {given("sending", proves, planned(-hour)), Env{}, sends(InFlight)},
		"outcome unknown, none planned": {given("unknown", proves), Env{}, sends(Retrying)},

		// A login comes before anything else is sent.
		"wanted":                      {given("unknown", proves, wanted), Env{}, logsIn(Proving)},
		"wanted, retry later":         {given("unknown", proves, wanted, busy(hour)), Env{}, logsIn(Proving)},
		"wanted, planned later":       {given("unknown", proves, wanted, planned(hour)), Env{}, logsIn(Proving)},
		"wanted, request not over":    {given("sending", proves, wanted), Env{}, sends(InFlight)},
		"wanted, request over":        {given("sending overdue", proves, wanted), Env{}, logsIn(Proving)},
		"wanted, not in force yet":    {given("slow", proves, wanted), Env{}, sends(Retrying)},
		"wanted, without verify":      {given("unknown", wanted), Env{}, sends(Retrying)},
		"wanted, disabled":            {given("unknown", proves, wanted, disabled), Env{}, resting(Disabled)},
		"wanted, disabled, requested": {given("unknown", proves, wanted, disabled), Env{Requested: true}, logsIn(Proving)},
		"wanted, frozen":              {given("unknown", proves, wanted), frozen, resting(Frozen)},
		"wanted, frozen until":        {given("unknown", proves, wanted), frozenFor, logsIn(Frozen, hour)},
		"wanted, frozen, requested":   {given("unknown", proves, wanted), Env{Frozen: true, Requested: true}, logsIn(Proving)},
		"wanted, paused":              {given("unknown", proves, wanted), Env{Paused: true}, logsIn(Proving)},

		// A login contradicts the remote system: it is repeated, then the password is sent again, once.
		"reported":                 {given("reported", proves), Env{}, logsIn(Proving)},
		"reported, repeated later": {given("reported", proves, planned(minute)), Env{}, logsIn(Proving, minute)},
		"reported, without verify": {given("reported"), Env{}, sends(Retrying)},
		"refused twice":            {given("twice refused", proves, planned(minute)), Env{}, sends(Retrying)},
		"refused twice, busy":      {given("twice refused", proves, planned(minute), busy(hour)), Env{}, sends(Retrying, hour)},
		"sent and reported again":  {given("reported again", proves), Env{}, logsIn(Proving)},
		"contradicted":             {given("contradicted", proves, planned(hour)), Env{}, logsIn(Proving, hour)},

		// The last password is not in force yet.
		"staged":                      {given("staged", proves, planned(minute)), Env{}, logsIn(Proving, minute)},
		"staged, due":                 {given("staged", proves, planned(minute), due(-hour)), Env{}, logsIn(Proving, minute)},
		"staged, none planned":        {given("staged", proves), Env{}, Step{Do: Prove, Why: Proving}},
		"queued":                      {given("queued", proves, planned(settles)), Env{}, logsIn(Proving, settles)},
		"queued, no login could tell": {given("queued", proves, planned(hour), proved(provider.CannotTell, settles)), Env{}, settled(settles)},
		"queued, not tried since":     {given("queued", proves, planned(hour), proved(provider.CannotTell, 0)), Env{}, logsIn(Proving, hour)},
		"queued, old one works":       {given("queued", proves, planned(hour), proved(provider.Works, settles)), Env{}, logsIn(Proving, hour)},
		"queued, disabled":            {given("queued", proves, planned(minute), disabled), Env{}, settled(settles)},
		"queued, without verify":      {given("queued", planned(minute)), Env{}, settled(settles)},
		"one restarts":                {given("staged", provesParts, restarts, planned(minute), restarting(2, "a", 0)), mayRestart, restartsNow(Restarting)},

		// A change was sent while a server restarts.
		"wanted, one restarts":         {given("unknown", provesParts, restarts, wanted, restarting(2, "a", 0)), mayRestart, logsIn(Proving)},
		"wanted, frozen, one restarts": {given("unknown", provesParts, restarts, wanted, restarting(2, "a", 0)), Env{Frozen: true, MayRestart: true}, restartsNow(Restarting)},
	})
}

// What an operator reads about the password is not about logins that only look at it.
func TestPlannedLoginsAreNoChange(t *testing.T) {
	t.Parallel()
	only := Env{ChangesOnly: true, MayRestart: true}
	check(t, map[string]row{
		"planned":             {given("active", proves, planned(0)), only, resting(ByHand)},
		"planned, due later":  {given("active", proves, planned(0), due(time.Hour)), only, begins(Due, time.Hour)},
		"waits for a restart": {given("staged", provesParts, planned(0)), only, resting(AwaitingRestart)},
		"one restarts":        {given("staged", provesParts, restarts, planned(0)), only, restartsNow(Restarting)},
		"wanted":              {given("unknown", proves, wanted), only, logsIn(Proving)},
		"reported":            {given("reported", proves, planned(time.Minute)), only, logsIn(Proving, time.Minute)},
	})
}

// The process that sent the request has ended, so a login can show what became of it.
func TestInterruptedRequestIsProvedFirst(t *testing.T) {
	t.Parallel()
	require.Equal(t, logsIn(Proving), given("sending", proves, wanted).Automatic(now, Env{}))
	require.Equal(t, sends(Retrying), given("sending", proves).Automatic(now, Env{}))
}

// A read that begins a rotation does not keep the engine from its logins and restarts.
func TestEngineLogsInWithoutReaders(t *testing.T) {
	t.Parallel()
	require.Equal(t, logsIn(Proving, time.Hour), given("active", proves, planned(time.Hour), due(-time.Hour), onRead).Automatic(now, Env{}))
	require.Equal(t, byRead(begins(Due, -time.Hour)), given("active", proves, planned(time.Hour), due(-time.Hour), onRead).Next(now, Env{}))
	require.Equal(t, resting(Due), given("active", proves, due(-time.Hour), onRead).Automatic(now, Env{}))
}

func TestProvesFirstOnlyIfReady(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		role *Role
		env  Env
		want bool
	}{
		"wanted":               {given("unknown", proves, wanted), Env{}, true},
		"reported":             {given("reported", proves), Env{}, true},
		"reported, later":      {given("reported", proves, planned(time.Minute)), Env{}, false},
		"wanted, frozen":       {given("unknown", proves, wanted), Env{Frozen: true}, false},
		"planned only":         {given("active", proves, planned(-time.Minute)), Env{}, false},
		"wanted, disabled":     {given("unknown", proves, wanted, disabled), Env{}, false},
		"wanted, one restarts": {given("unknown", proves, wanted, restarting(2, "a", 0)), Env{}, true},
	} {
		require.Equal(t, row.want, row.role.ProvesFirst(now, row.env), name)
	}
}

func TestTTLEndsAtNextLogin(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		role *Role
		env  Env
		want time.Duration
	}{
		"wanted":               {given("unknown", proves, wanted), Env{}, OverdueTTL},
		"reported":             {given("reported", proves, planned(time.Minute)), Env{}, time.Minute},
		"reported, soon":       {given("reported", proves, planned(time.Second)), Env{}, OverdueTTL},
		"twice refused":        {given("twice refused", proves, planned(time.Minute)), Env{}, OverdueTTL},
		"contradicted":         {given("contradicted", proves, planned(time.Hour)), Env{}, 300 * time.Second},
		"reported, frozen":     {given("reported", proves, maxTTL(60)), Env{Frozen: true}, time.Minute},
		"staged":               {given("staged", proves, planned(time.Minute)), Env{}, 300 * time.Second},
		"queued":               {given("queued", proves, planned(settles), maxTTL(0)), Env{}, settles},
		"queued, login is due": {given("queued", proves, planned(0), func(r *Role) { r.SettlesAt = now }), Env{}, OverdueTTL},
		"in force, planned":    {given("active", proves, planned(time.Second)), Env{}, 300 * time.Second},
	} {
		require.Equal(t, row.want, row.role.TTL(now, row.env), name)
	}
}

// What a clock stored that was ahead does not delay logins and restarts.
func TestLoginsInFutureAreCorrected(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, row := range map[string]struct {
		role *Role
		want time.Duration
	}{
		"ahead":                {given("active", proves, planned(day)), 0},
		"within the longest":   {given("active", proves, planned(time.Hour)), time.Hour},
		"verify_period":        {given("active", proves, planned(day), period(24)), day},
		"verify_period, ahead": {given("active", proves, planned(2*day), period(24)), 0},
	} {
		row.role.Refresh(now)
		require.Equal(t, in(row.want), row.role.Proofs.Next, name)
	}
	r := given("staged", restarts, restarting(2, "a", -day))
	r.Restarts.NotBefore = in(day)
	r.Refresh(now)
	require.Equal(t, now, r.Restarts.Since)
	require.Zero(t, r.Restarts.NotBefore)
}

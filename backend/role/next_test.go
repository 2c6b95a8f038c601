package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// Each state of the passwords, by hand and where one is due, with nothing in the way.
func TestNextStepFollowsState(t *testing.T) {
	t.Parallel()
	steps := map[string]struct{ byHand, due Step }{
		// Nothing is open.
		"no password":     {resting(ByHand), begins(Due, -time.Hour)},
		"active":          {resting(ByHand), begins(Due, -time.Hour)},
		"assumed":         {resting(ByHand), begins(Due, -time.Hour)},
		"settled by time": {resting(ByHand), begins(Due, -time.Hour)},
		"drifted":         {resting(ByHand), begins(Due, -time.Hour)},
		"tried":           {resting(ByHand), begins(Due, -time.Hour)},
		// A late request could still set the discarded password.
		"discarded": {resting(ByHand), begins(Margin, sentFor)},
		// A password is open: it is sent, or its outcome is found out.
		"asked":                      {sends(Retrying), sends(Retrying)},
		"first asked":                {sends(Retrying), sends(Retrying)},
		"begun":                      {sends(Retrying), sends(Retrying)},
		"sending":                    {sends(InFlight), sends(InFlight)},
		"first sending":              {sends(InFlight), sends(InFlight)},
		"sending overdue":            {sends(Retrying), sends(Retrying)},
		"unknown":                    {sends(Retrying), sends(Retrying)},
		"slow":                       {sends(Retrying), sends(Retrying)},
		"slow, tried":                {sends(Retrying), sends(Retrying)},
		"slow, drifted":              {sends(Retrying), sends(Retrying)},
		"reported":                   {sends(Retrying), sends(Retrying)},
		"twice refused":              {sends(Retrying), sends(Retrying)},
		"contradicted":               {sends(Retrying), sends(Retrying)},
		"reported again":             {sends(Retrying), sends(Retrying)},
		"sending unknown":            {sends(InFlight), sends(InFlight)},
		"drifted, too many, sending": {sends(InFlight), sends(InFlight)},
		"partial":                    {sends(Retrying), sends(Retrying)},
		"partial, unknown":           {sends(Retrying), sends(Retrying)},
		"partly refused":             {sends(Retrying), sends(Retrying)},
		"drifted and asked":          {sends(Retrying), sends(Retrying)},
		"drifted, unknown":           {sends(Retrying), sends(Retrying)},
		"tried and asked":            {sends(Retrying), sends(Retrying)},
		// An earlier request with another password may still be under way.
		"candidate":          {sends(Margin, sentFor), sends(Margin, sentFor)},
		"candidate and next": {sends(Margin, sentFor), sends(Margin, sentFor)},
		"many":               {sends(Margin, sentFor), sends(Margin, sentFor)},
		"first, too many":    {sends(Margin, sentFor), sends(Margin, sentFor)},
		"drifted, too many":  {sends(Margin, sentFor), sends(Margin, sentFor)},
		// The last password is not in force yet.
		"queued":             {settled(settles), settled(settles)},
		"first queued":       {settled(settles), settled(settles)},
		"queued and asked":   {sends(RemoteQueue, settles), sends(RemoteQueue, settles)},
		"queued and unknown": {sends(RemoteQueue, settles), sends(RemoteQueue, settles)},
		"staged":             {resting(AwaitingRestart), resting(AwaitingRestart)},
		"staged, on a":       {resting(AwaitingRestart), resting(AwaitingRestart)},
		"staged as due":      {resting(AwaitingRestart), resting(AwaitingRestart)},
		"first staged":       {resting(AwaitingRestart), resting(AwaitingRestart)},
		"staged and asked":   {sends(Retrying), sends(Retrying)},
		// Only an operator can help.
		"too many": {resting(Unsettled), resting(Unsettled)},
	}
	for situation := range situations {
		want, ok := steps[situation]
		require.True(t, ok, "no steps for %q", situation)
		check(t, map[string]row{
			situation + ", by hand": {given(situation), Env{}, want.byHand},
			situation + ", due":     {given(situation, due(-time.Hour)), Env{}, want.due},
		})
	}
}

// A remote system that changes a password only if the present one is given.
func TestNextStepNeedsOldPassword(t *testing.T) {
	t.Parallel()
	asks := Env{OldPassword: true}
	fewLeft := func(r *Role) { *r.Record.OldTries.Left = 2 }
	spent := func(r *Role) { r.Record.OldTries.Count = 2 }
	check(t, map[string]row{
		"none is known":                   {given("no password", due(-time.Hour)), asks, resting(Drifted)},
		"none is known, first asked":      {given("first asked"), asks, resting(Drifted)},
		"in force":                        {given("active", due(-time.Hour)), asks, begins(Due, -time.Hour)},
		"in force, due to come":           {given("active", due(time.Hour)), asks, begins(Due, time.Hour)},
		"asked":                           {given("asked"), asks, sends(Retrying)},
		"unknown":                         {given("unknown"), asks, sends(Retrying)},
		"assumed":                         {given("assumed", due(-time.Hour)), asks, begins(Due, -time.Hour)},
		"tried too often":                 {given("tried", due(-time.Hour)), asks, begins(LockWindow, lockedFor)},
		"tried too often, due later":      {given("tried", due(time.Hour)), asks, begins(Due, time.Hour)},
		"tried too often, asked":          {given("tried and asked"), asks, sends(LockWindow, lockedFor)},
		"tried too often, by request":     {given("tried and asked"), Env{OldPassword: true, Requested: true}, sends(LockWindow, lockedFor)},
		"tried too often, in flight":      {given("sending", spent), asks, sends(InFlight)},
		"present one is refused":          {given("drifted", due(-time.Hour)), asks, resting(Drifted)},
		"present one is refused, by hand": {given("drifted"), asks, resting(ByHand)},
		"present one is refused, asked":   {given("drifted and asked"), asks, resting(Drifted)},
		// The password of unknown outcome may be the present one: another one has to be made, which presents it.
		"the next one may be in force": {given("drifted, unknown"), asks, sends(Margin, sentFor)},
		// No old password is needed to look whether a confirmed one is in force.
		"slow":                            {given("slow"), asks, sends(Retrying)},
		"slow, tried too often":           {given("slow, tried", spent), asks, sends(Retrying)},
		"slow, present one is refused":    {given("slow, drifted"), asks, sends(Retrying)},
		"few attempts are left":           {given("drifted, unknown", fewLeft), asks, resting(Drifted)},
		"few attempts are left, in force": {given("active", due(-time.Hour), func(r *Role) { r.Record.OldTries = fewTries() }), asks, begins(LockWindow, lockedFor)},
	})
}

// The remote system may already have the newest password. To present that as the old one, the engine needs another password,
// and there are too many already.
func TestRoleRestsIfNoOtherPasswordCanBeMade(t *testing.T) {
	t.Parallel()
	asks, requested := Env{OldPassword: true}, Env{OldPassword: true, Requested: true}
	over := func(r *Role) { r.Record.Next.SentUntil = in(-time.Second) }
	oneLess := func(r *Role) { r.Record.Candidates = r.Record.Candidates[1:] }
	const sending = "drifted, too many, sending"
	check(t, map[string]row{
		"no current one":           {given("first, too many"), asks, resting(Unsettled)},
		"no current one, due":      {given("first, too many", due(-time.Hour)), asks, resting(Unsettled)},
		"no current one, one less": {given("first, too many", oneLess), asks, sends(Margin, sentFor)},
		"refused":                  {given("drifted, too many"), asks, resting(Unsettled)},
		"refused, one less":        {given("drifted, too many", oneLess), asks, sends(Margin, sentFor)},
		"refused, by request":      {given("drifted, too many"), requested, resting(Unsettled)},
		"refused, disabled":        {given("drifted, too many", disabled), asks, resting(Unsettled)},
		"refused, retry later":     {given("drifted, too many", busy(time.Hour)), asks, resting(Unsettled)},
		"refused, throttled":       {given("drifted, too many"), Env{OldPassword: true, ThrottledUntil: in(time.Hour)}, resting(Unsettled)},
		"refused, due not stored":  {given("drifted, too many", derived), asks, settled(0)},
		"in flight":                {given(sending), asks, sends(InFlight)},
		"in flight, deadline over": {given(sending, over), asks, resting(Unsettled)},
	})
	require.Equal(t, resting(Unsettled), given(sending).Automatic(now, asks), "its process has ended")
	require.Equal(t, 300*time.Second, given("drifted, too many").TTL(now, asks))
	require.Equal(t, OverdueTTL, given(sending).TTL(now, asks), "the answer may come")
}

// fewTries are so few attempts that none is made in this lock window.
func fewTries() credential.OldTries {
	left := 2
	return credential.OldTries{Count: 1, Until: in(lockedFor), Left: &left}
}

func TestDueChangeBeginsAtItsTime(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	check(t, map[string]row{
		"by hand":                        {given("active"), Env{}, resting(ByHand)},
		"period, before":                 {given("active", due(time.Hour)), Env{}, begins(Due, time.Hour)},
		"period, at":                     {given("active", due(0)), Env{}, begins(Due, 0)},
		"period, after":                  {given("active", due(-time.Hour)), Env{}, begins(Due, -time.Hour)},
		"schedule, before":               {given("active", schedule(hourly, time.Hour)), Env{}, begins(Due, time.Hour)},
		"schedule, at":                   {given("active", schedule(hourly, 0)), Env{}, begins(Due, 0)},
		"schedule, after":                {given("active", schedule(hourly, -time.Hour)), Env{}, begins(Due, -time.Hour)},
		"schedule that never matches":    {given("active", func(r *Role) { r.Options.RotationSchedule = never }), Env{}, resting(ByHand)},
		"read, by hand":                  {given("active", read(-time.Minute)), Env{}, begins(Due, 59*time.Minute)},
		"read long ago, by hand":         {given("active", read(-3*time.Hour)), Env{}, begins(Due, -2*time.Hour)},
		"read, earlier than the period":  {given("active", due(day), read(-time.Minute)), Env{}, begins(Due, 59*time.Minute)},
		"read, later than the period":    {given("active", due(time.Minute), read(0)), Env{}, begins(Due, time.Minute)},
		"not read yet":                   {given("active", due(day), func(r *Role) { r.Options.RotateAfterRead = 60 }), Env{}, begins(Due, day)},
		"not read yet, by hand":          {given("active", func(r *Role) { r.Options.RotateAfterRead = 60 }), Env{}, resting(ByHand)},
		"disabled, before":               {given("active", due(time.Hour), disabled), Env{}, resting(Disabled)},
		"disabled, after":                {given("active", due(-time.Hour), disabled), Env{}, resting(Disabled)},
		"disabled, by hand":              {given("active", disabled), Env{}, resting(ByHand)},
		"disabled, read":                 {given("active", read(-3*time.Hour), disabled), Env{}, resting(Disabled)},
		"disabled, asked":                {given("asked", disabled), Env{}, resting(Disabled)},
		"disabled, unknown":              {given("unknown", disabled), Env{}, resting(Disabled)},
		"disabled, in flight":            {given("sending", disabled), Env{}, resting(Disabled)},
		"disabled, queued":               {given("queued", disabled), Env{}, settled(settles)},
		"disabled, queued and asked":     {given("queued and asked", disabled), Env{}, settled(settles)},
		"disabled, staged":               {given("staged", due(-time.Hour), disabled), Env{}, resting(AwaitingRestart)},
		"disabled, too many":             {given("too many", disabled), Env{}, resting(Unsettled)},
		"disabled, asked by an operator": {given("asked", disabled), Env{Requested: true}, sends(Retrying)},
		"disabled, due for an operator":  {given("active", due(-time.Hour), disabled), Env{Requested: true}, resting(Disabled)},
	})
}

// After a failure the role waits, unless the failure was its connection's and that has been mended.
func TestRetryWaitsForItsTime(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	denied := failed(provider.Denied, provider.ScopeConnection, minute)
	throttled := failed(provider.Busy, provider.ScopeConnection, minute)
	rejected := failed(provider.Rejected, provider.ScopeTarget, minute)
	mended, opened := Env{Revision: 4}, Env{Revision: 3, OpenedAt: in(-30 * time.Second)}
	openedBefore := Env{Revision: 3, OpenedAt: in(-time.Hour)}
	check(t, map[string]row{
		"asked, before":                   {given("asked", busy(minute)), Env{}, sends(Retrying, minute)},
		"asked, at":                       {given("asked", busy(0)), Env{}, sends(Retrying)},
		"asked, after":                    {given("asked", busy(-minute)), Env{}, sends(Retrying)},
		"asked, by an operator":           {given("asked", busy(minute)), Env{Requested: true}, sends(Retrying, minute)},
		"unknown, before":                 {given("unknown", busy(minute)), Env{}, sends(Retrying, minute)},
		"unknown, no failure known":       {given("unknown", func(r *Role) { r.Retry.NextAttempt = in(minute) }), Env{}, sends(Retrying, minute)},
		"due, before":                     {given("active", due(-time.Hour), busy(minute)), Env{}, begins(Retrying, minute)},
		"due, at":                         {given("active", due(-time.Hour), busy(0)), Env{}, begins(Due, -time.Hour)},
		"due, after":                      {given("active", due(-time.Hour), busy(-minute)), Env{}, begins(Due, -time.Hour)},
		"due to come, retry before":       {given("active", due(time.Hour), busy(minute)), Env{}, begins(Due, time.Hour)},
		"due to come, retry after":        {given("active", due(minute), busy(time.Hour)), Env{}, begins(Retrying, time.Hour)},
		"by hand":                         {given("active", busy(minute)), Env{}, resting(ByHand)},
		"due, refused":                    {given("active", due(-time.Hour), rejected), mended, begins(Retrying, minute)},
		"in flight":                       {given("sending", busy(minute)), Env{}, sends(InFlight, minute)},
		"denied":                          {given("asked", denied), Env{Revision: 3}, sends(Retrying, minute)},
		"denied, revision not known":      {given("asked", denied), Env{}, sends(Retrying, minute)},
		"denied, another revision":        {given("asked", denied), mended, sends(Retrying)},
		"denied, opened since":            {given("asked", denied), opened, sends(Retrying)},
		"denied, opened before":           {given("asked", denied), openedBefore, sends(Retrying, minute)},
		"unreachable, another revision":   {given("active", due(-time.Hour), unreachable(minute)), mended, begins(Due, -time.Hour)},
		"unreachable, opened since":       {given("active", due(-time.Hour), unreachable(minute)), opened, begins(Due, -time.Hour)},
		"throttled, another revision":     {given("asked", throttled), mended, sends(Retrying)},
		"busy alone, another revision":    {given("asked", busy(minute)), mended, sends(Retrying, minute)},
		"busy alone, opened since":        {given("asked", busy(minute)), opened, sends(Retrying, minute)},
		"of an old version, any revision": {given("asked", denied, func(r *Role) { r.Retry.Last.Revision = 0 }), mended, sends(Retrying, minute)},
	})
}

// Outcomes that are settled, but whose passwords are still kept, count too: no due password can be made, and none is announced.
func TestRoleRestsIfDuePasswordCannotBeMade(t *testing.T) {
	t.Parallel()
	settle := func(keep int) func(*Role) {
		return func(r *Role) {
			r.Record.Candidates = r.Record.Candidates[:keep]
			for i := range r.Record.Candidates {
				r.Record.Candidates[i].Overtaken = true
			}
		}
	}
	const all = credential.MaxCandidates + 1
	check(t, map[string]row{
		"due":           {given("too many", settle(all), due(-time.Hour)), Env{}, resting(Unsettled)},
		"due later":     {given("too many", settle(all), due(time.Hour)), Env{}, resting(Unsettled)},
		"by hand":       {given("too many", settle(all)), Env{}, resting(ByHand)},
		"one less, due": {given("too many", settle(all-1), due(-time.Hour)), Env{}, begins(Due, -time.Hour)},
	})
	r := given("too many", settle(all), due(-time.Hour))
	require.False(t, r.Record.Unfinished())
	require.True(t, r.Unsettled(now, Env{}))
	require.Equal(t, 300*time.Second, r.TTL(now, Env{}), "no rotation is near")
	_, err := r.Record.Make("another", byRequest, false, now)
	require.ErrorIs(t, err, credential.ErrUnsettled)
}

package role

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// now is when the tests look at a role: a Sunday at noon.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// in is a time seen from now.
func in(d time.Duration) time.Time { return now.Add(d) }

// Times of the tests, seen from now.
const (
	lastRotation = -24 * time.Hour
	// sentFor is how long a request may run.
	sentFor = 30 * time.Second
	// settles is when a queued password counts as in force.
	settles = 10 * time.Minute
	// lockedFor is when the remote system forgets wrong old passwords.
	lockedFor = 5 * time.Minute
)

// byRequest is the reason of a password that an operator asked for.
const byRequest = "rotated by request"

// servers are the parts of an account that exists on several servers.
var servers = []string{"a", "b"}

// after returns the record after some events. Requests are sent now, unless "sent long ago".
func after(events ...string) credential.Record {
	var rec credential.Record
	for _, event := range events {
		var err error
		switch event {
		case "made":
			rec, err = rec.Make(fmt.Sprintf("password-%d", len(rec.List())), byRequest, false, now)
		case "made as due":
			rec, err = rec.Make(fmt.Sprintf("password-%d", len(rec.List())), ReasonDue, false, now)
		case "in force":
			if rec, err = rec.Make("password", byRequest, false, in(lastRotation)); err == nil {
				rec = rec.Send(in(lastRotation), 0).Applied(in(lastRotation), false)
			}
		case "adopted":
			rec = rec.Adopt("password", "adopted", in(lastRotation))
		case "sent":
			rec = rec.Send(in(sentFor), 0)
		case "sent long ago":
			rec = rec.Send(in(-time.Second), 0)
		case "lost":
			rec = rec.Unresolved()
		case "confirmed":
			rec = rec.Confirmed(true)
		case "reported":
			rec = rec.Reported(false)
		case "login refused":
			rec = rec.LoginRefused(rec.Next.Version, now, 0)
		case "on a":
			rec = rec.ProvedOn(rec.Next.Version, servers[:1], servers, now, 0)
		case "not applied":
			rec = rec.NotApplied()
		case "queued":
			rec = rec.Staged(credential.Accepted, now)
		case "settled":
			rec = rec.SettleByTime(now, now)
		case "staged":
			rec = rec.Staged(credential.RestartRequired, now)
		case "taken by a":
			rec = rec.TakenByParts(servers[:1], credential.RestartRequired, now)
		case "password refused":
			rec = rec.PasswordRefused()
		case "given up":
			rec = rec.GiveUp()
		case "discarded":
			rec, err = rec.Discard(rec.Next.Version, now)
		case "old refused": // the one in force, and the remote system says how many attempts are left
			left := 4
			rec.Next.OldVersion = rec.Current.Version
			rec = rec.OldRefused(true, &left, in(lockedFor))
		case "tried": // an attempt with an old password that may be wrong
			rec.Current.Confirmed = false
			rec.OldTries.Count++
			rec.OldTries.Until = in(lockedFor)
		default:
			panic("unknown event " + event)
		}
		if err != nil {
			panic(event + ": " + err.Error())
		}
	}
	return rec
}

// situations are what a role may be in: everything that its next step can depend on.
var situations = map[string][]string{
	"no password":        nil,
	"active":             {"in force"},
	"assumed":            {"adopted"},
	"settled by time":    {"in force", "made", "sent", "queued", "settled"},
	"asked":              {"in force", "made"},
	"first asked":        {"made"},
	"begun":              {"in force", "made as due"},
	"sending":            {"in force", "made as due", "sent"},
	"first sending":      {"made", "sent"},
	"sending overdue":    {"in force", "made as due", "sent long ago"},
	"unknown":            {"in force", "made as due", "sent", "lost"},
	"slow":               {"in force", "made as due", "sent", "confirmed"},
	"slow, tried":        {"in force", "tried", "tried", "made", "sent", "confirmed"},
	"slow, drifted":      {"in force", "made", "sent", "old refused", "sent", "confirmed"},
	"reported":           {"in force", "made", "sent", "reported"},
	"twice refused":      {"in force", "made", "sent", "reported", "login refused", "login refused"},
	"contradicted":       {"in force", "made", "sent", "reported", "login refused", "login refused", "sent", "reported", "login refused"},
	"reported again":     {"in force", "made", "sent", "reported", "login refused", "login refused", "sent", "reported"},
	"sending unknown":    {"in force", "made as due", "sent long ago", "lost", "sent"},
	"queued":             {"in force", "made", "sent", "queued"},
	"first queued":       {"made", "sent", "queued"},
	"queued and asked":   {"in force", "made", "sent", "queued", "made"},
	"queued and unknown": {"in force", "made", "sent", "queued", "made", "sent long ago", "lost"},
	"staged":             {"in force", "made", "sent", "staged"},
	"staged, on a":       {"in force", "made", "sent", "staged", "on a"},
	"staged as due":      {"in force", "made as due", "sent", "staged"},
	"first staged":       {"made", "sent", "staged"},
	"staged and asked":   {"in force", "made", "sent", "staged", "made"},
	"partial":            {"in force", "made", "sent", "taken by a", "not applied"},
	"partial, unknown":   {"in force", "made", "sent", "taken by a", "lost"},
	"partly refused":     {"in force", "made", "sent", "taken by a", "password refused"},
	"candidate":          {"in force", "made", "sent", "lost", "sent", "password refused"},
	"candidate and next": {"in force", "made", "sent", "lost", "made as due"},
	"discarded":          {"in force", "made", "sent", "lost", "discarded"},
	"many":               append(append([]string{"in force"}, lost(credential.MaxCandidates)...), "given up"),
	"too many":           append(append([]string{"in force"}, lost(credential.MaxCandidates+1)...), "given up"),
	// So many that no other one can be made, which only the old password asks for.
	"first, too many":            lost(credential.MaxCandidates + 1),
	"drifted, too many":          append([]string{"in force", "made", "sent", "old refused"}, lost(credential.MaxCandidates+1)...),
	"drifted, too many, sending": append(append([]string{"in force", "made", "sent", "old refused"}, lost(credential.MaxCandidates)...), "made", "sent"),
	"drifted":                    {"in force", "made", "sent", "old refused", "given up"},
	"drifted and asked":          {"in force", "made", "sent", "old refused"},
	"drifted, unknown":           {"in force", "made", "sent", "old refused", "sent", "lost"},
	"tried":                      {"in force", "tried", "tried"},
	"tried and asked":            {"in force", "tried", "tried", "made"},
}

// lost is n passwords in a row whose outcome is unknown.
func lost(n int) []string {
	var events []string
	for range n {
		events = append(events, "made", "sent", "lost")
	}
	return events
}

// given is a role in one of the situations, with options, a due time and failures.
func given(situation string, changes ...func(*Role)) *Role {
	events, ok := situations[situation]
	if !ok {
		panic("unknown situation " + situation)
	}
	r := &Role{Name: "role", Options: Defaults(), Record: after(events...)}
	r.Target.Parts = servers
	if !r.Record.QueuedSince().IsZero() {
		r.SettlesAt = in(settles)
	}
	for _, change := range changes {
		change(r)
	}
	return r
}

// due sets a rotation_period, and when the password is due.
func due(d time.Duration) func(*Role) {
	return func(r *Role) { r.Options.RotationPeriod, r.Due = 24*60*60, in(d) }
}

// schedule sets a rotation_schedule, and when the password is due; zero: when the schedule says.
func schedule(cron string, d time.Duration) func(*Role) {
	return func(r *Role) { r.Options.RotationSchedule, r.Due = cron, in(d) }
}

// Windows of two hours: one is open now, one has been missed, and one never opens.
const (
	hourly  = "0 * * * *"
	open    = "0 11 * * *"
	missed  = "0 9 * * *"
	never   = "0 0 30 2 *"
	toCome  = "0 15 * * *"
	twoHour = 2 * 60 * 60
)

// window sets a rotation_schedule with a rotation_window of two hours, and when the password is due.
func window(cron string, d time.Duration) func(*Role) {
	return func(r *Role) { r.Options.RotationSchedule, r.Options.RotationWindow, r.Due = cron, twoHour, in(d) }
}

// read lets the password in force be due an hour after its first read.
func read(d time.Duration) func(*Role) {
	return func(r *Role) {
		r.Options.RotateAfterRead = 60 * 60
		if c := r.Record.Current; c != nil {
			r.FirstRead(c.Version, c.Created, in(d))
		}
	}
}

func onRead(r *Role)   { r.Options.RotationMode = ModeOnRead }
func disabled(r *Role) { r.Options.Disabled = true }

// failed is a failure of the connection's revision 3, of a minute ago, with a retry.
func failed(class provider.Outcome, scope provider.Scope, retry time.Duration) func(*Role) {
	return func(r *Role) {
		r.Retry = Retry{Attempts: 2, NextAttempt: in(retry), Last: &Failure{Class: class, Scope: scope, Reason: "it failed", Time: in(-time.Minute), Revision: 3}}
	}
}

// busy is a failure that concerns the role alone; unreachable is one of its connection.
func busy(retry time.Duration) func(*Role) {
	return failed(provider.Busy, provider.ScopeTarget, retry)
}

func unreachable(retry time.Duration) func(*Role) { return failed(provider.Unreachable, "", retry) }

// Steps, to compare. The time is seen from now; without one: as soon as possible.

func resting(why Reason) Step { return Step{Why: why} }

func sends(why Reason, d ...time.Duration) Step { return Step{Do: Send, At: optional(d), Why: why} }

func begins(why Reason, d time.Duration) Step { return Step{Do: Begin, At: in(d), Why: why} }

func settled(d time.Duration) Step { return Step{Do: Settle, At: in(d), Why: RemoteQueue} }

func byRead(s Step) Step {
	s.OnRead = true
	return s
}

func optional(d []time.Duration) time.Time {
	if len(d) == 0 {
		return time.Time{}
	}
	return in(d[0])
}

// row is a role, the facts from outside, and the step that follows.
type row struct {
	role *Role
	env  Env
	want Step
}

// check compares the next step of each row.
func check(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, row := range rows {
		assert.Equal(t, row.want, row.role.Next(now, row.env), name)
	}
}

// This is about the tests themselves.
func TestFixturesHaveExpectedStates(t *testing.T) {
	t.Parallel()
	states := map[string]credential.State{
		"no password": credential.StateNone, "active": credential.StateActive, "assumed": credential.StateAssumed,
		"settled by time": credential.StateAssumed, "asked": credential.StateActive, "first asked": credential.StateNone,
		"begun": credential.StateActive, "sending": credential.StateActive, "first sending": credential.StateNone,
		"queued and unknown": credential.StateUncertain, "sending overdue": credential.StateUncertain, "unknown": credential.StateUncertain,
		"reported": credential.StateUncertain, "reported again": credential.StateUncertain, "twice refused": credential.StateUncertain, "contradicted": credential.StateUncertain,
		"staged, on a": credential.StateRestartRequired, "staged as due": credential.StateRestartRequired, "first staged": credential.StateRestartRequired,
		"slow": credential.StateUncertain, "slow, tried": credential.StateUncertain, "slow, drifted": credential.StateUncertain,
		"sending unknown": credential.StateUncertain, "queued": credential.StateAccepted, "first queued": credential.StateAccepted,
		"queued and asked": credential.StateAccepted, "staged": credential.StateRestartRequired,
		"staged and asked": credential.StateRestartRequired, "partial": credential.StateRestartRequired,
		"partial, unknown": credential.StateUncertain, "partly refused": credential.StateRestartRequired,
		"candidate": credential.StateUncertain, "candidate and next": credential.StateUncertain,
		"discarded": credential.StateAssumed, "many": credential.StateUncertain, "too many": credential.StateUncertain, "drifted": credential.StateDrifted,
		"drifted and asked": credential.StateDrifted, "drifted, unknown": credential.StateUncertain,
		"first, too many": credential.StateUncertain, "drifted, too many": credential.StateUncertain,
		"drifted, too many, sending": credential.StateUncertain,
		"tried":                      credential.StateAssumed, "tried and asked": credential.StateAssumed,
	}
	for situation := range situations {
		require.Equal(t, states[situation], given(situation).Record.View(now).State, situation)
	}
}

package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// now is the time of all messages.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scene is a role in a situation.
type scene struct {
	name string
	// record lists what happened to the passwords, from an hour before now: see story.apply. A duration moves the clock.
	record string
	last   *role.Failure
	// due is the due time, seen from now; 0: none.
	due     time.Duration
	options role.Options
	parts   []string
	// modify: each change presents the present password; otherwise is how the role can do without it.
	modify    bool
	otherwise string
	freeze    *role.Freeze
	pause     *connection.Pause
	env       role.Env
	// attempts is how many attempts had an unknown outcome, the first of them two hours ago.
	attempts   int
	notAllowed *connection.NotAllowedError
	stuck      *Stuck
	// proofs are the last logins, and restarts how far those of the servers are. restart: the engine restarts them.
	proofs   role.Proofs
	restarts role.Restarts
	restart  bool
	// given: an operator chose the password that was refused. staged: also show Staged by itself.
	given, staged bool
	// after overrides the facts.
	after func(*Facts)
}

// story is a role's record under construction.
type story struct {
	t         *testing.T
	clock     time.Time
	rec       credential.Record
	settlesAt time.Time
	parts     []string
	made      int
}

// apply takes one event into the record.
func (s *story) apply(event string) {
	rec, err := s.rec, error(nil)
	if d, bad := time.ParseDuration(event); bad == nil {
		s.clock = s.clock.Add(d)
		return
	}
	reason := map[string]string{"make": "rotated by request", "due": role.ReasonDue, "another": "to settle an unknown outcome"}
	switch event {
	case "make", "due", "another":
		s.made++
		rec, err = rec.Make(fmt.Sprintf("value%d", s.made), reason[event], false, s.clock)
	case "same":
		rec, err = rec.Make(rec.Current.Value, "set by hand", true, s.clock)
	case "send":
		rec = rec.Send(s.clock.Add(time.Minute), 0)
	case "present":
		rec = rec.SendWithOld(s.clock, s.clock.Add(time.Minute), rec.Old(s.clock), 5*time.Minute)
	case "applied":
		rec = rec.Applied(s.clock, false)
	case "queued":
		rec = rec.Staged(credential.Accepted, s.clock)
		s.settlesAt = s.clock.Add(2 * time.Hour)
	case "settled":
		rec = rec.SettleByTime(s.clock, s.clock)
		s.settlesAt = time.Time{}
	case "restart":
		rec = rec.Staged(credential.RestartRequired, s.clock)
	case "on-a", "on-ab":
		rec = rec.TakenByParts(strings.Split(strings.TrimPrefix(event, "on-"), ""), credential.RestartRequired, s.clock)
	case "busy":
		rec = rec.NotApplied()
	case "weak":
		rec = rec.PasswordRefused()
	case "gone":
		rec = rec.TargetRefused()
	case "wrong":
		rec = rec.OldRefused(false, nil, s.clock.Add(5*time.Minute))
	case "few":
		left := 1
		rec = rec.OldRefused(false, &left, s.clock.Add(5*time.Minute))
	case "unknown":
		rec = rec.Unresolved()
	case "slow":
		rec = rec.Confirmed(true)
	case "reported":
		rec = rec.Reported(false)
	case "works": // the next password, at a login
		rec = rec.Proved(rec.Next.Version, s.clock, time.Minute)
	case "works-a":
		rec = rec.ProvedOn(rec.Next.Version, []string{"a"}, s.parts, s.clock, time.Minute)
	case "works-current":
		rec = rec.Proved(rec.Current.Version, s.clock, time.Minute)
	case "works-not":
		rec = rec.LoginRefused(rec.Next.Version, s.clock, time.Minute)
	case "drifted":
		rec = rec.LoginRefused(rec.Current.Version, s.clock, time.Minute)
	case "restarted":
		rec = rec.RestartedOn(rec.Next.Version, s.parts, s.parts, s.clock)
	case "confirmed":
		rec, err = rec.Confirm(rec.Next.Version, s.clock)
	case "confirmed-older":
		rec, err = rec.Confirm(rec.Candidates[0].Version, s.clock)
	case "confirmed-a":
		rec, err = rec.ConfirmOn(rec.Next.Version, []string{"a"}, s.parts, s.clock)
	case "adopted":
		rec = rec.Adopt("adopted", "adopted", s.clock)
	case "given-up":
		rec = rec.GiveUp()
	case "discarded":
		rec, err = rec.Discard(rec.Next.Version, s.clock)
	default:
		s.t.Fatalf("unknown event %q", event)
	}
	require.NoError(s.t, err, event)
	s.rec = rec
}

// recordAfter returns the record after these events, and when its queued password settles.
func recordAfter(t *testing.T, events string, parts ...string) (credential.Record, time.Time) {
	t.Helper()
	s := &story{t: t, clock: now.Add(-time.Hour), parts: parts}
	for event := range strings.FieldsSeq(events) {
		s.apply(event)
	}
	return s.rec, s.settlesAt
}

// facts are what the engine knows in the scene. It gets them the same way.
func (s scene) facts(t *testing.T) Facts {
	t.Helper()
	r := &role.Role{
		Name: "db", Connection: "panel", Provider: "remote", Target: provider.Target{Parts: s.parts}, Options: s.options,
	}
	r.Record, r.SettlesAt = recordAfter(t, s.record, s.parts...)
	r.Proofs, r.Restarts = s.proofs, s.restarts
	if s.restart {
		r.Target.Restart = provider.RestartSoft
	}
	if s.last != nil {
		r.Retry = role.Retry{Attempts: 1, NextAttempt: now.Add(5 * time.Minute), Last: s.last}
	}
	for range s.attempts {
		r.Retry.CountUnknown(now.Add(-2 * time.Hour))
	}
	if s.due != 0 {
		r.Due = now.Add(s.due)
	}
	r.Refresh(now)
	env := s.env
	env.OldPassword, env.ChangesOnly = s.modify, true
	if s.freeze != nil {
		env.Frozen, env.FrozenUntil = true, s.freeze.Until
	}
	if s.pause != nil {
		env.Paused, env.PausedUntil = true, s.pause.NextProbe
	}
	f := Facts{
		Role: r, View: r.Record.View(now), Step: r.Next(now, env), Now: now, Freeze: s.freeze, Pause: s.pause,
		Unsettled: r.Unsettled(now, env), Otherwise: s.otherwise, NotAllowed: s.notAllowed, Stuck: s.stuck,
	}
	if !env.ThrottledUntil.IsZero() {
		f.Hold = hold
	}
	if s.after != nil {
		s.after(&f)
	}
	return f
}

// line is the facts in a line.
func (s scene) line(f Facts) string {
	rec := f.Role.Record
	parts := []string{"state " + string(f.View.State)}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if c := rec.Current; c != nil {
		refused := ""
		if c.Refused {
			refused = ", refused"
		}
		add("current %d (%s%s)", c.Version, c.Basis, refused)
	}
	if n := rec.Next; n != nil {
		add("next %d (%s%s)", n.Version, n.Phase, on(n.Taken, n.InForceOn))
	}
	for _, c := range rec.Candidates {
		refused := ""
		if c.Refused {
			refused = ", refused"
		}
		add("candidate %d (%s%s%s)", c.Version, c.Why, refused, on(c.Taken, c.InForceOn))
	}
	if n := NextVersion(f.Role, f.View); n != 0 {
		add("next_version %d", n)
	}
	if len(s.parts) > 0 {
		add("servers %s", strings.Join(s.parts, " "))
	}
	add("%s", stepLine(f.Step))
	if due := f.Role.DueTime(); !due.IsZero() {
		add("due %s", due.Sub(now))
	}
	if last := f.Role.Retry.Last; last != nil {
		add("failed %s: %s %s", last.Time.Sub(now), last.Class, last.Scope)
	}
	if proof := f.Role.Proofs; f.Role.Options.Proves() && proof.Verdict != "" {
		add("login with %d: %s", proof.Version, proof.Verdict)
	}
	if !f.Role.Proofs.Next.IsZero() {
		add("next login %s", f.Role.Proofs.Next.Sub(now))
	}
	if of := f.Role.Restarts; of.Version != 0 {
		add("restarts for %d", of.Version)
	}
	if s.freeze != nil {
		add("frozen")
	}
	if s.pause != nil {
		add("paused")
	}
	if s.attempts > 0 {
		add("%d unknown", s.attempts)
	}
	if s.notAllowed != nil {
		add("not allowed")
	}
	if s.stuck != nil {
		add("stuck")
	}
	return strings.Join(parts, "; ")
}

func stepLine(step role.Step) string {
	action := []string{"rest", "settle", "send", "begin", "prove", "restart"}[step.Do]
	if !step.At.IsZero() && step.Do != role.Rest {
		action += " at " + step.At.Format(time.TimeOnly)
	}
	if step.OnRead {
		action += " on read"
	}
	return action + ": " + string(step.Why)
}

// on says which servers took or have a password.
func on(taken, inForce []string) string {
	var out string
	if len(taken) > 0 {
		out += ", taken by " + strings.Join(taken, " ")
	}
	if len(inForce) > 0 {
		out += ", in force on " + strings.Join(inForce, " ")
	}
	return out
}

// failed is a failure a minute ago.
func failed(class provider.Outcome, scope provider.Scope, code, reason string, parts ...provider.PartFailure) *role.Failure {
	return &role.Failure{Class: class, Scope: scope, Code: code, Reason: reason, Time: now.Add(-time.Minute), Parts: parts}
}

// justNow is a failure of this very request.
func justNow(f *role.Failure) *role.Failure {
	f.Time = now
	return f
}

// servers are names of so many servers.
func servers(n int) []string {
	return slices.Collect(func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("server%02d", i+1)) {
				return
			}
		}
	})
}

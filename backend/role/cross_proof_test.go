package role

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// The cross product of what logins and restarts depend on, and what holds for all of it.

var provers = []choice{
	{"no logins", nothing},
	{"logins", provesParts},
	{"logins, disabled", func(r *Role) { provesParts(r); disabled(r) }},
	{"logins, on read", func(r *Role) { provesParts(r); onRead(r); due(-time.Hour)(r) }},
	{"logins, rotate", func(r *Role) { provesParts(r); onDrift(DriftRotate)(r); window(missed, time.Hour)(r) }},
}

var plans = []choice{
	{"none planned", nothing},
	{"wanted", wanted},
	{"wanted, retry later", func(r *Role) { wanted(r); busy(time.Hour)(r) }},
	{"planned, over", planned(-time.Minute)},
	{"planned", planned(30 * time.Minute)},
	{"planned, could not tell", func(r *Role) { planned(30 * time.Minute)(r); proved(provider.CannotTell, settles)(r) }},
}

var restartings = []choice{
	{"by hand", nothing},
	{"restarts", restarts},
	{"restarts, disabled", func(r *Role) { restarts(r); disabled(r) }},
	{"restarts, in windows", func(r *Role) { restarts(r); window(missed, time.Hour)(r) }},
	{"restarts, one done", func(r *Role) { restarts(r); restarted(2, "a")(r) }},
	{"restarts, later", func(r *Role) { restarts(r); restarted(2)(r); r.Restarts.NotBefore = in(10 * time.Minute) }},
	{"restarts, stopped", func(r *Role) { restarts(r); failing(2)(r) }},
	{"one restarts", func(r *Role) { restarts(r); restarting(2, "a", time.Minute)(r) }},
	{"one restarts for long", func(r *Role) { restarts(r); restarting(2, "a", time.Hour)(r) }},
}

// What holds for every login and every restart.
func TestEveryLoginAndRestartKeepsRules(t *testing.T) {
	t.Parallel()
	taken := map[Action]int{}
	for situation := range situations {
		for _, prover := range provers {
			for _, plan := range plans {
				for _, restart := range restartings {
					r := given(situation, prover.apply, plan.apply, restart.apply)
					before := snapshot(t, r)
					for _, outside := range outside {
						for i := range 3 {
							env := outside.env
							env.MayRestart, env.Requested = i > 0, i > 1
							name := func() string {
								return fmt.Sprintf("%s; %s; %s; %s; %s; may restart %t; requested %t", situation, prover.name, plan.name, restart.name, outside.name, env.MayRestart, env.Requested)
							}
							c := proofCase{stepCase{t, name, r, env, r.Next(now, env)}}
							c.keepsRules()
							taken[c.step.Do]++
						}
					}
					require.Equal(t, before, snapshot(t, r), "it was changed by being asked")
				}
			}
		}
	}
	for _, action := range []Action{Rest, Settle, Send, Begin, Prove, Restart} {
		require.NotZero(t, taken[action], action)
	}
}

// proofCase is a step of a role that logs in, or restarts servers.
type proofCase struct{ stepCase }

// comesTrue checks that a step is ready at its time, and none earlier. Of several that are ready then, any may be next. In a
// freeze, a server is followed until its timeout only: this Vault may be a copy.
func (c *proofCase) comesTrue() {
	if c.step.Do == Rest || c.role.inFlight(now) || c.env.Frozen && c.role.FollowsRestart(now) {
		return
	}
	at := ready(c.step.At)
	c.require(c.role.Next(at, c.env).Ready(at), "at its time no step is ready")
	if early := at.Add(-time.Nanosecond); !early.Before(now) {
		c.require(!c.role.Next(early, c.env).Ready(early), "a step is ready before its time")
	}
}

func (c *proofCase) keepsRules() {
	c.isWhole()
	c.isNotTooEarly()
	c.isInWindow()
	c.comesTrue()
	r, at := c.role, ready(c.step.At)
	automatic, following := !c.env.Requested, r.Restarts.Part != ""
	frozen := automatic && c.env.Frozen && (c.env.FrozenUntil.IsZero() || at.Before(c.env.FrozenUntil))
	waits := r.inFlight(now) || r.Record.Next.AwaitsForce() || following && !r.Proofs.Wanted
	switch c.step.Do {
	case Prove:
		c.require(r.Options.Proves(), "it logs in without verify")
		c.require(!automatic || !r.Options.Disabled, "it logs in though automation is disabled")
		c.require(!frozen, "it logs in during the freeze")
		c.require(!waits, "it logs in while something else decides")
		c.require(r.Proofs.Wanted || !at.Before(r.Proofs.Next), "it logs in earlier than planned")
	case Restart:
		c.require(following || r.NextRestart() != "" && c.env.MayRestart, "it restarts a server without being told to")
		c.require(following || !automatic || !r.Options.Disabled, "it restarts a server though automation is disabled")
		c.require(!frozen || r.FollowsRestart(now), "it restarts a server during the freeze")
		c.require(!c.env.Paused || !c.env.PausedUntil.IsZero() && !at.Before(c.env.PausedUntil), "the connection is paused then")
		c.require(!at.Before(c.env.ThrottledUntil) && !at.Before(c.env.CheckedAt), "the connection is held then")
		c.require(following || r.Restarts.Version != r.Record.Next.Version || !at.Before(r.Restarts.NotBefore), "it is before the retry")
		if due := r.Record.Next != nil && r.Record.Next.Reason == ReasonDue; due && automatic && !following && r.Options.RotationWindow != 0 {
			c.require(at.Hour() >= 9 && at.Hour() < 11, "no window is open then")
		}
	case Send:
		able := r.Options.Proves() && (c.env.Requested || !r.Options.Disabled) && !waits
		c.require(!able || !r.Proofs.Wanted, "it is sent again without a login")
	default:
	}
	if own := r.Automatic(now, c.env); !r.inFlight(now) && (c.step.Do != Begin || !c.step.OnRead) {
		c.require(own == c.step, "the engine takes another step")
	}
}

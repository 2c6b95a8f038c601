package modelcheck

import (
	"context"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// reboot is one request of the engine to restart a server.
type reboot struct {
	part    *part
	node    *node
	version int
	job     string
	asked   time.Time
	// down: the server has gone down, and is not back. back is when it will be; zero: it is off until it is turned on or, with
	// never, until somebody does that by hand.
	down  bool
	back  time.Time
	never bool
	// fails: the remote system reports that the restart failed.
	fails bool
	// forgets: the server comes back without the new password. newKey: with another host key.
	forgets, newKey bool
	// undone: the engine was told that it was not carried out.
	undone bool
}

// fate is what becomes of a request to restart a server.
type fate string

// The fates, which are events too.
const (
	restartDone     fate = "restart: done"
	restartSlow     fate = "restart: takes minutes"
	restartLost     fate = "restart: answer lost, made"
	restartLostNot  fate = "restart: answer lost, not made"
	restartBusy     fate = "restart: busy"
	restartRefused  fate = "restart: refused"
	restartFails    fate = "restart: fails"
	restartNever    fate = "restart: never comes back"
	restartNewKey   fate = "restart: comes back with another host key"
	restartForgets  fate = "restart: comes back with the old password"
	restartThrottle fate = "restart: throttled"
	restartOut      fate = "restart: unreachable"
	restartDenied   fate = "restart: credential refused" // depends on the credential
)

var fates = []fate{
	restartDone, restartSlow, restartLost, restartLostNot, restartBusy, restartRefused, restartFails, restartNever, restartNewKey,
	restartForgets, restartThrottle, restartOut, restartDenied,
}

// drawFate draws a fate that fits the weather.
func (acc *account) drawFate() fate {
	switch s := acc.system; {
	case s.weather == down:
		return []fate{restartOut, restartLost, restartLostNot}[acc.rng.IntN(3)]
	case s.weather == calm, s.weather == fair && acc.rng.IntN(100) < 75:
		return restartDone
	default:
		return fates[acc.rng.IntN(len(fates)-1)]
	}
}

// Restart handles a request to restart a server.
func (c *client) Restart(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, string) {
	w := c.system.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.node.dead || ctx.Err() != nil {
		return provider.Result{Outcome: provider.Unreachable}, ""
	}
	acc, now := w.byLogin[target.Username], w.now()
	acc.advance(now)
	r := &reboot{part: acc.part(restart.Part), node: c.node, asked: now, job: fmt.Sprintf("job%d", len(acc.reboots)+1)}
	acc.checkRestart(r, restart, now)
	acc.reboots = append(acc.reboots, r)
	acc.steps++
	what := acc.drawFate()
	if c.node.crashes(onArrival, acc.login) {
		acc.carryOut(r, restart, []fate{restartDone, restartLostNot}[acc.rng.IntN(2)], now)
		w.cover.count(acc.storedColumns(now), crashInRestart)
		return provider.Result{Outcome: provider.Unknown}, ""
	}
	doubts := c.system.doubts
	if what != restartOut && c.refuses() {
		what = restartDenied
	}
	w.note("   %s (%s) is to be restarted (%s): %s", acc.login, restart.Part, restart.Kind, what)
	w.cover.count(acc.storedColumns(now), string(what))
	acc.carryOut(r, restart, what, now)
	result := what.result()
	r.undone = result.Outcome.Unchanged()
	if c.node.crashes(onAnswer, acc.login) {
		w.cover.count(acc.storedColumns(now), crashInRestart)
		r.undone = false
		return provider.Result{Outcome: provider.Unknown}, ""
	}
	switch result.Outcome {
	case provider.Applied:
		c.worked(doubts)
		return result, r.job
	case provider.Denied:
		c.system.refusalSeen()
	case provider.Unknown:
		c.system.answerLost()
	case provider.Busy:
		if result.Scope == provider.ScopeConnection {
			c.system.throttle(result.RetryAfter)
		}
	default:
	}
	return result, ""
}

// result is what the remote system answers.
func (f fate) result() provider.Result {
	switch f {
	case restartLost, restartLostNot:
		return lost("the connection was cut")
	case restartBusy:
		return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}
	case restartThrottle:
		return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: time.Minute}
	case restartRefused:
		return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "the server is locked"}
	case restartOut:
		return provider.Result{Outcome: provider.Unreachable, Reason: "no connection"}
	case restartDenied:
		return denied(provider.ScopeConnection)
	default:
		return provider.Result{Outcome: provider.Applied}
	}
}

// carryOut does what becomes of the request. w.mu is held.
func (acc *account) carryOut(r *reboot, restart provider.Restart, what fate, now time.Time) {
	switch what {
	case restartLostNot, restartBusy, restartRefused, restartThrottle, restartOut, restartDenied:
		return
	case restartFails:
		r.fails = true
		return
	case restartNever:
		r.never = true
	case restartForgets:
		r.forgets = true
	case restartNewKey:
		r.newKey = true
	default: // it restarts
	}
	r.part.reboot, r.down = r, true
	switch {
	case r.never, restart.Kind == provider.RestartHard: // it is off until it is turned on
	case what == restartSlow:
		r.back = now.Add(time.Duration(3+acc.rng.IntN(6)) * time.Minute)
	default:
		r.back = now.Add(time.Duration(20+acc.rng.IntN(60)) * time.Second)
	}
}

// Follow reports how far a restart is. It turns on a server that a hard restart has turned off.
func (c *client) Follow(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, provider.Progress, string) {
	w := c.system.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.node.dead || ctx.Err() != nil {
		return provider.Result{Outcome: provider.Unreachable}, provider.Restarting, restart.Job
	}
	acc, now := w.byLogin[target.Username], w.now()
	acc.advance(now)
	acc.steps++
	result := c.answer()
	if result.Outcome != provider.Applied {
		return result, provider.Restarting, restart.Job
	}
	progress, job := acc.follow(acc.part(restart.Part), restart, now)
	if progress != provider.Restarting {
		w.note("   restart of %s (%s): %s", acc.login, restart.Part, progress)
	}
	return result, progress, job
}

// seenDown is the job of a server that was seen down.
const seenDown = "seen down"

// follow is Follow for one server. w.mu is held.
func (acc *account) follow(p *part, restart provider.Restart, now time.Time) (provider.Progress, string) {
	if r := p.reboot; r != nil && r.down {
		if r.back.IsZero() && !r.never && restart.Kind == provider.RestartHard {
			r.back = now.Add(time.Duration(20+acc.rng.IntN(60)) * time.Second)
		}
		return provider.Restarting, seenDown
	}
	switch of := acc.rebootOf(restart.Job); {
	case of != nil && of.fails:
		return provider.RestartFailed, restart.Job
	case of != nil || restart.Job == seenDown:
		return provider.Restarted, restart.Job
	default: // the request may not have arrived
		return provider.Restarting, restart.Job
	}
}

// rebootOf returns the request with this job, or nil.
func (acc *account) rebootOf(job string) *reboot {
	for _, r := range acc.reboots {
		if r.job == job {
			return r
		}
	}
	return nil
}

// part returns the part with this name.
func (acc *account) part(name string) *part {
	for _, p := range acc.parts {
		if p.name == name {
			return p
		}
	}
	return acc.parts[0]
}

// comeBack lets the servers come back whose time has come.
func (acc *account) comeBack(now time.Time) {
	for _, p := range acc.parts {
		if r := p.reboot; r != nil && r.down && !r.back.IsZero() && !r.back.After(now) {
			acc.bringBack(p)
		}
	}
}

// bringBack lets a server come back. w.mu is held.
func (acc *account) bringBack(p *part) {
	r := p.reboot
	r.down = false
	acc.start(p, r.forgets)
	if r.newKey {
		p.door.keys++
	}
	acc.w.note("   (%s (%s) is back, and holds %s)", acc.login, p.name, acc.label(p.held))
}

// isDown reports whether the server is being restarted.
func (p *part) isDown() bool { return p.reboot != nil && p.reboot.down }

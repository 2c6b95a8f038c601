package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// provedCell is a role of one kind at one step.
type provedCell struct {
	*cell
	kind       proofKind
	at         provedStep
	end        provedEnd
	failpoints string
	// calls, changes, refused and restarts are counts before the change.
	calls, changes, refused, restarts int
}

// prepare creates the role, unless the step is in its creation.
func (c *provedCell) prepare() {
	if c.at.cause == byCreation {
		c.before = firstVersion(c.kind) - 1
		return
	}
	c.must("roles/"+c.name, c.role)
	d := c.waitUntilProved(c.name, c.role, firstVersion(c.kind))
	c.before, c.old = versionOf(c.t, d), d["password"]
	if c.at.asks { // not earlier: the first restarts have to be in time
		c.must("roles/"+c.name, data{"restart_timeout": shortRestart})
	}
	c.count()
}

func (c *provedCell) count() {
	c.calls, c.changes, c.refused = c.mount.calls(c.role), c.accepted(c.role), c.refusedCount(c.role)
	for _, id := range servers(c.role) {
		c.restarts = c.sim.ECS(id).PowerActions
	}
}

// start sends the request that leads to the step.
func (c *provedCell) start() {
	if c.at.cause == byCreation {
		c.send("roles/"+c.name, c.role)
		return
	}
	c.send("rotate-role/"+c.name, data{"version": c.before})
}

// stopsAt returns what brings a role to a failpoint.
func stopsAt(point string) func(*provedCell) {
	return func(c *provedCell) {
		c.stopAt(point)
		c.start()
		c.waitAtFailpoint()
	}
}

func (c *provedCell) stopAt(point string) {
	require.NoError(c.t, os.WriteFile(filepath.Join(c.failpoints, c.name), []byte(point), 0o600))
}

func (c *provedCell) waitAtFailpoint() {
	c.waitFor(c.name, "should get to the step "+c.at.name, func() bool { return atFailpoint(c.failpoints, c.name) })
}

// hold makes the remote system hold a request for a role, once the role is sent.
func (c *provedCell) hold(f lab.Fault) {
	f.Count = 1
	c.fault(c.role, f)
	c.start()
	_, name := target(c.role)
	c.waitFor(c.name, "should get to the step "+c.at.name, func() bool {
		return slices.ContainsFunc(c.sim.Faults(), func(s lab.FaultStatus) bool {
			return s.Kind == f.Kind && (s.Target == name || s.Target == f.Target) && s.Holding > 0
		})
	})
}

func holdsChange(c *provedCell) { c.hold(lab.Fault{Kind: lab.Hold}) }

func holdsRestart(c *provedCell) {
	c.hold(lab.Fault{Kind: lab.Hold, Operations: []string{lab.OpRestart}})
}

// holdsLogin: the remote system has answered, and a login waits for its answer.
func holdsLogin(c *provedCell) {
	f := lab.Fault{Kind: lab.Stall, System: "redis", Target: "*", Operations: []string{lab.OpLogin}}
	if c.role["login"] != nil {
		f.System, f.Operations = "plesk", []string{lab.OpCheck}
	}
	c.hold(f)
}

// stopsAtPoll: a queued password has been proved, and that is not stored.
func stopsAtPoll(c *provedCell) {
	require.NoError(c.t, c.sim.Switch("mediatemple", "job_ms", 0))
	c.must("config/mt", data{"settle_after": 5}) // longer than it takes to set the failpoint
	c.start()
	c.waitFor(c.name, "should be queued", func() bool { return c.read("status/" + c.name)["state"] == "accepted" })
	c.stopAt(failpoint.BeforeOutcome)
	c.waitAtFailpoint()
}

// stopsAtRecovery: somebody has set the password before the last one again. The login that shows it is not stored.
func stopsAtRecovery(c *provedCell) {
	c.must("rotate-role/"+c.name, nil)
	d := c.waitUntilProved(c.name, c.role, c.before+1)
	c.changeOutside(c.role, c.old)
	c.before, c.old = versionOf(c.t, d), d["password"]
	c.count()
	c.stopAt(failpoint.BeforeOutcome)
	c.send("roles/"+c.name, data{"verify_period": 3600, "on_drift": "recover"})
	c.waitAtFailpoint()
}

// restarts: the first server is restarting.
func restarts(c *provedCell) {
	require.NoError(c.t, c.sim.Switch("ecs", "restart_ms", 2500))
	c.start()
	c.waitFor(c.name, "the first server should restart", func() bool { return c.sim.ECS(servers(c.role)[0]).PowerActions > c.restarts })
}

// stopsWhenBack: the first server has been restarted, a login has shown the new password, and that is not stored.
func stopsWhenBack(c *provedCell) {
	looks := func() (n int) {
		for _, entry := range c.sim.Journal("ecs", servers(c.role)[0]) {
			if entry.Operation == "ShowJob" {
				n++
			}
		}
		return n
	}
	before := looks()
	restarts(c)
	c.waitFor(c.name, "the restart should be followed", func() bool { return looks() > before })
	c.stopAt(failpoint.BeforeOutcome)
	c.waitAtFailpoint()
}

// check asserts everything that a kill must not break.
func (c *provedCell) check() {
	if c.answer != nil {
		require.True(c.t, vaultGone(c.answer), "%s: the caller got %v", c.name, c.answer)
	}
	version := c.before + 1
	state := ""
	c.waitFor(c.name, "the change should end", func() bool {
		s := c.read("status/" + c.name)
		state, _ = s["state"].(string)
		if c.at.asks {
			return strings.Contains(text(s), "The restarts have stopped at server")
		}
		proved := state == "active" && s["last_proof_result"] == "works"
		return s["version"] != nil && versionOf(c.t, s) == version && (proved || c.end.byTime && state == "assumed")
	})
	allowed := c.end.refused
	if c.at.asks {
		require.NoError(c.t, c.login(c.role, c.creds(c.name)["password"]))
		require.LessOrEqual(c.t, c.refusedCount(c.role)-c.refused, allowed, c.name)
		allowed++ // until the confirmation, the engine may log in with the old password first
		c.restart(servers(c.role)...)
		// The login that worked before the kill may count as one that did not, so that none can check this now.
		c.must("confirm-role/"+c.name, data{"version": version, "force": true})
	}
	d := c.workingCreds(c.name, c.role)
	require.Equal(c.t, version, versionOf(c.t, d), "%s: no more passwords than needed", c.name)
	requests, changes, refused := c.mount.calls(c.role)-c.calls, c.accepted(c.role)-c.changes, c.refusedCount(c.role)-c.refused
	c.result = fmt.Sprintf("%s, requests %d, changes %d, refused logins %d, restarts", state, requests, changes, refused)
	require.Equal(c.t, [2]int{c.end.requests, c.end.changes}, [2]int{requests, changes}, c.name)
	require.LessOrEqual(c.t, refused, allowed, c.name)
	restarts := 1
	switch {
	case c.at.asks:
		restarts = 0
	case c.role["restart"] == "hard":
		restarts = 2 // off and on
	}
	for _, id := range servers(c.role) {
		n := c.sim.ECS(id).PowerActions - c.restarts
		c.result += " " + strconv.Itoa(n)
		require.Equal(c.t, restarts, n, "%s: power actions of server %s", c.name, id)
	}
	c.withinBudget(c.role)
	c.nothingLocked()
	if account, ok := c.role["account_id"].(string); ok {
		require.Zero(c.t, c.sim.DCS(fmt.Sprint(c.role["instance_id"], "/", account)).Failed)
	}
	if c.old != nil {
		require.Error(c.t, c.login(c.role, c.old), "%s: the previous password", c.name)
	}
}

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// step is where in a change the kill comes.
type step struct {
	name string
	// point is where the engine stops. If it is empty, fault makes the remote system hold the request.
	point string
	fault lab.Fault
	// cause is the request that leads to the step; a rotation by default.
	cause cause
	// only lists the operations that have this step; nil means all.
	only []string
	// alone: a role that stops here keeps the other roles of its mount from getting here.
	alone bool
	// stored: the password is in storage when the kill comes, so the change completes without a request.
	stored bool
	// unresolved: a request was sent and its answer is lost.
	unresolved bool
	// calls is how many requests the remote system gets at least, without a further request to Vault.
	calls int
	// least and most bound the number of changes that it makes.
	least, most int
}

// cause is a request that leads to a step.
type cause string

const (
	byRotation     cause = ""
	byCreation     cause = "create"
	byConfirmation cause = "confirm"
	bySetPassword  cause = "set another password over an unknown outcome"
)

// timeout returns the request_timeout of the step's connections. No held request may reach it before the kill.
func (s step) timeout() time.Duration {
	if s.fault.Kind != "" {
		return 3 * tryTime
	}
	return tryTime
}

func steps() []step {
	return []step{
		{name: "new role, nothing stored", cause: byCreation, point: failpoint.BeforeReserved},
		{name: "new role, target reserved", cause: byCreation, point: failpoint.Reserved, alone: true},
		{name: "new role stored", cause: byCreation, point: failpoint.BeforeSending, stored: true, calls: 1, least: 1, most: 1},
		{name: "password made, not stored", point: failpoint.BeforeSending},
		{name: "stored, not sent", point: failpoint.Sending, stored: true, calls: 1, least: 1, most: 1},
		{name: "sent, not applied", fault: lab.Fault{Kind: lab.Slow, Variant: "held", Count: 1}, stored: true, unresolved: true, calls: 2, least: 1, most: 2},
		{name: "applied, not answered", fault: lab.Fault{Kind: lab.Hold, Count: 1}, stored: true, unresolved: true, calls: 2, least: 2, most: 2},
		{name: "answered, not stored", point: failpoint.BeforeOutcome, stored: true, unresolved: true, calls: 2, least: 2, most: 2},
		{name: "outcome stored", point: failpoint.Outcome, stored: true, calls: 1, least: 1, most: 1},
		{name: "settled by time, not stored", point: failpoint.BeforeSettled, only: queuedOperations, stored: true, calls: 1, least: 1, most: 1},
		{name: "settled by time, stored", point: failpoint.Settled, only: queuedOperations, stored: true, calls: 1, least: 1, most: 1},
		{name: "confirmed, not stored", cause: byConfirmation, point: failpoint.BeforeWord, only: serverOperations, stored: true, calls: 1, least: 1, most: 1},
		{name: "confirmed, stored", cause: byConfirmation, point: failpoint.Word, only: serverOperations, stored: true, calls: 1, least: 1, most: 1},
		{name: "another password, its wait not stored", cause: bySetPassword, point: failpoint.BeforeWait, stored: true, calls: 2, least: 1, most: 1},
		{name: "another password, its wait stored", cause: bySetPassword, point: failpoint.Wait, stored: true, calls: 2, least: 1, most: 1},
	}
}

// kill is what is killed, and whether the caller is still waiting.
type kill struct {
	name string
	do   func(*testing.T, *vaulttest.Vault)
	// noRequests: the caller has gone, and no request comes until the remote systems show that the engine has resumed.
	noRequests bool
}

// A kill of the plugin's process or of Vault at any step of a change loses no password, and the change completes without a
// request. All steps of all operations meet the same kill.
func TestKillAtAnyStepLosesNoPassword(t *testing.T) {
	t.Parallel()
	killPlugin := func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.KillPlugin()) }
	killVault := func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.Restart(t.Context())) }
	for _, k := range []kill{
		{name: "plugin, caller waits", do: killPlugin},
		{name: "plugin, no requests", do: killPlugin, noRequests: true},
		{name: "Vault, caller waits", do: killVault},
		{name: "Vault, no requests", do: killVault, noRequests: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			v, failpoints := newVault(t)
			cells := prepareCells(t, v)
			at := time.Now()
			lap := func(what string) { t.Logf("%-40s %5.1f s", what, time.Since(at).Seconds()); at = time.Now() }
			bringToStep(t, cells, failpoints)
			lap("every operation is at its step")
			require.True(t, slices.ContainsFunc(cells, func(c *cell) bool { return c.chosenStored }), "a chosen password should wait in storage")
			if k.noRequests {
				inParallel(t, cells, (*cell).leave)
			}
			k.do(t, v)
			for _, c := range cells {
				require.True(t, c.step.fault.Kind != lab.Slow || c.changes(c.role) == 0, "%s: the request should still be held", c.name)
			}
			lap("killed")
			waitUntilResumed(t, k, cells)
			inParallel(t, cells, func(c *cell) { c.check(k) })
			lap("every role is idle and its password logs in")
			logMatrix(t, cells)
		})
	}
}

// prepareCells creates the roles and waits until they are idle.
func prepareCells(t *testing.T, v *vaulttest.Vault) []*cell {
	t.Helper()
	var cells []*cell
	for i, s := range steps() {
		m := newFullMount(t, v)
		if s.fault.Kind != "" {
			m.setRequestTimeout(s.timeout())
		}
		for _, operation := range operations {
			if s.alone && len(cells) > 0 && cells[len(cells)-1].mount == m {
				m = newFullMount(t, v)
			}
			if s.only == nil || slices.Contains(s.only, operation) {
				cells = append(cells, &cell{
					mount: m, step: s, operation: operation, role: m.roleFor(operation), name: fmt.Sprintf("s%d-%s", i, roleName(operation)),
				})
			}
		}
	}
	inParallel(t, cells, func(c *cell) {
		if c.step.cause == byCreation {
			if c.operation == "account" {
				c.before = 1 // the password that is given with the role
			}
			return
		}
		c.create()
	})
	for _, c := range cells {
		c.sim.ClearJournal()
	}
	return cells
}

// bringToStep starts every cell's change and waits until it is at its step. The engine waits for a held request for a
// limited time, so those cells come last.
func bringToStep(t *testing.T, cells []*cell, failpoints string) {
	t.Helper()
	for _, held := range []bool{false, true} {
		var now []*cell
		for _, c := range cells {
			if (c.step.fault.Kind != "") == held {
				now = append(now, c)
			}
		}
		inParallel(t, now, func(c *cell) {
			if c.step.point != "" {
				setFailpoint(t, failpoints, c.name, c.step.point)
			} else {
				c.fault(c.role, c.step.fault)
			}
			c.start()
			c.waitFor(c.name, "should get to the step "+c.step.name, func() bool {
				return atFailpoint(failpoints, c.name) || c.step.point == "" && c.held()
			})
			// The engine's own retry may reach the step first. The request waits for the role then, with nothing stored.
			c.chosenStored = c.chosen != "" && slices.ContainsFunc(c.history(c.name), func(d data) bool { return d["password"] == c.chosen })
		})
	}
}

// waitUntilResumed waits until the callers have their answers; where they left, until the remote systems show that the
// engine has resumed everything that was stored. A request that is not applied yet is applied before the engine resumes if
// the callers left, otherwise afterwards.
func waitUntilResumed(t *testing.T, k kill, cells []*cell) {
	t.Helper()
	for _, c := range cells {
		if k.noRequests || c.step.fault.Kind != lab.Slow {
			c.clearFaults()
		}
	}
	if !k.noRequests {
		inParallel(t, cells, func(c *cell) {
			c.answer = <-c.pending
			require.NoError(t, c.sim.ClearFaults(target(c.role)))
		})
		return
	}
	missing := func() (names []string) {
		for _, c := range cells {
			if c.calls(c.role) < c.step.calls || c.changes(c.role) < c.step.least {
				names = append(names, fmt.Sprintf("%s at %q", c.operation, c.step.name))
			}
		}
		return names
	}
	// Vault's heartbeat, once a minute, starts the plugin again.
	require.Eventually(t, func() bool { return len(missing()) == 0 }, 150*time.Second, tick,
		"what was stored should resume without a request; missing: %v", lazy{func() string { return strings.Join(missing(), ", ") }})
}

func logMatrix(t *testing.T, cells []*cell) {
	t.Helper()
	var out strings.Builder
	for _, c := range cells {
		fmt.Fprintf(&out, "\n%-40s %-13s %s", c.step.name, c.operation, c.result)
	}
	t.Log(out.String())
}

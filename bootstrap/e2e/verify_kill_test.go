package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// provedStep is where in the change of a proved role a kill comes.
type provedStep struct {
	name  string
	cause cause
	// reach brings the role to the step.
	reach func(c *provedCell)
	// ends are what the change costs, by the name of the kind.
	ends map[string]provedEnd
	// asks: an operator is asked whether the servers were restarted. Otherwise, each was, once.
	asks bool
}

// provedEnd is what a change costs.
type provedEnd struct {
	// requests and changes are those of the remote system, and refused is how many logins it refused at most.
	requests, changes, refused int
	// byTime: the budget of refused logins is spent, so the new password counts as in force by time.
	byTime bool
}

func provedSteps() []provedStep {
	some := func(end provedEnd, kinds ...string) map[string]provedEnd {
		out := map[string]provedEnd{}
		for _, kind := range kinds {
			out[kind] = end
		}
		return out
	}
	ends := func(atOnce, queue, servers provedEnd) map[string]provedEnd {
		return map[string]provedEnd{"alias": atOnce, "redis": atOnce, "mt root": queue, "cloudservers, soft": servers}
	}
	usual := provedEnd{1, 1, 0, false}
	twice := provedEnd{2, 2, 0, false}
	return []provedStep{
		{name: "stored, not sent", reach: stopsAt(failpoint.Sending), ends: ends(provedEnd{1, 1, 1, false}, provedEnd{1, 1, 2, true}, usual)},
		{name: "applied, not answered", reach: holdsChange, ends: ends(usual, usual, twice)},
		{name: "answered, login under way", reach: holdsLogin, ends: some(usual, "alias", "redis")},
		{name: "answered and proved, not stored", reach: stopsAt(failpoint.BeforeOutcome), ends: ends(usual, usual, twice)},
		{name: "outcome stored", reach: stopsAt(failpoint.Outcome), ends: ends(usual, provedEnd{1, 1, 1, false}, usual)},
		{name: "new role, outcome not stored", cause: byCreation, reach: stopsAt(failpoint.BeforeOutcome), ends: ends(usual, usual, provedEnd{2, 2, 1, false})},
		{name: "queued, login not stored", reach: stopsAtPoll, ends: some(provedEnd{1, 1, 2, true}, "mt root")},
		{name: "found by recovery, not stored", reach: stopsAtRecovery, ends: some(provedEnd{0, 0, 2, true}, "redis")},
		{name: "restart not stored", reach: stopsAt(failpoint.BeforeRestart), ends: some(usual, "instances, hard", "cloudservers, soft")},
		{name: "restart stored, not requested", reach: stopsAt(failpoint.Restart), asks: true, ends: some(usual, "instances, soft", "cloudservers, soft")},
		{name: "restart requested, not answered", reach: holdsRestart, ends: some(usual, "instances, hard")},
		{name: "server restarts", reach: restarts, ends: some(usual, "instances, hard", "cloudservers, soft")},
		{name: "server is back and proved, not stored", reach: stopsWhenBack, ends: some(usual, "cloudservers, soft")},
	}
}

// A kill at any step of a proved change loses no password. No server is restarted twice for it, and no account gets near a lock.
func TestKillAtAnyStepKeepsProofs(t *testing.T) {
	t.Parallel()
	for _, k := range []kill{
		{name: "plugin, caller waits", do: func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.KillPlugin()) }},
		{name: "Vault, no requests", do: func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.Restart(t.Context())) }, noRequests: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			v, failpoints := newVault(t)
			cells := provedCells(t, v, failpoints)
			inParallel(t, cells, (*provedCell).prepare)
			inParallel(t, cells, func(c *provedCell) { c.at.reach(c) })
			if k.noRequests {
				inParallel(t, cells, func(c *provedCell) { c.leave() })
			}
			k.do(t, v)
			for _, c := range cells {
				c.clearFaults()
			}
			if !k.noRequests {
				inParallel(t, cells, func(c *provedCell) { c.answer = <-c.pending })
			}
			inParallel(t, cells, (*provedCell).check)
			var table strings.Builder
			for _, c := range cells {
				fmt.Fprintf(&table, "\n%-40s %-20s %s", c.at.name, c.kind.name, c.result)
			}
			t.Log(table.String())
		})
	}
}

// provedCells returns a cell for each step and kind. Each step has a mount.
func provedCells(t *testing.T, v *vaulttest.Vault, failpoints string) (cells []*provedCell) {
	t.Helper()
	for i, step := range provedSteps() {
		m := provedMountIn(t, v, simulator.Config{})
		m.setRequestTimeout(tryTime)
		for _, kind := range proofKinds() {
			if end, ok := step.ends[kind.name]; ok {
				cells = append(cells, &provedCell{
					cell: &cell{mount: m, operation: kind.operation, role: m.roleOf(kind), name: fmt.Sprintf("p%d-%s", i, strings.NewReplacer(" ", "-", ",", "").Replace(kind.name))},
					kind: kind, at: step, end: end, failpoints: failpoints,
				})
			}
		}
	}
	return cells
}

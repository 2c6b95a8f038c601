package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// restartEnd is how a change ends whose first restart met a fault.
type restartEnd struct {
	// proved: the change ends by itself, with a login. Otherwise, an operator is asked.
	proved bool
	// requests is how many requests to restart the first server arrived, taken is how many the API carried out.
	requests, taken int
}

// restartRow is a fault of the request to restart the first server.
type restartRow struct {
	name  string
	fault lab.Fault
	end   restartEnd
	// once: one API is enough, because both meet the fault in the same code.
	once bool
}

func restartRows() []restartRow {
	retried, followed, asks := restartEnd{true, 2, 1}, restartEnd{true, 1, 1}, restartEnd{false, 1, 0}
	yes := true
	row := func(name string, f lab.Fault, end restartEnd) restartRow {
		f.Count = 1
		return restartRow{name: name, fault: f, end: end}
	}
	once := func(name string, f lab.Fault, end restartEnd) restartRow {
		r := row(name, f, end)
		r.once = true
		return r
	}
	return []restartRow{
		// The remote system says that it did nothing.
		row("busy", lab.Fault{Kind: lab.Busy}, retried),
		once("429", lab.Fault{Kind: lab.Throttle, RetryAfter: 1}, retried),
		// The answer is lost. The restart is seen all the same.
		row("carried out, then cut", lab.Fault{Kind: lab.ApplyCut}, followed),
		once("carried out, then 500", lab.Fault{Kind: lab.Apply500}, followed),
		row("carried out, then 200 without success", lab.Fault{Kind: lab.NoSuccess, Applied: &yes}, followed),
		once("carried out, then half an answer", lab.Fault{Kind: lab.Truncated}, followed),
		// It never comes, and nobody can know that.
		row("not carried out, then cut", lab.Fault{Kind: lab.Cut}, asks),
		once("not carried out, then a page with 200", lab.Fault{Kind: lab.HTML200}, asks),
		once("not carried out, then no answer", lab.Fault{Kind: lab.Stall}, asks),
	}
}

// A restart is requested twice only if the remote system has said that it did nothing.
func TestRestartIsNeverRequestedTwice(t *testing.T) {
	t.Parallel()
	for _, row := range restartRows() {
		for _, operation := range serverOperations {
			if operation == "instances" && row.once {
				continue
			}
			t.Run(row.name+" of "+operation, func(t *testing.T) {
				t.Parallel()
				m := newProvedMount(t)
				require.NoError(t, m.sim.Switch("ecs", "restart_ms", 1200)) // long enough to be seen
				role := with(m.adopted(m.proved(m.roleFor(operation))), data{"restart": "soft"})
				if !row.end.proved {
					role["restart_timeout"] = shortRestart
				}
				m.must("roles/web", role)
				before := m.waitUntilProved("web", role, 1)
				ids, want := servers(role), row.end
				row.fault.System, row.fault.Target, row.fault.Operations = "ecs", ids[0], []string{lab.OpRestart}
				require.NoError(t, m.sim.SetFault(row.fault))
				m.sim.ClearJournal()
				m.must("rotate-role/web", nil)
				got := restartEnd{}
				m.waitFor("web", "the change should end", func() bool {
					got.proved = m.read("status/web")["state"] == "active"
					return got.proved || numberOf(t, m.read("status"), "needs_person_count") == 1
				})
				for _, entry := range m.restartRequests() {
					if entry.Target == ids[0] {
						got.requests++
					}
				}
				got.taken = m.sim.ECS(ids[0]).PowerActions
				require.Equal(t, want, got)
				require.Zero(t, m.refusedCount(role))
				require.Zero(t, m.sim.Trapped())
				if !want.proved {
					m.othersUntouched(role, before)
					m.restart(ids...)
					m.must("verify-role/web", nil)
				}
				m.waitUntilProved("web", role, 2)
				m.withinBudget(role)
				m.nothingLocked()
			})
		}
	}
}

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// newCells creates a role for each operation and waits until they are idle.
func newCells(t *testing.T, m *mount) []*cell {
	t.Helper()
	var cells []*cell
	for _, operation := range operations {
		cells = append(cells, &cell{mount: m, operation: operation, name: roleName(operation), role: m.roleFor(operation)})
	}
	inParallel(t, cells, (*cell).create)
	m.sim.ClearJournal()
	return cells
}

func TestConcurrentCallersChangePasswordInTurn(t *testing.T) {
	t.Parallel()
	cells := newCells(t, newFullMount(t, vault))
	const callers = 8
	rotate := func(c *cell, d data) (succeeded int) {
		var answers []<-chan error
		for range callers {
			answers = append(answers, c.writeAsync(t.Context(), "rotate-role/"+c.name, d))
		}
		for _, answer := range answers {
			err := <-answer
			if err == nil {
				succeeded++
				continue
			}
			require.Equal(t, 503, statusCode(err), c.name)
			require.Contains(t, queuedOperations, c.operation, "%s: %v", c.name, err) // the queued password has to settle first
		}
		return succeeded
	}
	inParallel(t, cells, func(c *cell) {
		c.fault(c.role, lab.Fault{Kind: lab.Slow, DelayMS: 200})
		require.Equal(t, callers, rotate(c, data{"version": c.before}))
		require.Equal(t, 1, c.newPasswords(), "%s: callers that name the same version share one change", c.name)
		require.Equal(t, 1, c.changes(c.role))
		succeeded := rotate(c, nil)
		changes := c.changes(c.role) - 1
		if slices.Contains(queuedOperations, c.operation) { // passwords that wait for the queued one are replaced by later ones
			require.Positive(t, changes, c.name)
			require.LessOrEqual(t, changes, succeeded, c.name)
		} else {
			require.Equal(t, succeeded, changes, "%s: each other caller gets a change", c.name)
		}
		c.settle(c.name, c.role)
		c.oneChangeAtATime(c.role)
		c.nothingLocked()
	})
}

// Vault ends the plugin's work while a password is being set, and another rotation is requested as soon as the plugin
// works again. The remote system may still be busy with the first change. If the caller has gone, Vault ends the engine's
// work at once. For a caller that waits, Vault waits until the request has ended with an unknown outcome.
func TestInterruptedChangeIsNotOvertaken(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	for _, i := range []interruption{
		{"reload", func(m *mount) error { return v.Reload(t.Context(), m.path) }, true},
		{"seal", func(*mount) error { return v.Seal(t.Context()) }, true},
		{"step-down", func(*mount) error { return v.StepDown(t.Context()) }, false}, // Vault waits 10 s before it is active again
	} {
		t.Run(i.name+", not applied, caller gone", func(t *testing.T) { interrupt(t, v, lab.Slow, i) })
		t.Run(i.name+", applied, caller waits", func(t *testing.T) { interrupt(t, v, lab.Hold, i) })
	}
}

// interruption is a way in which Vault ends the plugin's work and starts it again.
type interruption struct {
	name string
	do   func(*mount) error
	// immediate: it does not wait until the remote system has answered.
	immediate bool
}

func interrupt(t *testing.T, v *vaulttest.Vault, kind lab.Kind, i interruption) {
	t.Helper()
	delay := 5 * time.Second
	fault := lab.Fault{Kind: kind, Count: 1}
	switch {
	case kind == lab.Hold:
	case i.immediate:
		fault.Variant, delay = "held", 14*time.Second
	default:
		delay = 8 * time.Second
		fault.DelayMS = int(delay.Milliseconds())
	}
	m := newFullMount(t, v)
	m.setRequestTimeout(delay + time.Second + storing) // the margin, which covers storing, is a twentieth of the real one in this build
	cells := newCells(t, m)
	inParallel(t, cells, func(c *cell) {
		c.step.fault = fault
		c.fault(c.role, fault)
		c.send("rotate-role/"+c.name, data{"version": c.before})
		c.waitFor(c.name, "the remote system should have the request", c.held)
	})
	if kind == lab.Slow {
		inParallel(t, cells, (*cell).leave)
	}
	t.Cleanup(func() {
		for _, c := range cells {
			if t.Failed() {
				t.Logf("%s got:", c.name)
				for _, e := range c.requestsByArrival(c.role) {
					t.Logf("  password %d  arrived %s  served %s  %s %s", e.Nth, e.Arrived.Format(time.StampMilli), e.Time.Format(time.StampMilli), e.Result, e.Fault)
				}
			}
		}
	})
	require.NoError(t, i.do(m))
	for _, c := range cells {
		if fault.Variant == "held" {
			require.Zero(t, c.changes(c.role), "%s: Vault should not wait for a remote system that hangs", c.name)
			require.NoError(t, c.sim.ClearFaults(target(c.role))) // the change is made now
		}
	}
	inParallel(t, cells, func(c *cell) {
		answers := []<-chan error{c.writeAsync(t.Context(), "rotate-role/"+c.name, nil)}
		if kind == lab.Hold {
			answers = append(answers, c.pending)
		}
		for _, answer := range answers {
			if err := <-answer; err != nil {
				require.True(t, vaultGone(err), "%s: the caller got %v", c.name, err)
			}
		}
		c.waitUntilSlowIsOver()
		c.assertCredsUsable(c.name, c.role)
		d := c.settle(c.name, c.role)
		require.Greater(t, versionOf(t, d), c.before)
		require.Error(t, c.login(c.role, c.old))
		c.assertDistance(c.name, c.role, delay, func(_ int, e lab.Entry) bool { return e.Fault != "" })
		c.nothingLocked()
	})
	for _, c := range cells {
		t.Logf("%-13s requests %d  changes %d  passwords %d", c.operation, c.calls(c.role), c.changes(c.role), c.newPasswords())
	}
}

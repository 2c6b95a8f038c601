package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// rolesIn makes a role for each operation and lets it come to rest.
func rolesIn(t *testing.T, m *mount) []*cell {
	t.Helper()
	var cells []*cell
	for _, operation := range operations {
		cells = append(cells, &cell{mount: m, operation: operation, name: dashed(operation), role: m.roleFor(operation)})
	}
	together(t, cells, func(c *cell) { c.start() })
	m.sim.ClearJournal()
	return cells
}

func TestCallersWhoComeTogetherChangeAPasswordOneAfterTheOther(t *testing.T) {
	t.Parallel()
	m := everything(t, vault)
	cells := rolesIn(t, m)
	const callers = 8
	each := func(c *cell, d data) (done int) {
		var answers []<-chan error
		for range callers {
			answers = append(answers, c.call(t.Context(), "rotate-role/"+c.name, d))
		}
		for _, answer := range answers {
			err := <-answer
			if err == nil {
				done++
				continue
			}
			require.Equal(t, 503, status(err), c.name)
			require.Contains(t, queues, c.operation, "%s: %v", c.name, err) // one is queued, and has to be in force first
		}
		return done
	}
	together(t, cells, func(c *cell) {
		c.fault(c.role, lab.Fault{Kind: lab.Slow, DelayMS: 200})
		require.Equal(t, callers, each(c, data{"version": c.before}))
		require.Equal(t, 1, c.made(), "%s: who names the version wants one change, however many ask", c.name)
		require.Equal(t, 1, c.changes(c.role))
		done := each(c, nil)
		require.Equal(t, 1+done, c.changes(c.role), "%s: who does not wants one of his own", c.name)
		c.settle(c.name, c.role)
		c.oneAtATime()
		c.nothingLocked()
	})
}

// oneAtATime asserts that no two changes were ever under way for the role's account.
func (c *cell) oneAtATime() {
	c.t.Helper()
	system, name := target(c.role)
	require.Equal(c.t, 1, c.sim.MaxConcurrentChanges(system, name), c.name)
}

// Vault ends the plugin's work while a password is being set, and somebody asks for another one as soon as it works again.
// The remote system may still be busy with the first. A caller who has gone leaves the work to the engine, which Vault then
// ends at once; for one who waits Vault waits too, until the try has ended with an unknown outcome.
func TestAChangeWhoseWorkEndsIsNotOvertakenByAnother(t *testing.T) {
	t.Parallel()
	v, _ := ownVault(t)
	for _, end := range []ending{
		{"reload", func(m *mount) error { return v.Reload(t.Context(), m.path) }, true},
		{"seal", func(*mount) error { return v.Seal(t.Context()) }, true},
		{"step-down", func(*mount) error { return v.StepDown(t.Context()) }, false}, // Vault waits 10 s before it is active again
	} {
		t.Run(end.name+", not applied, caller gone", func(t *testing.T) { endInTheMiddle(t, v, lab.Slow, end) })
		t.Run(end.name+", applied, caller waits", func(t *testing.T) { endInTheMiddle(t, v, lab.Hold, end) })
	}
}

// ending is how Vault ends the plugin's work and begins it anew.
type ending struct {
	name string
	do   func(*mount) error
	// atOnce: that takes no longer than the work takes to end.
	atOnce bool
}

func endInTheMiddle(t *testing.T, v *vaulttest.Vault, kind lab.Kind, end ending) {
	t.Helper()
	const delay = 5 * time.Second
	timeout := 6 * time.Second
	if kind == lab.Slow {
		timeout += storing // the margin, which makes up for that, is a twentieth in this build
	}
	m := everything(t, v)
	m.allow(timeout)
	cells := rolesIn(t, m)
	together(t, cells, func(c *cell) {
		c.step.fault = lab.Fault{Kind: kind, Count: 1}
		if kind == lab.Slow {
			c.step.fault.DelayMS = int(delay.Milliseconds())
		}
		c.fault(c.role, c.step.fault)
		var ctx context.Context
		ctx, c.leave = context.WithCancel(t.Context())
		c.caller = c.call(ctx, "rotate-role/"+c.name, data{"version": c.before})
		t.Cleanup(c.leave)
		c.waitFor(c.name, "the remote system should have the request", c.held)
	})
	if kind == lab.Slow {
		together(t, cells, (*cell).goAway)
	}
	t.Cleanup(func() {
		for _, c := range cells {
			if t.Failed() {
				t.Logf("%s got:", c.name)
				for _, e := range c.attempts(c.role) {
					t.Logf("  password %d  came %s  done %s  %s %s", e.Nth, e.Arrived.Format(time.StampMilli), e.Time.Format(time.StampMilli), e.Result, e.Fault)
				}
			}
		}
	})
	began := time.Now()
	require.NoError(t, end.do(m))
	t.Logf("ended and begun again in %s", time.Since(began).Round(time.Millisecond))
	if kind == lab.Slow && end.atOnce {
		require.Less(t, time.Since(began), delay-time.Second, "nothing waits for a remote system that hangs")
	}
	together(t, cells, func(c *cell) {
		answers := []<-chan error{c.call(t.Context(), "rotate-role/"+c.name, nil)}
		if kind == lab.Hold {
			answers = append(answers, c.caller)
		}
		for _, answer := range answers {
			if err := <-answer; err != nil {
				require.True(t, vaultGone(err), "%s: the caller is told %v", c.name, err)
			}
		}
		c.waitFor(c.name, "the remote system should be done", func() bool {
			return kind != lab.Slow || slices.ContainsFunc(c.attempts(c.role), func(e lab.Entry) bool { return e.Fault == lab.Slow })
		})
		c.firstSight(c.name, c.role)
		d := c.settle(c.name, c.role)
		require.Greater(t, versionOf(t, d), c.before)
		require.Error(t, c.login(c.role, c.old))
		c.inOrder(c.name, c.role, delay, func(_ int, e lab.Entry) bool { return e.Fault != "" })
		c.nothingLocked()
	})
	for _, c := range cells {
		t.Logf("%-13s requests %d  changes %d  passwords %d", c.operation, len(c.attempts(c.role)), c.changes(c.role), c.made())
	}
}

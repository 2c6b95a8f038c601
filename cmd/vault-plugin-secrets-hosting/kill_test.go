package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// step is where a kill meets a change.
type step struct {
	name string
	// point is where the engine stops; else fault is what holds the remote system.
	point string
	fault lab.Fault
	// does what leads there; default: a rotation.
	does string
	// only: the operations that have this step; nil: all.
	only []string
	// alone: a role that stops there keeps the others of its mount from getting there.
	alone bool
	// stored: the password is in storage when the kill comes, so that the change ends without anyone asking.
	stored bool
	// unresolved: a try was made whose answer nobody has.
	unresolved bool
	// calls is how many requests the remote system gets at least, without anyone asking.
	calls int
	// least and most changes that it makes.
	least, most int
}

// What leads to a step.
const (
	doesRotate = ""
	doesCreate = "create"
	doesWord   = "word"
	doesSet    = "set another"
)

const slowness = 6 * time.Second

var (
	queues  = []string{"mt plesk", "mt root"}
	restart = []string{"instances", "cloudservers"}
)

func steps() []step {
	return []step{
		{name: "new role, nothing stored", does: doesCreate, point: failpoint.BeforeReserved},
		{name: "new role, target reserved", does: doesCreate, point: failpoint.Reserved, alone: true},
		{name: "new role stored", does: doesCreate, point: failpoint.BeforeSending, stored: true, calls: 1, least: 1, most: 1},
		{name: "password made, not stored", point: failpoint.BeforeSending},
		{name: "stored, not sent", point: failpoint.Sending, stored: true, calls: 1, least: 1, most: 1},
		{name: "sent, not applied", fault: lab.Fault{Kind: lab.Slow, Count: 1, DelayMS: int(slowness.Milliseconds())}, stored: true, unresolved: true, calls: 2, least: 1, most: 2},
		{name: "applied, not answered", fault: lab.Fault{Kind: lab.Hold, Count: 1}, stored: true, unresolved: true, calls: 2, least: 2, most: 2},
		{name: "answered, not stored", point: failpoint.BeforeOutcome, stored: true, unresolved: true, calls: 2, least: 2, most: 2},
		{name: "outcome stored", point: failpoint.Outcome, stored: true, calls: 1, least: 1, most: 1},
		{name: "in force by time, not stored", point: failpoint.BeforeSettled, only: queues, stored: true, calls: 1, least: 1, most: 1},
		{name: "in force by time, stored", point: failpoint.Settled, only: queues, stored: true, calls: 1, least: 1, most: 1},
		{name: "a person's word, not stored", does: doesWord, point: failpoint.BeforeWord, only: restart, stored: true, calls: 1, least: 1, most: 1},
		{name: "a person's word, stored", does: doesWord, point: failpoint.Word, only: restart, stored: true, calls: 1, least: 1, most: 1},
		{name: "another password, its wait not stored", does: doesSet, point: failpoint.BeforeWait, stored: true, calls: 2, least: 1, most: 1},
		{name: "another password, its wait stored", does: doesSet, point: failpoint.Wait, stored: true, calls: 2, least: 1, most: 1},
	}
}

// kill is what is killed, and who is there to see it.
type kill struct {
	name string
	do   func(*testing.T, *vaulttest.Vault)
	// leaves: the caller has gone before, and nobody asks for anything until the remote systems show that the engine has gone on.
	leaves bool
}

// cell is one operation at one step.
type cell struct {
	*mount
	step      step
	operation string
	name      string
	role      data
	before    int64
	old       any
	chosen    string
	kept      bool // the chosen one is in storage when the kill comes
	leave     context.CancelFunc
	caller    <-chan error
	answer    error
	sight     string
	result    string
}

// A kill of the plugin's process or of Vault, at whatever step of a change, loses no password, and what was begun comes to
// its end without anyone asking. All steps of all operations meet the same kill.
func TestAKillAtAnyStepLosesNoPassword(t *testing.T) {
	t.Parallel()
	plugin := func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.KillPlugin()) }
	whole := func(t *testing.T, v *vaulttest.Vault) { t.Helper(); require.NoError(t, v.Restart(t.Context())) }
	for _, k := range []kill{
		{name: "plugin, caller waits", do: plugin},
		{name: "plugin, nobody asks", do: plugin, leaves: true},
		{name: "Vault, caller waits", do: whole},
		{name: "Vault, nobody asks", do: whole, leaves: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			v, stops := ownVault(t)
			cells := prepareCells(t, v)
			at := time.Now()
			lap := func(what string) { t.Logf("%-40s %5.1f s", what, time.Since(at).Seconds()); at = time.Now() }
			bringToStep(t, cells, stops)
			lap("every operation is at its step")
			require.True(t, slices.ContainsFunc(cells, func(c *cell) bool { return c.kept }), "a chosen password waits in storage")
			if k.leaves {
				together(t, cells, (*cell).goAway)
			}
			k.do(t, v)
			for _, c := range cells {
				require.True(t, c.step.fault.Kind != lab.Slow || c.changes(c.role) == 0, "%s: the kill came too late", c.name)
			}
			lap("killed")
			comeToRest(t, k, cells)
			lap("every role rests and logs in")
			printMatrix(t, cells)
		})
	}
}

// prepareCells makes the roles and lets them come to rest.
func prepareCells(t *testing.T, v *vaulttest.Vault) []*cell {
	t.Helper()
	var cells []*cell
	for i, s := range steps() {
		m := everything(t, v)
		for _, operation := range operations {
			if s.alone && len(cells) > 0 && cells[len(cells)-1].mount == m {
				m = everything(t, v)
			}
			if s.only == nil || slices.Contains(s.only, operation) {
				cells = append(cells, &cell{
					mount: m, step: s, operation: operation, role: m.roleFor(operation), name: fmt.Sprintf("s%d-%s", i, dashed(operation)),
				})
			}
		}
	}
	together(t, cells, func(c *cell) {
		if c.step.does == doesCreate {
			if c.operation == "account" {
				c.before = 1 // the password that the role is given
			}
			return
		}
		c.start()
	})
	for _, c := range cells {
		c.sim.ClearJournal()
	}
	return cells
}

// start makes the role and lets it come to rest.
func (c *cell) start() {
	c.must("roles/"+c.name, c.role)
	d := c.settle(c.name, c.role)
	c.before, c.old = versionOf(c.t, d), d["password"]
}

// bringToStep lets every cell's change begin and stop. The remote systems hold it for a while only: those come last.
func bringToStep(t *testing.T, cells []*cell, stops string) {
	t.Helper()
	for _, kind := range []lab.Kind{"", lab.Hold, lab.Slow} {
		var now []*cell
		for _, c := range cells {
			if c.step.fault.Kind == kind {
				now = append(now, c)
			}
		}
		together(t, now, func(c *cell) {
			if c.step.point != "" {
				stopAt(t, stops, c.name, c.step.point)
			} else {
				c.fault(c.role, c.step.fault)
			}
			c.begin()
			c.waitFor(c.name, "should get to the step "+c.step.name, func() bool {
				return stopped(stops, c.name) || c.step.point == "" && c.held()
			})
			// The engine's own next try may have come to the same step first, and the request waits for its turn then.
			c.kept = c.chosen != "" && slices.Contains(slices.Collect(maps.Values(c.mount.kept(c.name))), c.chosen)
		})
	}
}

// begin sends the request that leads to the step.
func (c *cell) begin() {
	var ctx context.Context
	ctx, c.leave = context.WithCancel(context.Background())
	c.t.Cleanup(c.leave)
	path, d := "rotate-role/"+c.name, data{"version": c.before}
	switch c.step.does {
	case doesCreate:
		path, d = "roles/"+c.name, c.role
	case doesWord:
		c.must(path, d)
		c.restart(servers(c.role)...)
		path, d = "confirm-role/"+c.name, data{"version": c.before + 1}
	case doesSet: // over one whose outcome is unknown, and stays so
		c.fault(c.role, lab.Fault{Kind: lab.Err500})
		c.must(path, d)
		c.chosen = "Chosen.by-Hand_" + strconv.Itoa(len(c.name)) + "-4711"
		secrets.add("a chosen password", c.chosen)
		path, d = "set-password/"+c.name, data{"password": c.chosen}
	}
	c.caller = c.call(ctx, path, d)
}

// goAway lets the caller leave, who may have had an answer before.
func (c *cell) goAway() {
	c.leave()
	if err := <-c.caller; err != nil {
		require.ErrorIs(c.t, err, context.Canceled, c.name)
	}
}

// held tells whether the remote system holds the request.
func (c *cell) held() bool {
	system, name := target(c.role)
	return slices.ContainsFunc(c.sim.Faults(), func(f lab.FaultStatus) bool {
		return f.System == system && f.Target == name && f.Kind == c.step.fault.Kind && f.Used > 0 && (f.Kind == lab.Slow || f.Holding > 0)
	})
}

func comeToRest(t *testing.T, k kill, cells []*cell) {
	t.Helper()
	for _, c := range cells {
		c.heal()
	}
	if k.leaves { // Vault's own heartbeat, once a minute, starts the plugin again
		require.Eventually(t, func() bool {
			return !slices.ContainsFunc(cells, func(c *cell) bool {
				return len(c.attempts(c.role)) < c.step.calls || c.changes(c.role) < c.step.least
			})
		}, 150*time.Second, tick, "what was stored should go on without anyone asking: %v", lazy{func() string { return behind(cells) }})
	} else {
		together(t, cells, func(c *cell) { c.answer = <-c.caller })
	}
	together(t, cells, func(c *cell) { c.check(k) })
}

// behind names the cells that have not gone on.
func behind(cells []*cell) string {
	var names []string
	for _, c := range cells {
		if len(c.attempts(c.role)) < c.step.calls || c.changes(c.role) < c.step.least {
			names = append(names, fmt.Sprintf("%s at %q", c.operation, c.step.name))
		}
	}
	return strings.Join(names, ", ")
}

// check asserts all that a kill must not break.
func (c *cell) check(k kill) {
	t := c.t
	repeated := !k.leaves && c.answer == nil
	if c.answer != nil {
		require.True(t, vaultGone(c.answer), "%s: the caller is told %v", c.name, c.answer)
	}
	if c.step.does == doesCreate && !c.step.stored && !repeated {
		_, err := c.retrying().Logical().Read(c.path + "/creds/" + c.name)
		require.Equal(t, 400, status(err), "%s: there is no role", c.name)
		require.Empty(t, c.attempts(c.role))
		c.must("roles/"+c.name, c.role) // nothing is left that stands in its way
		repeated = true
	}
	c.waitFor(c.name, "what is slow should be over", func() bool {
		return c.step.fault.Kind != lab.Slow || slices.ContainsFunc(c.attempts(c.role), func(e lab.Entry) bool { return e.Fault == lab.Slow })
	})
	if c.old != nil {
		c.sight = c.firstSight(c.name, c.role)
	}
	c.waitFor(c.name, "the role should come to rest", func() bool { return c.rests(c.name) })
	if c.step.does == doesWord && c.creds(c.name)["state"] == "restart_required" {
		require.Equal(t, failpoint.BeforeWord, c.step.point, "a word that was stored counts")
		c.must("confirm-role/"+c.name, data{"version": c.before + 1})
	}
	rested := c.creds(c.name)["state"]
	d := c.settle(c.name, c.role)

	made, changes := c.made(), c.changes(c.role)
	least, most := c.step.least, c.step.most
	wanted := 1
	if !c.step.stored {
		wanted = 0
		if repeated {
			wanted, least, most = 1, 1, 1
		}
	}
	switch {
	case c.step.does == doesSet && (c.kept || repeated):
		wanted = 2
		if repeated { // the one before may have been sent first
			most = 2
		}
		require.Equal(t, c.chosen, d["password"])
	case c.operation == "account" && c.step.unresolved && changes == 2: // what was sent is shown as the old password
		wanted = 2
	}
	require.Equal(t, wanted, made, "%s: passwords made; %v", c.name, lazy{func() string { return text(c.read("status/" + c.name)) }})
	require.Equal(t, c.before+int64(wanted), versionOf(t, d), "%s: the newest is in force", c.name)
	require.GreaterOrEqual(t, changes, least, "%s: changes", c.name)
	require.LessOrEqual(t, changes, most, "%s: changes", c.name)
	if wanted > 0 && c.old != nil {
		require.Error(t, c.login(c.role, c.old), "%s: the password before", c.name)
	}
	c.inOrder(c.name, c.role, tryTime-storing, func(i int, e lab.Entry) bool { return e.Fault != "" || i == 0 && c.step.unresolved })
	c.nothingLocked()
	told := "gone"
	if !k.leaves {
		told = strconv.Itoa(status(c.answer))
	}
	c.result = fmt.Sprintf("caller %-4s  seen %-16s  at rest %-16v  made %d  requests %d  changes %d", told, c.sight, rested, made, len(c.attempts(c.role)), changes)
}

// made is how many passwords are there that were not there before.
func (c *cell) made() int {
	n := 0
	for version := range c.mount.kept(c.name) {
		if v, err := json.Number(version).Int64(); err == nil && v > c.before {
			n++
		}
	}
	return n
}

func printMatrix(t *testing.T, cells []*cell) {
	t.Helper()
	var out strings.Builder
	for _, c := range cells {
		fmt.Fprintf(&out, "\n%-40s %-13s %s", c.step.name, c.operation, c.result)
	}
	t.Log(out.String())
}

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// tryTime is the connections' request_timeout, unless a request is held until a kill.
const tryTime = 10 * time.Second

// storing is how long a machine with a busy disk may take to store that a request is sent, after its time has begun.
const storing = 3 * time.Second

// cell is one operation at one step.
type cell struct {
	*mount
	step      step
	operation string
	name      string
	role      data
	// before and old are the version and the password before the change.
	before int64
	old    any
	// chosen is the password of set-password; chosenStored: it is in storage when the kill comes.
	chosen       string
	chosenStored bool
	// cancel ends the request, pending sends its error, which answer keeps.
	cancel  context.CancelFunc
	pending <-chan error
	answer  error
	// seen is the state that a reader saw first after the kill, result the cell's line in the matrix.
	seen, result string
}

// newFullMount returns a mount with a connection for each operation.
func newFullMount(t *testing.T, v *vaulttest.Vault) *mount {
	t.Helper()
	m := newMountIn(t, v)
	m.speedUp()
	m.must("config/mt", m.mt())
	// A credential has few calls under way at a time, and the tests stop each operation in one.
	m.must("config/metal", with(m.metal(), m.temporaryKey()))
	m.must("config/elastic", m.asUser(m.elastic()))
	m.setRequestTimeout(tryTime)
	return m
}

func (m *mount) setRequestTimeout(timeout time.Duration) {
	m.t.Helper()
	for _, name := range []string{"panel", "cloud", "mt", "metal", "elastic"} {
		m.must("config/"+name, data{"request_timeout": int(timeout.Seconds())})
	}
}

// setFailpoint makes the engine stop at a point of the role's change.
func setFailpoint(t *testing.T, failpoints, role, point string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(failpoints, role), []byte(point), 0o600))
}

// atFailpoint reports whether it has stopped there.
func atFailpoint(failpoints, role string) bool {
	_, err := os.Stat(filepath.Join(failpoints, role+failpoint.Mark))
	return err == nil
}

// create creates the role and waits until it is idle.
func (c *cell) create() {
	c.must("roles/"+c.name, c.role)
	d := c.settle(c.name, c.role)
	c.before, c.old = versionOf(c.t, d), d["password"]
}

// start sends the request that leads to the step.
func (c *cell) start() {
	path, d := "rotate-role/"+c.name, data{"version": c.before}
	switch c.step.cause {
	case byRotation:
	case byCreation:
		path, d = "roles/"+c.name, c.role
	case byConfirmation:
		c.must(path, d)
		c.restart(servers(c.role)...)
		path, d = "confirm-role/"+c.name, data{"version": c.before + 1}
	case bySetPassword:
		c.fault(c.role, lab.Fault{Kind: lab.Err500}) // no retry settles the outcome
		c.must(path, d)
		c.chosen = "Chosen.by-Hand_" + strconv.Itoa(len(c.name)) + "-4711"
		secrets.Add("a chosen password", c.chosen)
		path, d = "set-password/"+c.name, data{"password": c.chosen}
	}
	c.send(path, d)
}

// send sends a request that leave ends.
func (c *cell) send(path string, d data) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.t.Cleanup(c.cancel)
	c.pending = c.writeAsync(ctx, path, d)
}

// leave cancels the request, which may have been answered before.
func (c *cell) leave() {
	c.cancel()
	if err := <-c.pending; err != nil {
		require.ErrorIs(c.t, err, context.Canceled, c.name)
	}
}

// held reports whether the remote system holds the request.
func (c *cell) held() bool {
	system, name := target(c.role)
	return slices.ContainsFunc(c.sim.Faults(), func(f lab.FaultStatus) bool {
		return f.System == system && f.Target == name && f.Kind == c.step.fault.Kind && f.Used > 0 && (f.Kind == lab.Slow && f.Variant == "" || f.Holding > 0)
	})
}

// waitUntilSlowIsOver waits until a slow remote system has applied the change.
func (c *cell) waitUntilSlowIsOver() {
	c.waitFor(c.name, "the slow request should be served", func() bool {
		return c.step.fault.Kind != lab.Slow || slices.ContainsFunc(c.requests(c.role), func(e lab.Entry) bool { return e.Fault == lab.Slow })
	})
}

// newPasswords returns how many passwords history has that are newer than the change.
func (c *cell) newPasswords() int {
	n := 0
	for _, d := range c.history(c.name) {
		if versionOf(c.t, d) > c.before {
			n++
		}
	}
	return n
}

// check asserts everything that a kill must not break.
func (c *cell) check(k kill) {
	t := c.t
	repeated := !k.noRequests && c.answer == nil // Vault's client repeats the request
	if c.answer != nil {
		require.True(t, vaultGone(c.answer), "%s: the caller got %v", c.name, c.answer)
	}
	if c.step.cause == byCreation && !c.step.stored && !repeated {
		_, err := c.retryingClient().Logical().Read(c.path + "/creds/" + c.name)
		require.Equal(t, 400, statusCode(err), "%s: the role should not exist", c.name)
		require.Empty(t, c.requests(c.role))
		c.must("roles/"+c.name, c.role) // nothing is left over that prevents it
		repeated = true
	}
	c.waitUntilSlowIsOver()
	if c.old != nil {
		c.seen = c.assertCredsUsable(c.name, c.role)
	}
	c.waitFor(c.name, "the role should become idle", func() bool { return c.idle(c.name) })
	if c.step.cause == byConfirmation && c.creds(c.name)["state"] == "restart_required" {
		require.Equal(t, failpoint.BeforeWord, c.step.point, "a stored confirmation counts")
		c.must("confirm-role/"+c.name, data{"version": c.before + 1})
	}
	idleState := c.creds(c.name)["state"]
	d := c.settle(c.name, c.role)

	made, changes := c.newPasswords(), c.changes(c.role)
	least, most := c.step.least, c.step.most
	wanted := 1
	if !c.step.stored {
		wanted = 0
		if repeated {
			wanted, least, most = 1, 1, 1
		}
	}
	switch {
	case c.step.cause == bySetPassword && (c.chosenStored || repeated):
		wanted = 2
		if repeated { // the unknown one may have been sent again first
			most = 2
		}
		require.Equal(t, c.chosen, d["password"])
	case c.operation == "account" && c.step.unresolved && changes == 2: // the unknown one was presented as the old password
		wanted = 2
	}
	require.Equal(t, wanted, made, "%s: new passwords; %v", c.name, lazy{func() string { return text(c.read("status/" + c.name)) }})
	require.Equal(t, c.before+int64(wanted), versionOf(t, d), "%s: the newest should be in effect", c.name)
	require.GreaterOrEqual(t, changes, least, "%s: changes", c.name)
	require.LessOrEqual(t, changes, most, "%s: changes", c.name)
	if wanted > 0 && c.old != nil {
		require.Error(t, c.login(c.role, c.old), "%s: the previous password", c.name)
	}
	c.assertDistance(c.name, c.role, c.step.timeout()-storing, func(i int, e lab.Entry) bool { return e.Fault != "" || i == 0 && c.step.unresolved })
	c.nothingLocked()
	caller := "gone"
	if !k.noRequests {
		caller = strconv.Itoa(statusCode(c.answer))
	}
	c.result = fmt.Sprintf("caller %-4s  seen %-16s  idle in %-16v  passwords %d  requests %d  changes %d", caller, c.seen, idleState, made, c.calls(c.role), changes)
}

// assertCredsUsable asserts what a reader may rely on at any moment: the password logs in, or the state says that it may
// not and history has one that does. It returns the state.
func (m *mount) assertCredsUsable(name string, role data) string {
	m.t.Helper()
	var state string
	m.waitFor(name, "creds or history should have the password that works", func() bool {
		d := m.creds(name)
		state, _ = d["state"].(string)
		err := m.login(role, d["password"])
		if err == nil {
			return true
		}
		if again := m.creds(name); again["state"] != d["state"] || again["password"] != d["password"] {
			return false // changed since the first read
		}
		require.NotContains(m.t, []string{"active", "assumed"}, state, "the password of %s does not log in: %v", name, err)
		// Oldest first: a queued password may take effect between two logins. Each wrong login counts towards a lock.
		for _, past := range slices.Backward(m.history(name)) {
			if past["password"] != d["password"] && m.login(role, past["password"]) == nil {
				return true
			}
		}
		return false
	})
	return state
}

// assertDistance asserts that another password is sent only some time after a request whose outcome is unknown. Tests with
// a fake clock assert how much the margin adds.
func (m *mount) assertDistance(name string, role data, distance time.Duration, unresolved func(nth int, e lab.Entry) bool) {
	m.t.Helper()
	entries := m.requestsByArrival(role)
	for i, first := range entries {
		if !unresolved(i, first) {
			continue
		}
		for _, later := range entries[i+1:] {
			if later.Nth != first.Nth {
				require.GreaterOrEqual(m.t, later.Arrived.Sub(first.Arrived), distance,
					"%s: another password was sent while the previous one could still be applied", name)
			}
		}
	}
}

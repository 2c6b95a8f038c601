package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Each fault meets a change of each operation. The password in creds logs in, none is lost, no more are generated than
// needed, and the engine becomes idle without a request.
func TestOutcomeOfEveryFault(t *testing.T) {
	t.Parallel()
	var table outcomeTable
	t.Run("cells", func(t *testing.T) {
		for _, op := range allOperations() {
			all := slices.Concat(faultRows(), secondRows(), ownRows(op))
			if op.precheck != "" {
				all = append(all, precheckRows(op.precheck)...)
			}
			table.run(t, op, all)
		}
		for _, op := range tokenOperations() {
			table.run(t, op, tokenRows())
		}
	})
	t.Log("outcomes:\n" + table.String())
}

// outcomeTable collects the outcomes.
type outcomeTable struct {
	mu    sync.Mutex
	names []string // of the rows, in their order
	cells map[string]map[outcome][]string
}

func (x *outcomeTable) run(t *testing.T, op operation, rows []faultRow) {
	t.Helper()
	for _, r := range rows {
		x.add(r.name, outcome{}, "")
		t.Run(r.name+" on "+op.name, func(t *testing.T) {
			t.Parallel()
			got := bareMount(t).runFault(op, r)
			x.add(r.name, got, op.name)
		})
	}
}

// add adds a cell. Without an operation, it only adds the row, to keep its place.
func (x *outcomeTable) add(name string, c outcome, operation string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cells == nil {
		x.cells = map[string]map[outcome][]string{}
	}
	if x.cells[name] == nil {
		x.names, x.cells[name] = append(x.names, name), map[outcome][]string{}
	}
	if operation != "" {
		x.cells[name][c] = append(x.cells[name][c], operation)
	}
}

// String returns the table, in which operations with the same outcome share a line.
func (x *outcomeTable) String() string {
	var order []string
	for _, op := range append(allOperations(), tokenOperations()...) {
		order = append(order, op.name)
	}
	var b strings.Builder
	n := 0
	for _, name := range x.names {
		fmt.Fprintf(&b, "%s\n", name)
		var lines []string
		for c, of := range x.cells[name] {
			n += len(of)
			slices.SortFunc(of, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
			lines = append(lines, fmt.Sprintf("%02d    %-62s %s\n", slices.Index(order, of[0]), strings.Join(of, ", "), c))
		}
		slices.Sort(lines)
		for _, line := range lines {
			b.WriteString(line[2:])
		}
	}
	fmt.Fprintf(&b, "%d cells", n)
	return b.String()
}

func (c outcome) String() string {
	class := ""
	if c.Class != "" {
		class = " (" + c.Class + ")"
	}
	return fmt.Sprintf("%d %s%s, %s opens; %s; %s: %d passwords, %d requests, %d changes",
		c.Code, c.State, class, c.Opens, c.Then, c.End, c.Made, c.Requests, c.Changes)
}

// runFault rotates a role while a fault is in place, asserts the outcome step by step, and returns it.
func (m *mount) runFault(op operation, r faultRow) outcome {
	m.t.Helper()
	want := r.expected(op)
	role, before := m.setUp(op)
	if r.revoked {
		require.NoError(m.t, m.sim.Switch("iam", "revoke_tokens", true))
	}
	if r.expired {
		m.sim.Advance(25 * time.Hour)
	}
	for _, f := range r.faults {
		m.fault(role, f)
	}
	m.flip(role, r.switches, true)
	if r.timeout > 0 {
		m.must(fmt.Sprintf("config/%s", role["connection"]), data{"request_timeout": r.timeout})
	}

	_, err := m.write("rotate-role/r", nil)
	got := outcome{Code: statusCode(err)}
	require.Equal(m.t, want.Code, got.Code, message(err))
	m.waitUntilApplied(op, role, want)
	if want.Class == "unreachable" || r.verdict == verdictNoServer { // logins would fail too
		m.clearFaults()
		m.flip(role, r.switches, false)
	}
	d := m.creds("r")
	m.assertNoSecret(err, d)
	got.State, _ = d["state"].(string)
	got.Class, _ = m.read("status/r")["last_error_class"].(string)
	got.Opens = m.opensAccount(role, before, d)
	require.Equal(m.t, [3]string{want.State, want.Class, want.Opens}, [3]string{got.State, got.Class, got.Opens})
	require.False(m.t, m.paused("r"), "one failure should not pause the connection")
	if got.State != "active" && got.State != "assumed" {
		require.Equal(m.t, before["password"], d["password"], "creds should return the password that is known to work")
	}
	sent := m.calls(role)

	if !r.keepFaults {
		m.clearFaults()
	}
	m.flip(role, r.switches, false)
	m.enableAutomation()
	state := want.End
	if op.family == atRestart && want.Made > 0 {
		state = op.idleState()
	}
	d = m.waitUntilIdle(role, state, versionOf(m.t, before)+int64(want.Made))
	got.End, _ = d["state"].(string)
	got.Made = int(versionOf(m.t, d) - versionOf(m.t, before))
	got.Requests, got.Changes = m.calls(role), m.changes(role)
	switch {
	case got.Requests == sent && got.Changes <= 1 && (sent > 0 || want.Then == thenNothing):
		got.Then = thenNothing
	case got.Made == 1:
		got.Then = thenSame
	case op.family == withOld && got.Changes == 2: // the second change has to present the password of the first
		got.Then = thenAsOld
	default:
		got.Then = thenOther
	}
	require.Equal(m.t, want, got)
	m.assertHistory("r", d)
	if got.Made > 0 {
		require.Error(m.t, m.login(role, before["password"]), "the previous password should not work any more")
	}
	m.assertRetryTiming(role, r)
	require.Zero(m.t, m.sim.Trapped(), "the engine never follows a redirect")
	m.nothingLocked()
	if op.token {
		require.Len(m.t, m.sim.Journal("iam", ""), r.tokens, "one token should serve many calls")
	}
	return got
}

// flip sets switches of the role's remote system, during a change or after it.
func (m *mount) flip(role data, switches []flip, during bool) {
	m.t.Helper()
	system, _ := target(role)
	for _, s := range switches {
		value := s.after
		if during {
			value = s.during
		}
		require.NoError(m.t, m.sim.Switch(system, s.name, value))
	}
}

// waitUntilApplied waits until the remote system has made the change, if it is to make it. That may be after the answer.
func (m *mount) waitUntilApplied(op operation, role data, want outcome) {
	m.t.Helper()
	if want.Opens == "old" {
		require.Zero(m.t, m.changes(role))
		return
	}
	require.Eventually(m.t, func() bool { return m.changes(role) == 1 }, waitLong, tick, "the remote system should make the change")
	if op.family == queued {
		m.waitUntilJobDone(role)
	}
}

// waitUntilJobDone waits until Media Temple has run the job of a role.
func (m *mount) waitUntilJobDone(role data) {
	m.t.Helper()
	_, name := target(role)
	require.Eventually(m.t, func() bool { return m.sim.MediaTemple(name).PendingUntil == nil }, waitLong, tick)
}

// opensAccount finds out by logins which password opens the account: "old", "new" or "waits". creds has to have it.
func (m *mount) opensAccount(role, before, now data) string {
	m.t.Helper()
	if m.login(role, before["password"]) == nil {
		if next, ok := now["next_password"]; ok {
			require.Error(m.t, m.login(role, next))
		}
		_, name := target(role)
		if ids := servers(role); len(ids) > 0 && m.sim.ECS(ids[0]).Pending || m.sim.DCS(name).Status == "UPDATING" {
			return "waits"
		}
		return "old"
	}
	next, ok := now["next_password"]
	if !ok {
		next = now["password"]
	}
	require.NoError(m.t, m.login(role, next), "one of the passwords in creds should open the account")
	return "new"
}

// assertNoSecret asserts that an error contains no password.
func (m *mount) assertNoSecret(err error, d data) {
	m.t.Helper()
	for _, name := range []string{"password", "next_password"} {
		if value, ok := d[name].(string); ok && err != nil {
			require.NotContains(m.t, err.Error(), value)
		}
	}
}

// waitUntilIdle waits until the role is idle in the state and at the version (0: any), puts a staged password in effect,
// and returns the credentials, which log in.
func (m *mount) waitUntilIdle(role data, state string, version int64) data {
	m.t.Helper()
	m.waitFor("r", "the role should become idle in the state "+state, func() bool {
		d, s := m.creds("r"), m.read("status/r")
		_, scheduled := s["next_attempt_time"]
		return d["state"] == state && !scheduled && (state == "restart_required" || version == 0 || versionOf(m.t, d) == version)
	})
	if state == "restart_required" {
		return m.putInEffect("r", role)
	}
	return m.workingCreds("r", role)
}

// assertHistory asserts that history has the password of creds as the current one, and every version before it.
func (m *mount) assertHistory(name string, d data) {
	m.t.Helper()
	passwords := m.history(name)
	require.Len(m.t, passwords, int(versionOf(m.t, d)), "history should have each version and nothing else")
	require.Equal(m.t, "current", passwords[0]["state"])
	require.Equal(m.t, d["password"], passwords[0]["password"])
}

// assertRetryTiming asserts that the second request came no sooner than it may.
func (m *mount) assertRetryTiming(role data, r faultRow) {
	m.t.Helper()
	all := m.requests(role)
	if r.notBefore > 0 && len(all) > 1 {
		first, last := all[0], all[len(all)-1]
		require.GreaterOrEqual(m.t, last.Time.Sub(first.Time), r.notBefore-time.Millisecond)
	}
	if len(r.faults) == 1 && r.faults[0].Kind != lab.Slow { // a slow system may get the same request again while it works on it
		system, name := target(role)
		require.LessOrEqual(m.t, m.sim.MaxConcurrentChanges(system, name), 1)
	}
}

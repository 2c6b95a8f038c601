package main

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

// Whatever the remote system does with a request and with its answer: what creds hands out as the password logs in, nothing
// is lost, nothing is made up that is not needed, and the engine comes to rest by itself.
func TestWhatFollowsALostAnswer(t *testing.T) {
	t.Parallel()
	var seen outcomeTable
	t.Run("cells", func(t *testing.T) {
		for _, op := range everyOperation() {
			all := append(faultRows(), secondRows()...)
			if op.looks != "" {
				all = append(all, lookingRows(op.looks)...)
			}
			seen.run(t, op, all)
		}
		for _, op := range byToken() {
			seen.run(t, op, tokenRows())
		}
	})
	t.Log("what followed:\n" + seen.String())
}

// outcomeTable collects what was seen.
type outcomeTable struct {
	mu    sync.Mutex
	names []string // of the rows, in their order
	cells map[string]map[outcome][]string
}

func (x *outcomeTable) run(t *testing.T, op operation, all []faultRow) {
	t.Helper()
	for _, r := range all {
		x.note(r.name, outcome{}, "")
		t.Run(r.name+" on "+op.name, func(t *testing.T) {
			t.Parallel()
			got := bareMount(t).meet(op, r)
			x.note(r.name, got, op.name)
		})
	}
}

// note remembers a cell; one without an operation only keeps the row's place.
func (x *outcomeTable) note(name string, c outcome, operation string) {
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

// String is the table: a line for what followed alike.
func (x *outcomeTable) String() string {
	var order []string
	for _, op := range append(everyOperation(), byToken()...) {
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

// String is a cell in a line of the table.
func (c outcome) String() string {
	class := ""
	if c.Class != "" {
		class = " (" + c.Class + ")"
	}
	return fmt.Sprintf("%d %s%s, %s opens; %s; %s: %d made, %d requests, %d changes",
		c.Code, c.State, class, c.Opens, c.Then, c.End, c.Made, c.Requests, c.Changes)
}

// meet lets one change meet one fault, asserts what follows step by step, and returns what was seen.
func (m *mount) meet(op operation, r faultRow) outcome {
	m.t.Helper()
	want := r.expected(op)
	role, before := m.begin(op)
	if r.revoked {
		require.NoError(m.t, m.sim.Switch("iam", "revoke_tokens", true))
	}
	if r.expired {
		m.sim.Advance(25 * time.Hour)
	}
	for _, f := range r.faults {
		m.fault(role, f)
	}

	_, err := m.write("rotate-role/r", nil)
	got := outcome{Code: status(err)}
	require.Equal(m.t, want.Code, got.Code, message(err))
	m.changesCome(op, role, want)
	if want.Class == "unreachable" { // else nobody could log in
		m.heal()
	}
	d := m.creds("r")
	m.tellsNoSecret(err, d)
	got.State, _ = d["state"].(string)
	got.Class, _ = m.read("status/r")["last_error_class"].(string)
	got.Opens = m.opens(role, before, d)
	require.Equal(m.t, [3]string{want.State, want.Class, want.Opens}, [3]string{got.State, got.Class, got.Opens})
	require.False(m.t, m.paused("r"), "one failure is none of the connection's")
	if got.State != "active" && got.State != "assumed" {
		require.Equal(m.t, before["password"], d["password"], "the one that is known to work is handed out")
	}
	sent := len(m.requests(role))

	if !r.more {
		m.heal()
	}
	m.goOn()
	state := want.End
	if op.family == atRestart && want.Made > 0 {
		state = op.rest()
	}
	d = m.comesToRest(role, state, versionOf(m.t, before)+int64(want.Made))
	got.End, _ = d["state"].(string)
	got.Made = int(versionOf(m.t, d) - versionOf(m.t, before))
	got.Requests, got.Changes = len(m.requests(role)), m.changes(role)
	switch {
	case got.Requests == sent && got.Changes <= 1 && (sent > 0 || want.Then == thenNothing):
		got.Then = thenNothing
	case got.Made == 1:
		got.Then = thenAgain
	case op.family == withOld && got.Changes == 2: // the second change needs the password of the first
		got.Then = thenAsOld
	default:
		got.Then = thenOther
	}
	require.Equal(m.t, want, got)
	m.remembers("r", d)
	if got.Made > 0 {
		require.Error(m.t, m.login(role, before["password"]), "the one before is out of force")
	}
	m.keptItsDistance(role, r)
	require.Zero(m.t, m.sim.Trapped(), "no redirect is ever followed")
	m.nothingLocked()
	if op.token {
		require.Len(m.t, m.sim.Journal("iam", ""), r.tokens, "one token does for many calls")
	}
	return got
}

// changesCome waits until the remote system has carried out what it is to carry out, which may be later than the answer.
func (m *mount) changesCome(op operation, role data, want outcome) {
	m.t.Helper()
	if want.Opens == "old" {
		require.Zero(m.t, m.changes(role))
		return
	}
	require.Eventually(m.t, func() bool { return m.changes(role) == 1 }, waitLong, tick, "the remote system makes the change")
	if op.family == queued {
		_, name := target(role)
		require.Eventually(m.t, func() bool { return m.sim.MediaTemple(name).PendingUntil == nil }, waitLong, tick)
	}
}

// opens tells by logins which password opens the account. It is one that creds gives.
func (m *mount) opens(role, before, now data) string {
	m.t.Helper()
	if m.login(role, before["password"]) == nil {
		if next, ok := now["next_password"]; ok {
			require.Error(m.t, m.login(role, next))
		}
		if ids := servers(role); len(ids) > 0 && m.sim.ECS(ids[0]).Pending {
			return "waits"
		}
		return "old"
	}
	next, ok := now["next_password"]
	if !ok {
		next = now["password"]
	}
	require.NoError(m.t, m.login(role, next), "one of the two that creds gives opens the account")
	return "new"
}

// tellsNoSecret asserts that an error holds no password.
func (m *mount) tellsNoSecret(err error, d data) {
	m.t.Helper()
	for _, name := range []string{"password", "next_password"} {
		if value, ok := d[name].(string); ok && err != nil {
			require.NotContains(m.t, err.Error(), value)
		}
	}
}

// comesToRest waits until the role has come to rest in the state and at the version (0: any), by itself but for what a
// person has to do, and returns the credentials, which work.
func (m *mount) comesToRest(role data, state string, version int64) data {
	m.t.Helper()
	rested := func() bool {
		d, s := m.creds("r"), m.read("status/r")
		_, goesOn := s["next_attempt_time"]
		return d["state"] == state && !goesOn && (state == "restart_required" || version == 0 || versionOf(m.t, d) == version)
	}
	require.Eventually(m.t, rested, waitLong, tick, "the engine comes to rest by itself: %v", lazy{func() string { return text(m.read("status/r")) }})
	if state == "restart_required" {
		return m.comes("r", role)
	}
	return m.works("r", role)
}

// remembers asserts that history has what creds gives, as the one in force, and every version before it.
func (m *mount) remembers(name string, d data) {
	m.t.Helper()
	passwords, _ := m.read("history/" + name)["passwords"].([]any)
	require.Len(m.t, passwords, int(versionOf(m.t, d)), "each version, and nothing else")
	current, _ := passwords[0].(map[string]any)
	require.Equal(m.t, "current", current["state"])
	require.Equal(m.t, d["password"], current["password"])
}

// keptItsDistance asserts that the second request came no sooner than it may.
func (m *mount) keptItsDistance(role data, r faultRow) {
	m.t.Helper()
	all := m.requests(role)
	if r.notBefore > 0 && len(all) > 1 {
		first, last := all[0], all[len(all)-1]
		require.GreaterOrEqual(m.t, last.Time.Sub(first.Time), r.notBefore-time.Millisecond)
	}
	if len(r.faults) == 1 && r.faults[0].Kind != lab.Slow { // what it still works on may meet the same once more
		system, name := target(role)
		require.LessOrEqual(m.t, m.sim.MaxConcurrentChanges(system, name), 1)
	}
}

// inHistory is a version in history/:name.
func (m *mount) inHistory(role string, version int64) data {
	m.t.Helper()
	passwords, _ := m.read("history/" + role)["passwords"].([]any)
	for _, p := range passwords {
		if one, ok := p.(map[string]any); ok && versionOf(m.t, one) == version {
			if value, ok := one["password"].(string); ok {
				secrets.add("a password of the history", value)
			}
			return one
		}
	}
	m.t.Fatalf("history/%s has no version %d", role, version)
	return nil
}

// listed is the password of a version in history/:name, and listedAs what it is called there.
func (m *mount) listed(role string, version int64) string {
	m.t.Helper()
	password, _ := m.inHistory(role, version)["password"].(string)
	return password
}

func (m *mount) listedAs(role string, version int64) string {
	m.t.Helper()
	state, _ := m.inHistory(role, version)["state"].(string)
	return state
}

// tableLines are lines that parallel tests write.
type tableLines struct {
	mu    sync.Mutex
	lines []string
}

func (n *tableLines) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

// String is the lines, sorted.
func (n *tableLines) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.lines)
	return strings.Join(n.lines, "\n")
}

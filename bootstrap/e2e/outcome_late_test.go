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

// lateOutcome is what a role and its account look like after a request was applied late.
type lateOutcome struct {
	// State is what creds says.
	State string
	// Opens is which password opens the account: that of creds, or that of the late request, which only history has.
	Opens string
	// Listed is the state of the late request's password in history.
	Listed string
}

const (
	fromCreds   = "creds"
	fromHistory = "history"
)

// lateRow is what happens between a request and its application.
type lateRow struct {
	name  string
	fault lab.Fault
	// meanwhile is what happens until the request is applied.
	meanwhile func(m *mount, op operation, role data)
	ends      map[family]lateOutcome
}

// chosenPassword meets the rules of every operation.
const chosenPassword = "Chosen.by-Hand_4711" // #nosec G101 -- of simulated accounts

// lateRows returns the orders in which a late request and another one may be applied.
//
// Within the margin, the engine has sent no other password. Long after it, the late request may be applied last: its
// password is in effect then, and no answer says so. Where the old password has to be presented, a late request fails,
// because its old password is wrong by then.
func lateRows() []lateRow {
	setPassword := func(m *mount, op operation, role data) {
		m.must("set-password/r", data{"password": chosenPassword})
		if op.family == queued {
			m.putInEffect("r", role)
		}
		if op.family != atRestart {
			require.Equal(m.t, chosenPassword, m.workingCreds("r", role)["password"])
		}
	}
	retry := func(m *mount, op operation, role data) {
		m.enableAutomation()
		m.waitUntilIdle(role, op.idleState(), 0)
	}
	retryAndRotate := func(m *mount, op operation, role data) {
		retry(m, op, role)
		m.must("rotate-role/r", nil)
		if op.family != atRestart {
			m.putInEffect("r", role)
		}
	}
	held := lab.Fault{Kind: lab.Late, Variant: "held", Count: 1}
	within := map[family]lateOutcome{
		atOnce:    {"assumed", fromCreds, "candidate: unresolved"},
		withOld:   {"active", fromCreds, "previous"}, // it was presented and accepted
		queued:    {"assumed", fromCreds, "candidate: unresolved"},
		atRestart: {"assumed", fromCreds, "superseded"}, // by the confirmation of the other one
	}
	return []lateRow{
		{"cut, applied within the margin, another one waits", lab.Fault{Kind: lab.Late, DelayMS: 800, Count: 1}, setPassword, within},
		{"no answer, applied within the margin, another one waits", lab.Fault{Kind: lab.Slow, DelayMS: 2800, Count: 1}, setPassword, within},
		{"applied long after another one", held, setPassword, map[family]lateOutcome{
			atOnce:    {"assumed", fromHistory, "candidate: unresolved"},
			withOld:   {"active", fromCreds, "superseded"},
			queued:    {"assumed", fromHistory, "candidate: unresolved"},
			atRestart: {"restart_required", fromHistory, "candidate: unresolved"},
		}},
		{"applied long after it was sent again", held, retry, map[family]lateOutcome{
			atOnce:    {"active", fromCreds, "current"},
			withOld:   {"active", fromCreds, "current"},
			queued:    {"assumed", fromCreds, "current"},
			atRestart: {"assumed", fromCreds, "current"},
		}},
		{"applied long after it was sent again, and after the next one", held, retryAndRotate, map[family]lateOutcome{
			atOnce:    {"active", fromHistory, "previous"},
			withOld:   {"active", fromCreds, "previous"},
			queued:    {"assumed", fromHistory, "unconfirmed"},
			atRestart: {"restart_required", fromCreds, "current"},
		}},
	}
}

// A request that is applied within the margin is harmless. One that is applied long after it leaves a password in effect
// that is in history, and the role is not active if another password was sent over it.
func TestOutcomeOfLateRequests(t *testing.T) {
	t.Parallel()
	var table tableLines
	t.Run("cells", func(t *testing.T) {
		for _, r := range lateRows() {
			for _, op := range allOperations() {
				t.Run(r.name+" on "+op.name, func(t *testing.T) {
					t.Parallel()
					table.add(fmt.Sprintf("%-64s %-14s %s", r.name, op.name, bareMount(t).runLate(op, r)))
				})
			}
		}
	})
	t.Log("outcomes:\n" + table.String())
}

// tableLines collects lines from parallel tests.
type tableLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *tableLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// String returns the lines, sorted.
func (l *tableLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.lines)
	return strings.Join(l.lines, "\n")
}

func (e lateOutcome) String() string {
	return fmt.Sprintf("%s; the password that opens the account is in %s; history lists the late one as %q", e.State, e.Opens, e.Listed)
}

// runLate rotates a role with a request that is applied late, asserts the outcome, and returns it.
func (m *mount) runLate(op operation, r lateRow) lateOutcome {
	m.t.Helper()
	role, before := m.setUp(op)
	version := versionOf(m.t, before) + 1
	m.fault(role, r.fault)
	requested := m.sim.Now()
	require.Equal(m.t, "uncertain", m.must("rotate-role/r", nil).Data["state"])
	late, _ := m.inHistory("r", version)["password"].(string)

	r.meanwhile(m, op, role)
	all := m.requests(role)
	if r.ends[op.family].Listed != "current" { // another one was sent
		require.GreaterOrEqual(m.t, all[len(all)-1].Time.Sub(requested), distance, "another password should keep its distance")
	}
	if r.fault.Variant == "" {
		require.True(m.t, all[0].Applied && all[0].Fault == r.fault.Kind, "the late request should be applied first")
		m.oneChangeAtATime(role)
	}
	if strings.HasPrefix(r.ends[op.family].Listed, "candidate") {
		require.NotEqual(m.t, "active", m.creds("r")["state"], "the late request can still be applied")
	}
	m.clearFaults()
	require.Eventually(m.t, func() bool { return m.lateServed(r, role) }, waitLong, tick, "the late request should be served")
	if op.family == queued {
		m.waitUntilJobDone(role)
	}
	return m.assertLateOutcome(op, r, role, late, version)
}

// distance is the minimum time between a request and another password, in the plugin for tests: the request's time limit
// and the margin.
const distance = 2*time.Second + 1500*time.Millisecond

// lateServed reports whether the remote system has served the late request.
func (m *mount) lateServed(r lateRow, role data) bool {
	return slices.ContainsFunc(m.requests(role), func(e lab.Entry) bool { return e.Fault == r.fault.Kind })
}

// assertLateOutcome asserts the outcome, and that an operator can correct the role where its password does not work.
func (m *mount) assertLateOutcome(op operation, r lateRow, role data, late string, version int64) lateOutcome {
	m.t.Helper()
	want := r.ends[op.family]
	if op.family == atRestart {
		m.restart(servers(role)...)
		if want.State == "assumed" && m.creds("r")["state"] == "restart_required" {
			m.must("confirm-role/r", data{"version": m.read("status/r")["next_version"]})
		}
	}
	d := m.creds("r")
	got := lateOutcome{Opens: fromHistory}
	got.State, _ = d["state"].(string)
	got.Listed, _ = m.inHistory("r", version)["state"].(string)
	if m.login(role, d["password"]) == nil {
		got.Opens = fromCreds
	} else {
		require.NoError(m.t, m.login(role, late), "the password that opens the account should be in history")
	}
	require.Equal(m.t, want, got)
	m.nothingLocked()
	if got.Opens == fromHistory {
		confirmation := data{"password": late}
		if strings.HasPrefix(got.Listed, "candidate") {
			require.Contains(m.t, m.read("status/r")["reason"], "see history/r", "the reason should say where the password may be")
			confirmation = data{"version": version}
		}
		m.must("confirm-role/r", confirmation)
		require.Equal(m.t, late, m.workingCreds("r", role)["password"])
	}
	m.must("rotate-role/r", nil)
	require.NotEqual(m.t, late, m.putInEffect("r", role)["password"])
	return got
}

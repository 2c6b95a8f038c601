package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// lateOutcome is how a role and its account stand once a request has been carried out late.
type lateOutcome struct {
	// State is what creds says.
	State string
	// Opens is what opens the account: what creds gives, or the password of the late request, which history alone has.
	Opens string
	// Listed is what history calls the password of the late request.
	Listed string
}

const (
	fromCreds   = "creds"
	fromHistory = "history"
)

// lateRow is what happens between a request and its being carried out.
type lateRow struct {
	name  string
	fault lab.Fault
	// play is what happens until the request is carried out.
	play func(m *mount, op operation, role data)
	// ends is what follows.
	ends map[family]lateOutcome
}

// byHand is a password that every operation takes.
const byHand = "Chosen.by-Hand_4711" // #nosec G101 -- of simulated accounts

// lateRows are the ways in which a late request and another one may follow each other.
//
// Within the margin the engine has sent no other password yet. Long after it a late one may be the last: then it is in
// force, and no answer tells. An old password that is presented is as good as a lock, since it does not fit any more.
func lateRows() []lateRow {
	another := func(m *mount, op operation, role data) {
		m.must("set-password/r", data{"password": byHand})
		if op.family == queued {
			m.comes("r", role)
		}
		if op.family != atRestart {
			require.Equal(m.t, byHand, m.works("r", role)["password"])
		}
	}
	itself := func(m *mount, op operation, role data) {
		m.goOn()
		m.comesToRest(role, op.rest(), 0)
	}
	next := func(m *mount, op operation, role data) {
		itself(m, op, role)
		m.must("rotate-role/r", nil)
		if op.family != atRestart {
			m.comes("r", role)
		}
	}
	held := lab.Fault{Kind: lab.Late, Variant: "held", Count: 1}
	within := map[family]lateOutcome{
		atOnce:    {"assumed", fromCreds, "candidate: unresolved"},
		withOld:   {"active", fromCreds, "previous"}, // it was presented, and taken
		queued:    {"assumed", fromCreds, "candidate: unresolved"},
		atRestart: {"assumed", fromCreds, "superseded"}, // by the word of who has seen the other one work
	}
	return []lateRow{
		{"cut, applied within the margin, another one waits", lab.Fault{Kind: lab.Late, DelayMS: 800, Count: 1}, another, within},
		{"no answer, applied within the margin, another one waits", lab.Fault{Kind: lab.Slow, DelayMS: 2800, Count: 1}, another, within},
		{"applied long after another one", held, another, map[family]lateOutcome{
			atOnce:    {"assumed", fromHistory, "candidate: unresolved"},
			withOld:   {"active", fromCreds, "superseded"},
			queued:    {"assumed", fromHistory, "candidate: unresolved"},
			atRestart: {"restart_required", fromHistory, "candidate: unresolved"},
		}},
		{"applied long after it was sent again", held, itself, map[family]lateOutcome{
			atOnce:    {"active", fromCreds, "current"},
			withOld:   {"active", fromCreds, "current"},
			queued:    {"assumed", fromCreds, "current"},
			atRestart: {"assumed", fromCreds, "current"},
		}},
		{"applied long after it was sent again, and after the next one", held, next, map[family]lateOutcome{
			atOnce:    {"active", fromHistory, "previous"},
			withOld:   {"active", fromCreds, "previous"},
			queued:    {"assumed", fromHistory, "unconfirmed"},
			atRestart: {"restart_required", fromCreds, "current"},
		}},
	}
}

// A request that the remote system carries out within the margin does no harm. One that it carries out long after ends with
// the password in force in history, and with a state that does not call another one active that was sent over it.
func TestWhatFollowsARequestThatIsAppliedLate(t *testing.T) {
	t.Parallel()
	var seen tableLines
	t.Run("cells", func(t *testing.T) {
		for _, o := range lateRows() {
			for _, op := range everyOperation() {
				t.Run(o.name+" on "+op.name, func(t *testing.T) {
					t.Parallel()
					seen.add(fmt.Sprintf("%-64s %-14s %s", o.name, op.name, bareMount(t).late(op, o)))
				})
			}
		}
	})
	t.Log("what followed:\n" + seen.String())
}

// String is an ending in a line of the table.
func (e lateOutcome) String() string {
	return fmt.Sprintf("%s; what opens the account is in %s; history calls the late one %q", e.State, e.Opens, e.Listed)
}

// late lets a request be carried out late, asserts what follows, and returns what was seen.
func (m *mount) late(op operation, o lateRow) lateOutcome {
	m.t.Helper()
	role, before := m.begin(op)
	version := versionOf(m.t, before) + 1
	m.fault(role, o.fault)
	asked := m.sim.Now()
	require.Equal(m.t, "uncertain", m.must("rotate-role/r", nil).Data["state"])
	value := m.listed("r", version)

	o.play(m, op, role)
	all := m.requests(role)
	if o.ends[op.family].Listed != "current" { // another one was sent
		require.GreaterOrEqual(m.t, all[len(all)-1].Time.Sub(asked), distance, "another password keeps its distance")
	}
	if o.fault.Variant == "" {
		require.True(m.t, all[0].Applied && all[0].Fault == o.fault.Kind, "the late one came first")
		system, name := target(role)
		require.Equal(m.t, 1, m.sim.MaxConcurrentChanges(system, name), "two changes never overlap")
	}
	if strings.HasPrefix(o.ends[op.family].Listed, "candidate") {
		require.NotEqual(m.t, "active", m.creds("r")["state"], "the late one can still follow")
	}
	m.heal()
	require.Eventually(m.t, func() bool { return m.came(o, role) }, waitLong, tick, "the late one comes")
	if op.family == queued {
		_, name := target(role)
		require.Eventually(m.t, func() bool { return m.sim.MediaTemple(name).PendingUntil == nil }, waitLong, tick)
	}
	return m.ends(op, o, role, value, version)
}

// distance is how long after a request another password may be sent: its time limit and the margin, in the plugin that is
// tested.
const distance = 2*time.Second + 1500*time.Millisecond

// came tells whether the remote system has dealt with the late request.
func (m *mount) came(o lateRow, role data) bool {
	for _, entry := range m.requests(role) {
		if entry.Fault == o.fault.Kind {
			return true
		}
	}
	return false
}

// ends asserts how it ends, and that a person can mend it.
func (m *mount) ends(op operation, o lateRow, role data, value string, version int64) lateOutcome {
	m.t.Helper()
	want := o.ends[op.family]
	if op.family == atRestart {
		m.restart(servers(role)...)
		if want.State == "assumed" && m.creds("r")["state"] == "restart_required" {
			m.must("confirm-role/r", data{"version": m.read("status/r")["next_version"]})
		}
	}
	d := m.creds("r")
	got := lateOutcome{Opens: fromHistory, Listed: m.listedAs("r", version)}
	got.State, _ = d["state"].(string)
	if m.login(role, d["password"]) == nil {
		got.Opens = fromCreds
	} else {
		require.NoError(m.t, m.login(role, value), "the password that opens the account is in history")
	}
	require.Equal(m.t, want, got)
	m.nothingLocked()
	if got.Opens == fromHistory {
		word := data{"password": value}
		if strings.HasPrefix(got.Listed, "candidate") {
			require.Contains(m.t, m.read("status/r")["reason"], "history has it", "the state says why not")
			word = data{"version": version}
		}
		m.must("confirm-role/r", word)
		require.Equal(m.t, value, m.works("r", role)["password"])
	}
	m.must("rotate-role/r", nil)
	require.NotEqual(m.t, value, m.comes("r", role)["password"])
	return got
}

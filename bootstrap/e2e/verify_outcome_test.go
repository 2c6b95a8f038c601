package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// provedOutcome is what a change of a proved role costs when it meets a fault.
type provedOutcome struct {
	// Code is the status of Vault's answer to rotate-role, State is what creds says after it, and End is the state in which the
	// newest password is in force, without a request.
	Code       int
	State, End string
	// Made is how many passwords were generated that may have been in effect. Requests and Changes are those of the remote
	// system, and Refused is how many logins it refused.
	Made, Requests, Changes, Refused int
}

// provedRow is a fault that the changes of all operations meet, and the outcomes by how a password takes effect.
type provedRow struct {
	name                   string
	faults                 []lab.Fault
	atOnce, queue, servers provedOutcome
}

// provedRows returns the rows. A login that works settles an unknown outcome; one that is refused shows that the same password has
// to be sent again. Where a password is queued, the old one is refused once more after that: the budget is spent, and the new one
// counts as in force by time. Servers keep the old one until their restart.
func provedRows() []provedRow {
	one := func(name string, atOnce, queue, servers provedOutcome, faults ...lab.Fault) provedRow {
		for i := range faults {
			faults[i].Count = 1
		}
		return provedRow{name, faults, atOnce, queue, servers}
	}
	const unsure, active, assumed = "uncertain", "active", "assumed"
	proved := provedOutcome{200, active, active, 1, 1, 1, 0}
	serversSet := provedOutcome{200, unsure, active, 1, 2, 2, 0}
	unset, queueUnset, serversUnset := provedOutcome{200, unsure, active, 1, 2, 1, 1}, provedOutcome{200, unsure, assumed, 1, 2, 1, 2}, provedOutcome{200, unsure, active, 1, 2, 1, 0}
	busy, queueBusy := provedOutcome{503, "", active, 1, 2, 1, 0}, provedOutcome{503, "", active, 1, 2, 1, 1}
	return []provedRow{
		one("applied, then cut", proved, proved, serversSet, lab.Fault{Kind: lab.ApplyCut}),
		one("applied, then no answer", proved, proved, serversSet, lab.Fault{Kind: lab.Hold}),
		one("cut, then applied within the margin", provedOutcome{200, unsure, active, 1, 2, 2, 1}, provedOutcome{200, unsure, assumed, 1, 2, 2, 2}, serversSet,
			lab.Fault{Kind: lab.Late, DelayMS: 800}),
		one("not applied, then cut", unset, queueUnset, serversUnset, lab.Fault{Kind: lab.Cut}),
		one("not applied, then 200 without success", unset, queueUnset, serversUnset, lab.Fault{Kind: lab.NoSuccess}),
		one("busy", busy, queueBusy, busy, lab.Fault{Kind: lab.Busy}),
		one("429", busy, queueBusy, busy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		one("the password is refused", provedOutcome{200, active, active, 1, 2, 1, 0}, provedOutcome{200, "accepted", active, 1, 2, 1, 1},
			provedOutcome{400, "", active, 0, 1, 0, 0}, lab.Fault{Kind: lab.Refuse}),
		one("applied, then cut; again: the password is refused", proved, proved, provedOutcome{200, unsure, active, 1, 3, 2, 0},
			lab.Fault{Kind: lab.ApplyCut}, lab.Fault{Kind: lab.Refuse}),
		one("not applied, then cut; again: the password is refused", provedOutcome{200, unsure, active, 2, 3, 1, 1},
			provedOutcome{200, unsure, assumed, 2, 3, 1, 2}, provedOutcome{200, unsure, active, 1, 3, 1, 0}, lab.Fault{Kind: lab.Cut}, lab.Fault{Kind: lab.Refuse}),
		one("not applied, then cut; again: busy", provedOutcome{200, unsure, active, 1, 3, 1, 1}, provedOutcome{200, unsure, assumed, 1, 3, 1, 2},
			provedOutcome{200, unsure, active, 1, 3, 1, 0}, lab.Fault{Kind: lab.Cut}, lab.Fault{Kind: lab.Busy}),
	}
}

// A login settles what an answer leaves open. No password is lost, none is sent more often than needed, and no account gets near
// a lock.
func TestProofSettlesEveryOutcome(t *testing.T) {
	t.Parallel()
	kinds := someKinds("alias", "redis", "mt root", "cloudservers, soft")
	for _, row := range provedRows() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 0))
			inParallel(t, kinds, func(k proofKind) { m.runProved(k, row) })
			m.nothingLocked()
		})
	}
}

// runProved rotates the role of an operation while a fault is in place, and asserts the outcome.
func (m *mount) runProved(k proofKind, row provedRow) {
	want, role, name := row.atOnce, m.roleOf(k), strings.NewReplacer(" ", "-", ",", "").Replace(k.name)
	switch {
	case role["service_id"] != nil:
		want = row.queue
	case len(servers(role)) > 0:
		want = row.servers
	}
	late := row.faults[0].Kind == lab.Late
	if k.name == "redis" && late { // the late request has a wrong old password then
		return
	}
	m.must("roles/"+name, role)
	before := m.waitUntilProved(name, role, firstVersion(k))
	calls, changes, refused := m.calls(role), m.accepted(role), m.refusedCount(role)
	for _, f := range row.faults {
		m.fault(role, f)
	}
	secret, err := m.write("rotate-role/"+name, nil)
	got := provedOutcome{Code: statusCode(err)}
	if secret != nil {
		got.State, _ = secret.Data["state"].(string)
	}
	version := versionOf(m.t, before) + int64(want.Made)
	m.waitFor(name, "the change should end in the state "+want.End, func() bool {
		s := m.read("status/" + name)
		proved := s["state"] == "active" && s["last_proof_result"] == "works"
		return versionOf(m.t, s) == version && (proved && (late || want.End == "active") || s["state"] == "assumed" && want.End == "assumed")
	})
	d := m.workingCreds(name, role)
	got.End, _ = d["state"].(string)
	got.Made = int(versionOf(m.t, d) - versionOf(m.t, before))
	got.Requests, got.Changes, got.Refused = m.calls(role)-calls, m.accepted(role)-changes, m.refusedCount(role)-refused
	if late { // the logins may come before or after it
		require.Equal(m.t, want.Made, got.Made, k.name)
	} else {
		require.Equal(m.t, want, got, k.name)
	}
	m.withinBudget(role)
	for _, id := range servers(role) {
		require.Equal(m.t, 1+want.Made, m.sim.ECS(id).PowerActions, "power actions of server %s", id)
	}
	if k.operation == "account" {
		_, account := target(role)
		require.Zero(m.t, m.sim.DCS(account).Failed, "a login costs no attempt with an old password")
	}
}

// accepted returns how many changes the remote system has made for the first account of a role.
func (m *mount) accepted(role data) int {
	if ids := servers(role); len(ids) > 0 {
		return m.sim.ECS(ids[0]).Changes
	}
	return m.changes(role)
}

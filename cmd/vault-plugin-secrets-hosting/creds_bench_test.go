package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// BenchmarkReadingCredsWhileAPushHangs reads a role whose remote system does not answer, and one that has nothing to do, by
// turns, and gives the ratio of the two times: readers wait for no lock and for no remote system.
func BenchmarkReadingCredsWhileAPushHangs(b *testing.B) {
	m := newMount(b)
	m.must("config/panel", data{"request_timeout": 60})
	m.must("roles/rests", alias("ops1"))
	m.must("roles/hangs", alias("ops2"))
	client := m.client()
	read := func(role string) time.Duration {
		began := time.Now()
		secret, err := client.Logical().Read(m.path + "/creds/" + role)
		took := time.Since(began)
		if err != nil || secret.Data["state"] != "active" {
			b.Fatalf("creds/%s: %v", role, err)
		}
		return took
	}
	var rests, hangs time.Duration
	release := m.hang("hangs", alias("ops2"))
	defer release()
	for b.Loop() {
		rests += read("rests")
		hangs += read("hangs")
	}
	b.ReportMetric(float64(rests.Microseconds())/float64(b.N), "µs/read-at-rest")
	b.ReportMetric(float64(hangs.Microseconds())/float64(b.N), "µs/read-while-hanging")
	b.ReportMetric(float64(hangs)/float64(rests), "hanging/rest")
}

// hang rotates a role whose remote system has the request and does not answer it before release is called.
func (m *mount) hang(name string, role data) (release func()) {
	m.t.Helper()
	m.fault(role, lab.Fault{Kind: lab.Hold})
	answer := m.call(m.t.Context(), "rotate-role/"+name, nil)
	require.Eventually(m.t, func() bool { return m.sim.Faults()[0].Holding > 0 }, waitLong, tick)
	return func() {
		m.heal()
		if err := <-answer; err != nil {
			m.t.Error(err)
		}
	}
}

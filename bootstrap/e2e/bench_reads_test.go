package e2e

import (
	"testing"
	"time"
)

// BenchmarkReadCredsWhilePushHangs reads a role whose remote system does not answer and an idle one in turn, and reports the
// ratio of the two times. A reader waits neither for a lock nor for a remote system.
func BenchmarkReadCredsWhilePushHangs(b *testing.B) {
	m := newMount(b)
	m.must("config/panel", data{"request_timeout": 60})
	m.must("roles/idle", alias("ops1"))
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
	var idle, hangs time.Duration
	release := m.hangRotation("hangs", alias("ops2"))
	defer release()
	for b.Loop() {
		idle += read("idle")
		hangs += read("hangs")
	}
	b.ReportMetric(float64(idle.Microseconds())/float64(b.N), "µs/idle-read")
	b.ReportMetric(float64(hangs.Microseconds())/float64(b.N), "µs/hanging-read")
	b.ReportMetric(float64(hangs)/float64(idle), "hanging/idle")
}

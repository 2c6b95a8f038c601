package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
)

// BenchmarkStart starts the engine in a real Vault with 100,000 roles in storage, none of which is due. It reports
//   - the time of a read right after the start, as a multiple of a read when the engine is idle,
//   - the time until the engine knows all roles, as a multiple of only listing and reading their entries,
//   - the memory of a waiting role, the goroutines of all roles, and the CPU time that they use while nothing happens,
//     beside that of a mount with one role.
func BenchmarkStart(b *testing.B) {
	const roles = 100_000
	self, err := os.Executable()
	require.NoError(b, err)
	v := startVault(b, self, measuring+"=1")
	m := bareMountIn(b, v, simulator.Config{})
	m.must("config/panel", m.panel())
	m.must("roles/model", with(alias("ops1"), data{"rotation_period": "720h", "history_size": 3}))
	for range 4 { // gives it a history
		m.must("rotate-role/model", nil)
	}
	alone := m.idleCPU()
	for first := 0; first < roles; first += roles / 10 { // a request may last 90 s
		m.must("measure/fill", data{"model": "model", "first": first, "roles": roles / 10})
	}

	var complete, bare, first, rest, heap, goroutines, idle float64
	for b.Loop() {
		m.must(bareKey, nil)
		require.NoError(b, v.Reload(b.Context(), m.path))
		bare += float64(numberOf(b, m.started(), "took_us"))
		_, err := m.client().Logical().Delete(m.path + "/" + bareKey)
		require.NoError(b, err)

		require.NoError(b, v.Reload(b.Context(), m.path))
		first += m.timeReads(1)
		started := m.started()
		complete += float64(numberOf(b, started, "took_us"))
		require.EqualValues(b, roles+1, numberOf(b, m.read("status"), "roles"))
		heap += float64(numberOf(b, started, "heap")) / roles
		goroutines += float64(numberOf(b, started, "goroutines"))
		rest += m.timeReads(100)
		idle += m.idleCPU()
	}
	n := float64(b.N)
	b.ReportMetric(complete/n/1e6, "s-to-know-all")
	b.ReportMetric(complete/bare, "know-all/list-and-get")
	b.ReportMetric(first/n, "µs-first-read")
	b.ReportMetric(first/rest, "first-read/idle-read")
	b.ReportMetric(heap/n, "B/waiting-role")
	b.ReportMetric(goroutines/n, "goroutines-of-all-roles")
	b.ReportMetric(idle/n, "µs-cpu/s-idle")
	b.ReportMetric(alone, "µs-cpu/s-idle-with-one-role")
	b.ReportMetric(0, "ns/op")
}

// started waits until the engine knows all roles, and returns the measurements.
func (m *mount) started() data {
	m.t.Helper()
	for {
		secret, err := m.client().Logical().Read(m.path + "/measure/start")
		if err == nil {
			return secret.Data
		}
		require.Equal(m.t, 503, statusCode(err), "%v", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// timeReads returns the average time in microseconds of reading a role that was not read before.
func (m *mount) timeReads(reads int) float64 {
	m.t.Helper()
	client := m.client()
	began := time.Now()
	for i := range reads {
		secret, err := client.Logical().Read(m.path + "/creds/copy" + strconv.Itoa(4711+i))
		require.NoError(m.t, err)
		require.Equal(m.t, "active", secret.Data["state"])
	}
	return float64(time.Since(began).Microseconds()) / float64(reads)
}

// idleCPU returns how many microseconds of CPU time the plugin uses in a second while nothing happens.
func (m *mount) idleCPU() float64 {
	m.t.Helper()
	return float64(numberOf(m.t, m.read("measure/idle"), "processor_us_per_s"))
}

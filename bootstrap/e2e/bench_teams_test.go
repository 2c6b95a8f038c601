package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// startVault starts a Vault for a benchmark.
func startVault(b *testing.B, plugin string, env ...string) *vaulttest.Vault {
	b.Helper()
	dir, err := os.MkdirTemp("", "hosting") //nolint:usetesting // short, for Unix sockets
	require.NoError(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	v, err := vaulttest.Start(b.Context(), binaries.vault, plugin, filepath.Join(dir, "vault"), env...)
	require.NoError(b, err)
	b.Cleanup(v.Stop)
	return v
}

// BenchmarkCrowdOfReaders reads a role that has no password yet 4,000 times at once, while its remote system does not answer. It
// reports the most memory that the plugin and Vault have used, before and with that, and the time of a refusal.
func BenchmarkCrowdOfReaders(b *testing.B) {
	const readers, places = 4000, 60
	v := startVault(b, binaries.plugin)
	m := newMountIn(b, v)
	m.must("config/panel", data{"request_timeout": 60})
	release := m.hold("waits", alias("ops1"))
	defer release()
	_, before, err := v.PeakMemory()
	require.NoError(b, err)
	var slowest time.Duration
	for b.Loop() {
		began := time.Now()
		errs := m.readAll(m.client(), "waits", readers)
		for range readers - places {
			require.Equal(b, http.StatusServiceUnavailable, statusCode(<-errs))
		}
		slowest = max(slowest, time.Since(began))
		time.Sleep(time.Second)
		require.Empty(b, errs, "the others wait")
	}
	ofVault, ofPlugin, err := v.PeakMemory()
	require.NoError(b, err)
	b.ReportMetric(float64(before)/1e6, "MB-plugin-before")
	b.ReportMetric(float64(ofPlugin)/1e6, "MB-plugin")
	b.ReportMetric(float64(ofVault)/1e6, "MB-vault")
	b.ReportMetric(slowest.Seconds(), "s-until-all-are-refused")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkManyRolesOfOthers compares two mounts of one Vault: one with a single role, and one where another connection has
// 5,000 roles. It reads creds and writes a connection on each in turn, and reports the medians and their ratios.
func BenchmarkManyRolesOfOthers(b *testing.B) {
	const others = 5000
	self, err := os.Executable()
	require.NoError(b, err)
	v := startVault(b, self, measuring+"=1")
	mounts := make([]*mount, 2)
	for i := range mounts {
		m := bareMountIn(b, v, simulator.Config{})
		m.must("config/panel", m.panel())
		m.must("config/others", m.panel())
		m.must("roles/ours", alias("ops1"))
		m.must("roles/model", with(alias("ops2"), data{"connection": "others"}))
		mounts[i] = m
	}
	crowded := mounts[1]
	crowded.must("measure/fill", data{"model": "model", "first": 0, "roles": others})
	require.NoError(b, v.Reload(b.Context(), crowded.path))
	for _, m := range mounts {
		m.started()
	}
	require.EqualValues(b, others+2, numberOf(b, crowded.read("status"), "roles"))

	var reads, writes [2][]float64
	for n := 0; b.Loop(); n++ {
		for i, m := range mounts {
			client := m.client()
			took := func(do func() error) float64 {
				began := time.Now()
				require.NoError(b, do())
				return float64(time.Since(began).Microseconds())
			}
			reads[i] = append(reads[i], took(func() error { _, err := client.Logical().Read(m.path + "/creds/ours"); return err }))
			if n%10 == 0 { // such that the connection's roles are checked
				change := with(m.panel(), data{"insecure_tls": n%20 == 0, "verify_connection": false})
				writes[i] = append(writes[i], took(func() error { _, err := client.Logical().Write(m.path+"/config/panel", change); return err }))
			}
		}
	}
	for name, times := range map[string][2][]float64{"read": reads, "config-write": writes} {
		b.ReportMetric(median(times[0]), fmt.Sprintf("µs-%s-alone", name))
		b.ReportMetric(median(times[1]), fmt.Sprintf("µs-%s-with-5000", name))
		b.ReportMetric(median(times[1])/median(times[0]), fmt.Sprintf("%s-with/alone", name))
	}
	b.ReportMetric(0, "ns/op")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

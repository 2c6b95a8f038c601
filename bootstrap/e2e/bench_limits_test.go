package e2e

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkReadCredsWithLongestFields reads a role with ordinary fields and one whose fields, and those of whose connection, are
// as long as they may be, in turn, and reports the ratio of the two times.
func BenchmarkReadCredsWithLongestFields(b *testing.B) {
	m := newMount(b)
	globs := []string{"*"}
	for len(globs) < 256 {
		globs = append([]string{strings.Repeat("*1", 128)}, globs...)
	}
	m.must("roles/short", with(alias("ops1"), data{"rotation_schedule": "0 0 * * *"}))
	m.must("config/longest", with(m.panel(), data{"allowed_roles": globs, "allowed_targets": globs}))
	m.must("roles/longest", with(alias("ops2"), data{
		"connection": "longest", "rotation_schedule": "0" + strings.Repeat(",0", 123) + " 0 * * *",
		"verify_ca_cert": strings.Repeat("A", 64<<10), "verify_host_key": strings.Repeat("A", 16<<10),
	}))
	client := m.client()
	took := map[string]time.Duration{}
	for b.Loop() {
		for _, role := range []string{"short", "longest"} {
			began := time.Now()
			if _, err := client.Logical().Read(m.path + "/creds/" + role); err != nil {
				b.Fatal(err)
			}
			took[role] += time.Since(began)
		}
	}
	b.ReportMetric(float64(took["short"].Microseconds())/float64(b.N), "µs/short-read")
	b.ReportMetric(float64(took["longest"].Microseconds())/float64(b.N), "µs/longest-read")
	b.ReportMetric(float64(took["longest"])/float64(took["short"]), "longest/short")
}

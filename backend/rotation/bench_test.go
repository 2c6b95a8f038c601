package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// fleet is a mount with many roles, in real time.
type fleet struct {
	testing.TB
	remote  *remote
	storage logical.Storage
	// rotated counts the stored changes; last is the time of the last one.
	rotated atomic.Int64
	last    atomic.Int64
}

func newFleet(tb testing.TB, storage logical.Storage) *fleet {
	return &fleet{TB: tb, remote: &remote{passwords: map[string]string{}}, storage: storage}
}

// engine returns an engine that does not spread overdue changes.
func (f *fleet) engine() *Engine {
	e := New(Config{Types: []provider.Type{f.remote}, Events: func(_ context.Context, kind, _ string, _ []string) {
		if kind == EventRotate {
			f.rotated.Add(1)
			f.last.Store(time.Now().UnixNano())
		}
	}})
	e.catchUp = 0
	f.Cleanup(e.Stop)
	return e
}

// fill stores connections and roles that become due at a given time.
func (f *fleet) fill(connections, roles, inFlight int, due time.Time) {
	f.Helper()
	e, s := f.engine(), store.Store{Storage: f.storage}
	name := func(i int) string { return fmt.Sprintf("conn%d", i%connections) }
	for i := range connections {
		patch := newConn(name(i), func(o *connection.Options) { o.MaxInFlight = inFlight })
		require.NoError(f, e.Connections.Write(f.Context(), f.storage, name(i), patch))
	}
	o := options()
	o.RotationPeriod = 30 * 24 * 3600
	_, err := e.Create(f.Context(), f.storage, NewRole{Name: "model", Connection: name(0), Target: provider.Settings{"login": "model"}, Options: o})
	require.NoError(f, err)
	model, err := s.Role(f.Context(), "model")
	require.NoError(f, err)
	require.NoError(f, e.Delete(f.Context(), f.storage, "model", true))
	for i := range roles {
		role := *model
		role.Name, role.Connection, role.Due = fmt.Sprintf("role%d", i), name(i), due
		role.Target.Username = name(i) + "|" + role.Name
		require.NoError(f, s.PutRole(f.Context(), &role))
	}
	f.rotated.Store(0)
}

// BenchmarkDueRoles changes 10,000 passwords on 10 connections, each with max_in_flight=10 and a remote system that takes
// 100 ms per change. It reports the time since the first request relative to the minimum; with one connection that hangs,
// for the other nine.
func BenchmarkDueRoles(b *testing.B) {
	for _, hanging := range []int{0, 1} {
		b.Run(fmt.Sprintf("hanging=%d", hanging), func(b *testing.B) {
			var took, least time.Duration
			for b.Loop() {
				t, l := changeAll(b, hanging)
				took, least = took+t, least+l
			}
			b.ReportMetric(took.Seconds()/float64(b.N), "s")
			b.ReportMetric(float64(took)/float64(least), "took/least")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func changeAll(b *testing.B, hanging int) (took, least time.Duration) {
	b.Helper()
	const connections, roles, latency, inFlight = 10, 10_000, 100 * time.Millisecond, 10
	f := newFleet(b, &logical.InmemStorage{})
	f.fill(connections, roles, inFlight, time.Now().Add(-time.Second))
	var first sync.Once
	var began time.Time
	f.remote.onChange(func(ctx context.Context, _ int, c provider.Change) (provider.Result, bool) {
		first.Do(func() { began = time.Now() })
		for i := range hanging {
			if strings.HasPrefix(c.Target.Username, fmt.Sprintf("conn%d|", i)) {
				<-ctx.Done()
				return unknown, false
			}
		}
		time.Sleep(latency)
		return applied, true
	})
	e := f.engine()
	e.Start(f.storage)
	due := roles / connections * (connections - hanging)
	require.Eventually(b, func() bool { return f.rotated.Load() >= int64(due) }, 10*time.Minute, 10*time.Millisecond)
	e.Stop()
	return time.Unix(0, f.last.Load()).Sub(began), time.Duration(due) * latency / time.Duration((connections-hanging)*inFlight)
}

// BenchmarkManyRolesOfOthers compares two mounts in memory: one with a single role, and one where another connection has 5,000
// roles. It writes a connection and reads creds on each in turn, and reports the medians and their ratios.
func BenchmarkManyRolesOfOthers(b *testing.B) {
	var writes, reads [2][]float64
	for b.Loop() {
		var engines [2]*Engine
		var fleets [2]*fleet
		for i, roles := range []int{0, 5000} {
			f := newFleet(b, &logical.InmemStorage{})
			f.fill(1, roles, 10, time.Now().Add(day))
			e := f.engine()
			require.NoError(b, e.Connections.Write(b.Context(), f.storage, "ours", newConn("key")))
			_, err := e.Create(b.Context(), f.storage, NewRole{Name: "ours", Connection: "ours", Target: provider.Settings{"login": "ours"}, Options: options()})
			require.NoError(b, err)
			e.Start(f.storage)
			require.Eventually(b, e.health.Complete, time.Minute, time.Millisecond)
			engines[i], fleets[i] = e, f
		}
		for n := range 2000 {
			for i, e := range engines {
				began := time.Now()
				_, err := e.Serve(b.Context(), fleets[i].storage, "ours")
				reads[i] = append(reads[i], float64(time.Since(began).Nanoseconds())/1e3)
				require.NoError(b, err)
				began = time.Now()
				err = e.Connections.Write(b.Context(), fleets[i].storage, "ours", connection.Patch{Settings: provider.Settings{"note": fmt.Sprint(n)}})
				writes[i] = append(writes[i], float64(time.Since(began).Nanoseconds())/1e3)
				require.NoError(b, err)
			}
		}
	}
	for name, times := range map[string][2][]float64{"read": reads, "config-write": writes} {
		alone, with := median(times[0]), median(times[1])
		b.ReportMetric(with, "µs-"+name+"-with-5000")
		b.ReportMetric(with/alone, name+"-with/alone")
	}
	b.ReportMetric(0, "ns/op")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

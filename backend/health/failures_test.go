package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/explain"
)

func TestFailuresInRowAreCounted(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	later := first.Add(time.Hour)
	var f Failures
	require.Zero(t, f.Get("role"))
	require.Equal(t, Failure{Reason: "panic", Times: 1, Since: first}, f.Count("role", "panic", first))
	require.Equal(t, Failure{Reason: "panic", Times: 2, Since: first}, f.Count("role", "panic", later))
	require.Zero(t, f.Get("other"))
	require.Equal(t, Failure{Reason: "storage", Times: 1, Since: later}, f.Count("role", "storage", later), "another reason begins anew")
	f.Forget("role")
	require.Equal(t, 1, f.Count("role", "storage", later).Times)
}

func TestMendedFailureOfStorageStays(t *testing.T) {
	t.Parallel()
	var f Failures
	for name, storage := range map[string]bool{"operator": false, "storage": true} {
		f.Put(name, Failure{Times: 1, Stuck: &explain.Stuck{Storage: storage}})
		f.Mended(name)
	}
	require.Zero(t, f.Get("operator"))
	require.NotZero(t, f.Get("storage"))
}

func TestFailureOfStorageNamesFirst(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var f Failures
	put := func(name string, since time.Time, storage bool) {
		f.Put(name, Failure{Times: 1, Since: since, Stuck: &explain.Stuck{Reason: name + " failed", Storage: storage, Since: since}})
	}
	put("mistake", first, false)
	text, since := f.OfStorage(nil, 9)
	require.Empty(t, text)
	require.Zero(t, since)

	put("late", first.Add(2*time.Hour), true)
	put("early", first.Add(time.Hour), true)
	text, since = f.OfStorage(nil, 9)
	require.Contains(t, text, "roles affected: 2")
	require.Contains(t, text, "early failed")
	require.Equal(t, first.Add(time.Hour), since)

	text, _ = f.OfStorage(&explain.Stuck{Reason: "the mount failed", Storage: true, Since: first}, 9)
	require.Contains(t, text, "roles affected: 9", "it affects all roles")
	require.Contains(t, text, "the mount failed")
}

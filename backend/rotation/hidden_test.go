package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestWhatHoldsAPasswordDoesNotPrintIt(t *testing.T) {
	t.Parallel()
	const secret = "Test-" + providertest.Canary + "-Passw0rd"
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record := credential.Record{}
	for range 4 { // one each in force, before, in the history, and next
		var err error
		record, err = record.Make(secret, "test", false, now)
		require.NoError(t, err)
		record = record.Send(now, 0).Unresolved()
		if record.Current == nil || record.Previous == nil || len(record.History) == 0 {
			record = record.Applied(now, false)
		}
	}
	record, err := record.Make(secret, "test", true, now)
	require.NoError(t, err)
	require.NotEmpty(t, record.Candidates)
	digest, err := newDigest(secret, sameRandom{})
	require.NoError(t, err)
	settings := provider.Settings{"password": secret}
	role := Role{Name: "web1", Record: record, Adopted: digest}
	view := record.View(now)
	connection := Connection{Name: "panel", Settings: settings}
	l := &live{Connection: connection, complete: provider.Connection{Settings: settings}}
	old := record.Old(now)
	asked := order{given: secret, waits: secret}
	providertest.RequireSecretFree(t, record, role, &role, view, record.List(), connection, &connection, l, old, asked, &asked,
		NewRole{Password: secret, Target: settings}, Word{Password: secret}, Patch{Settings: settings}, Report{Role: &role, View: view},
		change{role: &role, l: l, old: old}, &change{role: &role, l: l, old: old}, standing{role: &role},
		*record.Next, record.Candidates, *record.Previous, record.History, *record.Current, digest,
		[]*Role{&role}, []*Connection{&connection}, []*credential.Record{&record}, []*change{{role: &role, l: l, old: old}}, []*standing{{role: &role}}, []*order{&asked})
}

// sameRandom is no randomness.
type sameRandom struct{}

func (sameRandom) Read(p []byte) (int, error) { return len(p), nil }

package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
)

// Whatever of a piece of work is printed, no password and no credential is.
func TestWorkHidesPasswords(t *testing.T) {
	t.Parallel()
	const secret = "Test-" + providertest.Canary + "-Passw0rd"
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record, err := credential.Record{}.Make(secret, "test", false, now)
	require.NoError(t, err)
	record = record.Send(now, 0).Applied(now, false)
	settings := provider.Settings{"key": secret}
	r := &role.Role{Name: "role", Record: record, Target: provider.Target{Settings: settings}}
	h := &connection.Handle{Connection: connection.Connection{Name: "conn", Settings: settings}, Completed: provider.Connection{Settings: settings}}
	in := NewRole{Name: "role", Password: secret, Target: settings}
	asked := change{given: secret, value: secret}
	w := work{role: r, stored: r, h: h, old: record.Old(now)}
	report := roles.Report{Target: settings, View: record.View(now)}
	confirmation := Confirmation{Password: secret}
	providertest.RequireSecretFree(t,
		in, &in, []NewRole{in}, confirmation, &confirmation, report, &report, []*roles.Report{&report}, roles.ViewOf(r, now), *roles.ViewOf(r, now),
		asked, &asked, []change{asked}, []*change{&asked}, map[string]change{"role": asked},
		intent{create: &in}, intent{change: &asked, follow: &asked}, &intent{create: &in},
		result{role: r, h: h}, &result{role: r, h: h}, []result{{role: r}},
		w, &w, []*work{&w}, creation{&w, in}, &creation{&w, in}, []creation{{&w, in}},
	)
}

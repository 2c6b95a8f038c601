package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// teamB may write connections and roles whose names begin with team-b-, and nothing else.
const teamB = `
path "MOUNT/config/team-b-*" { capabilities = ["create", "update", "delete"] }
path "MOUNT/roles/team-b-*" { capabilities = ["create", "update", "delete"] }
`

// fakeCloud is a server of team B, which throttles for an hour or refuses every credential.
type fakeCloud struct {
	*providertest.Server
	throttles, refuses atomic.Bool
}

func newFakeCloud(t *testing.T, m *mount) *fakeCloud {
	t.Helper()
	f := &fakeCloud{}
	f.Server = providertest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case f.throttles.Load():
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = fmt.Fprint(w, `{"error_code":"APIGW.0308","error_msg":"throttled","request_id":"1"}`)
		case f.refuses.Load():
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"error_code":"APIGW.0301","error_msg":"incorrect signature","request_id":"1"}`)
		case r.URL.Path == "/v3/auth/tokens":
			w.Header().Set("X-Subject-Token", "a-token")
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprint(w, `{"token":{}}`)
		default: // all accounts that there are
			var accounts []string
			for _, a := range m.out.DCS.Instances[0].Accounts {
				accounts = append(accounts, fmt.Sprintf(`{"account_id":%q,"account_name":%q,"account_type":"normal","status":"AVAILABLE"}`, a.ID, a.Name))
			}
			_, _ = fmt.Fprintf(w, `{"accounts":[%s]}`, strings.Join(accounts, ","))
		}
	})
	return f
}

// Whoever may write connections and roles of his own can run a server that answers what he likes. With the login or key of
// another team's connection, it neither holds nor pauses that one, and it takes no target of another server. Not in the
// package's Vault, because it reloads the plugin.
func TestServerOfOneTeamDoesNotAffectAnother(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	m := newMountIn(t, v)
	m.must("config/user", m.asUser(m.cloud()))
	m.must("roles/app", m.account("app"))
	b, fake := m.as(teamB), newFakeCloud(t, m)
	attacks := map[string]data{
		"team-b-key":  with(m.cloud(), data{"url": fake.URL, "insecure_tls": true, "secret_key": "Wrong-Secret-Key.1"}),
		"team-b-user": with(m.asUser(m.cloud()), data{"url": fake.URL, "iam_url": fake.URL, "insecure_tls": true, "password": "Wrong-Password.1"}),
	}

	// Its server has every account of the cloud, and its role comes first.
	b.must("config/team-b-key", attacks["team-b-key"])
	b.must("roles/team-b-report", with(m.account("report"), data{"connection": "team-b-key", "skip_initial_rotation": true}))
	m.must("roles/report", with(m.account("report"), data{"connection": "user"}))
	m.workingCreds("report", m.account("report"))

	version := int64(2)
	unaffected := func() {
		t.Helper()
		version++
		for name, config := range map[string]data{"app": m.cloud(), "report": m.asUser(m.cloud())} {
			m.must("config/"+map[string]string{"app": "cloud", "report": "user"}[name], config)
			m.must("rotate-role/"+name, nil)
			require.Equal(t, version, versionOf(t, m.workingCreds(name, m.account(name))))
			require.NotContains(t, text(m.read("status/"+name)), "team-b")
		}
		status := text(m.read("status"))
		require.NotContains(t, status, "connection:cloud")
		require.NotContains(t, status, "connection:user")
	}

	for _, answers := range []*atomic.Bool{&fake.throttles, &fake.refuses} {
		answers.Store(true)
		for name, attack := range attacks {
			for n := range 3 {
				secret := fmt.Sprintf("Another-Wrong-Secret.%d", n)
				for _, field := range []string{"secret_key", "password"} {
					if attack[field] != nil {
						attack[field] = secret
					}
				}
				_, err := b.write("config/"+name, with(attack, data{"verify_connection": true}))
				require.Error(t, err, "%s %d", name, n)
				_, err = b.write("config/"+name, with(attack, data{"force": true}))
				require.Error(t, err, "%s %d", name, n)
				b.must("config/"+name, with(attack, data{"verify_connection": false}))
				_, err = b.write("roles/team-b-app", with(m.account("app"), data{"connection": name}))
				if err == nil { // busy: it will be tried again
					require.NoError(t, b.forceDelete("roles/team-b-app"))
				}
			}
		}
		unaffected()
		require.NoError(t, v.Reload(t.Context(), m.path))
		unaffected()
		answers.Store(false)
	}

	// At the same address, the second role is refused, without the name of the first.
	b.must("config/team-b-near", with(m.cloud(), data{"secret_key": "Wrong-Secret-Key.2", "verify_connection": false}))
	_, err := b.write("roles/team-b-app", with(m.account("app"), data{"connection": "team-b-near"}))
	require.Equal(t, 400, statusCode(err), message(err))
	require.Contains(t, message(err), "another role of this mount already manages the target")
	require.NotContains(t, message(err), `"app"`)
	_, err = b.client().Logical().Read(m.path + "/roles/app")
	require.Equal(t, 403, statusCode(err))
	log, err := os.ReadFile(v.LogFile())
	require.NoError(t, err)
	require.True(t, regexp.MustCompile(`another role manages its account: .*managed_by=app`).Match(log)) // keys have no order

	for _, path := range []string{"roles/team-b-report", "config/team-b-key", "config/team-b-user", "config/team-b-near"} {
		require.NoError(t, b.forceDelete(path))
	}
	unaffected()
}

package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever may write a role, but not read its password, gets one guess a second until the first rotation, and none after it.
func TestRoleWriterCannotGuessItsPassword(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(m.account("app"), data{"skip_initial_rotation": true})
	m.must("roles/cache", role)
	writer := m.as(`path "MOUNT/roles/cache" { capabilities = ["update"] }`).client().Logical()
	_, err := writer.Read(m.path + "/creds/cache")
	require.Equal(t, 403, statusCode(err))
	guess := func(password any) int {
		_, err := writer.Write(m.path+"/roles/cache", with(role, data{"password": password}))
		return statusCode(err)
	}
	answers, began := map[int]int{}, time.Now()
	for n := range 300 {
		password := any(fmt.Sprintf("Test-Guess.%d", n))
		if n%3 == 2 {
			password = role["password"] // the right one is not told apart from the others meanwhile
		}
		answers[guess(password)]++
		if time.Since(began) > 4*time.Second {
			break
		}
	}
	took := int(time.Since(began).Seconds()) + 1
	require.LessOrEqual(t, answers[400], took, "wrong guesses in %d s: %v", took, answers)
	require.Positive(t, answers[400])
	require.Greater(t, answers[503], answers[400]+answers[200])
	log, err := os.ReadFile(m.vault.LogFile())
	require.NoError(t, err)
	require.True(t, regexp.MustCompile(`an update of a role had a wrong password: .*wrong_passwords=1\b`).Match(log)) // keys have no order

	require.Eventually(t, func() bool { // what a tool repeats
		_, err := m.write("roles/cache", role)
		return err == nil
	}, waitLong, tick)
	m.must("rotate-role/cache", nil)
	answers = map[int]int{}
	for n := range 20 {
		answers[guess(fmt.Sprintf("Test-Guess.%d", n))]++
		answers[guess(role["password"])]++
	}
	require.Equal(t, map[int]int{200: 40}, answers)
	require.EqualValues(t, 2, versionOf(t, m.workingCreds("cache", role)))
}

// A value that is long or of the wrong type is refused, is not repeated in any answer or log, and does not slow down others.
func TestOversizedAndMistypedFieldsAreRefused(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	team := m.as(`
		path "MOUNT/config/team-b-*" { capabilities = ["create", "update", "patch"] }
		path "MOUNT/roles/team-b-*" { capabilities = ["create", "update", "patch"] }`).client().Logical()
	panel := with(m.panel(), data{"allowed_roles": "team-b-*"})
	role := with(alias("ops1"), data{"connection": "team-b-panel"})
	_, err := team.Write(m.path+"/config/team-b-panel", panel)
	require.NoError(t, err)
	_, err = team.Write(m.path+"/roles/team-b-1", role)
	require.NoError(t, err)
	const secret = "Test-Misplaced-Passw0rd.1"
	secrets.Add("in a field of another type", secret)
	globs := slices.Repeat([]string{"*a*"}, 2000)
	for path, fields := range map[string]data{
		"config/team-b-panel": {
			"allowed_roles": globs, "allowed_targets": strings.Join(globs, ","), "ca_cert": strings.Repeat("A", 65<<10), "url": "https://" + strings.Repeat("a", 2000),
			"password": strings.Repeat("a", 1025), "tls_server_name": data{"a": secret}, "max_in_flight": []any{secret}, "allowed_verify_addresses": []any{data{"a": secret}},
		},
		"roles/team-b-1": {
			"rotation_schedule": strings.Repeat("0,", 400<<10) + "0 0 * * *", "password_policy": strings.Repeat("a", 257), "verify_ca_cert": strings.Repeat("A", 65<<10),
			"rotation_period": data{"a": secret}, "history_size": secret, "verify": []any{secret}, "password": []any{data{"a": secret}},
			"return_last_password": data{"a": []any{secret}}, "instance_ids": data{"a": secret}, "unknown": data{"a": secret},
		},
	} {
		for name, value := range fields {
			_, err := team.Write(m.path+"/"+path, data{name: value})
			require.Equal(t, 400, statusCode(err), "%s of %s: %s", name, path, message(err))
			require.Contains(t, message(err), name)
			require.NotContains(t, message(err), secret)
			require.Less(t, len(message(err)), 300)
			_, err = team.JSONMergePatch(t.Context(), m.path+"/"+path, data{name: value})
			require.Equal(t, 400, statusCode(err), "%s of %s: %s", name, path, message(err))
			require.NotContains(t, message(err), secret)
		}
	}
	m.workingCreds("team-b-1", role)
}

// A remote system that knows a password, and puts it into its answers, does not make Vault show it to whoever may read status.
func TestRequestIDsCarryNoPassword(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	var form atomic.Int32
	const honest = "5f0c1d2e3b4a59687766554433229911"
	reversed := func(text string) string {
		out := []byte(text)
		slices.Reverse(out)
		return string(out)
	}
	forms := []func(hexed string) string{
		func(hexed string) string { return hexed },
		reversed,
		func(hexed string) string {
			raw, err := hex.DecodeString(hexed)
			if err != nil {
				return ""
			}
			return hex.EncodeToString([]byte(reversed(string(raw))))
		},
		func(h string) string {
			return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
		},
		func(string) string { return "not an ID" },
	}
	account := m.account("app")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodPut {
			_, _ = fmt.Fprintf(w, `{"accounts":[{"account_id":%q,"account_name":"app","account_type":"normal","status":"AVAILABLE"}]}`, account["account_id"])
			return
		}
		var sent struct {
			Password string `json:"new_password"`
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &sent)
		id := honest
		if at := int(form.Load()); at < len(forms) {
			id = forms[at](hex.EncodeToString([]byte(sent.Password))[:32])
		}
		secrets.Add("what a remote system was sent", sent.Password)
		w.Header().Set("X-Request-Id", id)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error_code":"DCS.4201","error_msg":%q,"request_id":%q}`, sent.Password, id)
	}))
	t.Cleanup(server.Close)
	m.must("config/hostile", with(m.cloud(), data{"url": server.URL, "insecure_tls": true, "ca_cert": "", "verify_connection": false}))
	m.must("roles/web", with(account, data{"connection": "hostile", "skip_initial_rotation": true, "disable_automated_rotation": true}))
	reader := m.as(`path "MOUNT/status/*" { capabilities = ["read"] }`).client().Logical()
	for at := range len(forms) + 1 {
		form.Store(int32(at))
		_, err := m.write("rotate-role/web", data{"force": true})
		require.Equal(t, 400, statusCode(err), message(err))
		status, err := reader.Read(m.path + "/status/web")
		require.NoError(t, err)
		if at < len(forms) {
			require.NotContains(t, status.Data, "last_error_request", "form %d", at)
			continue
		}
		require.Equal(t, honest, status.Data["last_error_request"])
	}
	log, err := os.ReadFile(m.vault.LogFile())
	require.NoError(t, err)
	require.Positive(t, bytes.Count(log, []byte(honest)), "the log has IDs at all")
}

package simulator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fresh is a password that every system accepts.
const fresh = "Gk8!Wq2_Zt5@Lm3x"

type bench struct {
	*testing.T
	*Simulator
	client *http.Client
}

func start(t *testing.T) *bench { return startWith(t, Config{}) }

func startWith(t *testing.T, config Config) *bench {
	s, err := Start(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.NoError(t, s.Switch("plesk", "alias_api", "allowed"))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CAPEM()))
	client := &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return &bench{T: t, Simulator: s, client: client}
}

func (b *bench) initial(system string) string {
	if system == "plesk" {
		return b.InitialState().Plesk.Aliases[0].Password
	}
	return b.InitialState().DCS.Instances[0].Accounts[1].Password
}

func (b *bench) target(system string) string {
	if system == "plesk" {
		return "ops1"
	}
	in := b.InitialState().DCS.Instances[0]
	return in.ID + "/" + in.Accounts[1].ID
}

// request builds the request that sets the password of the first alias or ACL
// account.
func (b *bench) request(ctx context.Context, system string) *http.Request {
	var method, url, body, contentType string
	if system == "plesk" {
		method, url, contentType = http.MethodPost, b.PleskURL()+"/enterprise/control/agent.php", "text/xml"
		body = "<packet><server><set-admin-alias><filter><login>ops1</login></filter><data><password>" + fresh + "</password></data></set-admin-alias></server></packet>"
	} else {
		in := b.InitialState().DCS.Instances[0]
		method, contentType = http.MethodPut, "application/json"
		url = fmt.Sprintf("%s/v2/%s/instances/%s/accounts/%s/password/modify", b.DCSURL(), in.ProjectID, in.ID, in.Accounts[1].ID)
		body = fmt.Sprintf(`{"old_password":%q,"new_password":%q}`, b.initial(system), fresh)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(b, err)
	r.Header.Set("Content-Type", contentType)
	if system == "plesk" {
		r.Header["KEY"] = []string{b.InitialState().Plesk.SecretKeys[0].Key}
	} else {
		huaweicloud.Sign(r, []byte(body), b.InitialState().HuaweiCloud.AccessKeys[0], b.Now())
	}
	return r
}

// do sends a request and reads the entire response.
func (b *bench) do(r *http.Request) (int, http.Header, string, error) {
	response, err := b.client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(body), err
}

func (b *bench) login(system, password string) error {
	if system == "plesk" {
		return b.LoginPlesk("ops1", password)
	}
	return b.LoginRedis("app", password)
}

// changed reports whether the new password is in force, which it proves by
// logging in.
func (b *bench) changed(system string) bool {
	var refused *login.RefusedError
	err := b.login(system, fresh)
	if err == nil {
		require.ErrorAs(b, b.login(system, b.initial(system)), &refused)
		return true
	}
	require.ErrorAs(b, err, &refused)
	require.NoError(b, b.login(system, b.initial(system)))
	return false
}

func TestChangedPasswordLogsIn(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs"} {
		require.False(t, b.changed(system))
		status, _, body, err := b.do(b.request(t.Context(), system))
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status, body)
		assert.True(t, b.changed(system))
		assert.Equal(t, 1, b.MaxConcurrentChanges(system, b.target(system)))
	}
	assert.Equal(t, 1, b.Plesk("ops1").Changes)
	assert.Equal(t, 1, b.DCS(b.target("dcs")).Changes)
	assert.Zero(t, b.AccessKeys()[0].Locks)
}

func TestSetPasswordBypassesTheAPI(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs"} {
		require.NoError(t, b.SetPassword(system, b.target(system), fresh))
		assert.True(t, b.changed(system))
		require.ErrorContains(t, b.SetPassword(system, "nobody", fresh), "nobody")
	}
}

func (b *bench) control(method, path, body string) (int, string) {
	r, err := http.NewRequestWithContext(b.Context(), method, b.ControlURL()+path, strings.NewReader(body))
	require.NoError(b, err)
	status, _, answer, err := b.do(r)
	require.NoError(b, err)
	return status, answer
}

func TestHelpListsEverySwitchAndFault(t *testing.T) {
	b := start(t)
	_, help := b.control(http.MethodGet, "/", "")
	for _, kind := range lab.Kinds {
		require.Regexp(t, `(?m)^  .*\b`+string(kind)+`\b`, help)
	}
	for name, system := range b.systems {
		for _, setting := range system.Switches().Names() {
			require.Regexp(t, `(?m)^  `+name+` +`+setting+` +\S`, help)
		}
	}
	require.Regexp(t, `(?m)^  plesk +unknown_login +1013\|no-result$`, help)
}

func TestControlAPIMatchesMethods(t *testing.T) {
	b := start(t)
	ok := func(method, path, body string) string {
		status, answer := b.control(method, path, body)
		require.Equal(t, http.StatusOK, status, answer)
		return answer
	}
	assert.Contains(t, ok("GET", "/", ""), "PUT    /v1/faults")
	ok("PUT", "/v1/faults", `{"system":"plesk","target":"ops1","kind":"refuse","count":1}`)
	assert.Contains(t, ok("GET", "/v1/faults", ""), `"kind": "refuse"`)
	_, _, body, err := b.do(b.request(t.Context(), "plesk"))
	require.NoError(t, err)
	assert.Contains(t, body, "<errcode>1038</errcode>")
	assert.Contains(t, ok("GET", "/v1/journal?system=plesk&target=ops1", ""), `"fault": "refuse"`)
	ok("DELETE", "/v1/journal", "")
	assert.NotContains(t, ok("GET", "/v1/journal", ""), "refuse")
	ok("DELETE", "/v1/faults?system=plesk", "")
	assert.NotContains(t, ok("GET", "/v1/faults", ""), "refuse")

	ok("PUT", "/v1/switches", `{"system":"plesk","language":"de","pretty":true}`)
	before := b.Now()
	ok("POST", "/v1/clock", `{"advance_seconds":3600}`)
	assert.GreaterOrEqual(t, b.Now().Sub(before), time.Hour)
	ok("PUT", "/v1/passwords", `{"system":"dcs","target":"`+b.target("dcs")+`","password":"`+fresh+`"}`)
	assert.True(t, b.changed("dcs"))
	assert.Contains(t, ok("GET", "/v1/state", ""), b.target("dcs"))
	ok("PUT", "/v1/passwords", `{"system":"mediatemple","target":"556/root","password":"`+fresh+`"}`)
	require.NoError(t, b.LoginSSH(b.SSHAddress("556"), "root", fresh))
}

func TestControlAPIExplainsErrors(t *testing.T) {
	b := start(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"explode"}`, "unknown fault kind"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"late","variant":"held","delay_ms":5}`, "not both"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"stall","variant":"held"}`, "unknown variant"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"throttle","retry_after_date":true}`, "retry_after"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"cut","color":1}`, "unknown field"},
		{"PUT", "/v1/faults", `{"system":"cpanel","target":"*","kind":"cut"}`, "unknown system"},
		{"PUT", "/v1/faults", `{"system":"plesk","kind":"cut"}`, "needs a target"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"cut","operations":["fly"]}`, "unknown operation"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"cut","applied":true}`, "omit applied"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"throttle","variant":"xml"}`, "unknown variant"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"ops1","kind":"unreachable"}`, "whole system"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"unreachable","count":1}`, "cannot be counted"},
		{"PUT", "/v1/faults", `{"system":"plesk","target":"*","kind":"cut","count":-1}`, "negative"},
		{"PUT", "/v1/faults", `{"system":"redis","target":"*","kind":"huge"}`, "busy, cut and unreachable"},
		{"PUT", "/v1/faults", `not JSON`, "reading JSON"},
		{"PUT", "/v1/switches", `{"system":"plesk","policy":"silly"}`, "must be one of"},
		{"PUT", "/v1/switches", `{"system":"redis","policy":"silly"}`, "unknown system"},
		{"PUT", "/v1/switches", `{"system":"ssh","hang":{"nobody":true}}`, "no such host"},
		{"PUT", "/v1/passwords", `{"system":"ssh","target":"556","password":"x"}`, "belongs to ecs or mediatemple"},
		{"PUT", "/v1/passwords", `{"system":"panel","target":"556","password":"x"}`, "belongs to mediatemple"},
		{"PUT", "/v1/switches", `{"system":"mediatemple","http_status":99}`, "200 to 599"},
		{"PUT", "/v1/switches", `{"system":"plesk","nothing":true}`, "unknown switch"},
		{"PUT", "/v1/switches", `{"policy":"weak"}`, "system is missing"},
		{"PUT", "/v1/switches", `{"system":"plesk"}`, "names no switch"},
		{"POST", "/v1/clock", `{}`, "advance_seconds is missing"},
		{"PUT", "/v1/passwords", `{"system":"plesk","target":"ops1"}`, "password is missing"},
		{"PUT", "/v1/passwords", `{"system":"plesk","target":"ops9","password":"x"}`, "no login"},
		{"POST", "/v1/restart", `{"system":"mediatemple","target":"556"}`, "nothing to restart"},
		{"POST", "/v1/restart", `{"system":"ecs","target":"556"}`, "no host"},
		{"POST", "/v1/restart", `{"server":"556"}`, "unknown field"},
		{"GET", "/v1/journal?who=me", ``, "unknown parameter"},
	} {
		status, answer := b.control(c.method, c.path, c.body)
		assert.Equal(t, http.StatusBadRequest, status, c.body)
		assert.Contains(t, answer, c.want)
	}
}

func TestStateAndJournalHoldNoSecrets(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs"} {
		_, _, _, err := b.do(b.request(t.Context(), system))
		require.NoError(t, err)
	}
	_, err := b.setService("root", fresh)
	require.NoError(t, err)
	require.Error(t, b.LoginSSH(b.SSHAddress("556"), fresh, fresh))
	require.Error(t, b.LoginPanel("556", fresh))
	_, state := b.control("GET", "/v1/state", "")
	_, journal := b.control("GET", "/v1/journal", "")
	secrets := []string{fresh}
	for _, a := range b.InitialState().MediaTemple.Accounts {
		secrets = append(secrets, a.APIKeys...)
	}
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				if s, ok := inner.(string); ok && (strings.Contains(name, "password") || strings.Contains(name, "token") || name == "key" || name == "secret_key") {
					secrets = append(secrets, s)
				}
				collect(inner)
			}
		case []any:
			for _, inner := range v {
				collect(inner)
			}
		}
	}
	raw, err := json.Marshal(b.InitialState())
	require.NoError(t, err)
	var decoded any
	require.NoError(t, json.NewDecoder(bytes.NewReader(raw)).Decode(&decoded))
	collect(decoded)
	require.Greater(t, len(secrets), 24)
	for _, secret := range secrets {
		assert.NotContains(t, state, secret)
		assert.NotContains(t, journal, secret)
	}
}

func TestStateCanBeWrittenAndReadBack(t *testing.T) {
	state, err := ReadState([]byte(`{"plesk":{"admin_password":"a","aliases":[{"login":"x","password":"y"}]}}`))
	require.NoError(t, err)
	assert.Equal(t, "x", state.Plesk.Aliases[0].Login)
	assert.NotEmpty(t, state.DCS.Instances)
	b := start(t)
	written, err := json.Marshal(b.Output())
	require.NoError(t, err)
	state, err = ReadState(written)
	require.NoError(t, err)
	assert.Equal(t, b.InitialState(), state, "the output of one run can be the input of the next")
	state, err = ReadState([]byte(`{"mediatemple":{"accounts":[{"api_keys":["k"],"services":[{"id":7,"root_password":"r"}]}]}}`))
	require.NoError(t, err)
	assert.Equal(t, int64(7), state.MediaTemple.Accounts[0].Services[0].ID)
	_, err = ReadState([]byte(`{"huaweicloud":{"domain_name":"x"}}`))
	require.ErrorContains(t, err, "needs a project")
	_, err = ReadState([]byte(`{"plesk":{"color":1}}`))
	require.ErrorContains(t, err, "unknown field")
	_, err = Start(t.Context(), Config{Plesk: "nowhere:-1"})
	require.ErrorContains(t, err, "listening on")
}

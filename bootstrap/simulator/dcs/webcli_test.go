package dcs

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func (b *bench) webCLI(operation, body string) (int, map[string]any) {
	return b.send(http.MethodPost, "/instances/i1/webcli/"+operation, body, "application/json")
}

// enter returns the status, and the client_id or the error code.
func (b *bench) enter(secret string) (int, any) {
	body, err := json.Marshal(map[string]string{"password": secret})
	require.NoError(b, err)
	status, fields := b.webCLI("auth", string(body))
	if status == http.StatusOK {
		require.NotEmpty(b, fields["client_id"])
		return status, fields["client_id"]
	}
	return status, fields["error_code"]
}

func (b *bench) sessions() int {
	b.service.mu.Lock()
	defer b.service.mu.Unlock()
	return b.service.instances[0].open(b.lab.Clock.Now())
}

func TestWebCLIOpensAndClosesSessions(t *testing.T) {
	b := newBench(t)
	for _, secret := range []string{good, "app:" + good, "report:" + good} {
		status, session := b.enter(secret)
		require.Equal(t, http.StatusOK, status)
		assert.Equal(t, 1, b.sessions())
		body, err := json.Marshal(map[string]any{"client_id": session})
		require.NoError(t, err)
		status, fields := b.webCLI("logout", string(body))
		assert.Equal(t, http.StatusNoContent, status)
		assert.Empty(t, fields)
		assert.Zero(t, b.sessions())
		status, fields = b.webCLI("logout", string(body))
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Equal(t, "DCS.4005", fields["error_code"])
	}
	b.enter(good)
	b.lab.Clock.Advance(4 * time.Minute)
	assert.Equal(t, 1, b.sessions())
	b.lab.Clock.Advance(time.Minute)
	assert.Zero(t, b.sessions(), "ends by itself")
	entries := b.lab.Journal.List(Name, "i1/a")
	require.Len(t, entries, 1)
	assert.Equal(t, webCLIAuth, entries[0].Operation)
	assert.Equal(t, "ok", entries[0].Result)
	assert.False(t, entries[0].Applied)
}

func TestWebCLIRefusesWrongPassword(t *testing.T) {
	b := newBench(t)
	for _, secret := range []string{other, "app:" + other, "app:", "nobody:" + good, "app:" + good + "x", "default:" + good} {
		status, code := b.enter(secret)
		assert.Equal(t, http.StatusBadRequest, status, secret)
		assert.Equal(t, "DCS.4080", code, secret)
	}
	assert.Zero(t, b.sessions())
	assert.Equal(t, LoginState{WebCLI: 3, Most: 3}, b.service.Account("i1/a").Logins)
	assert.Equal(t, LoginState{WebCLI: 6, Most: 6}, b.service.Logins())
	assert.Zero(t, b.service.Account("i1/a").Failed, "does not count towards the lock")
	for value, want := range map[string]struct {
		status int
		code   string
	}{"401": {401, "DCS.4080"}, "403": {403, "DCS.4080"}, "500": {500, "DCS.5000"}} {
		b.flip("webcli_refusal", `"`+value+`"`)
		status, code := b.enter("app:" + other)
		assert.Equal(t, want.status, status)
		assert.Equal(t, want.code, code)
	}
}

func TestInvalidWebCLIRequestsAreRefused(t *testing.T) {
	login := `{"password":"app:` + good + `"}`
	for _, c := range []struct {
		name, path, body, contentType string
		flip                          [2]string
		status                        int
		code                          string
	}{
		{name: "unknown instance", path: "/instances/x/webcli/auth", status: 404, code: "DCS.3022"},
		{name: "unknown operation", path: "/instances/i1/webcli/commands", status: 404, code: "APIGW.0101"},
		{name: "not running", flip: [2]string{"instance_status", `"RESTARTING"`}, status: 400, code: "DCS.4049"},
		{name: "no password", body: `{}`, status: 400, code: "DCS.4845"},
		{name: "empty password", body: `{"password":""}`, status: 400, code: "DCS.4845"},
		{name: "number", body: `{"password":1}`, status: 400, code: "DCS.4005"},
		{name: "other field", body: `{"password":"x","client_id":"y"}`, status: 400, code: "DCS.4005"},
		{name: "no JSON", body: `password=x`, status: 400, code: "DCS.4005"},
		{name: "form", contentType: "application/x-www-form-urlencoded", status: 400, code: "APIGW.0201"},
		{name: "logout without session", path: "/instances/i1/webcli/logout", body: `{}`, status: 400, code: "DCS.4005"},
		{name: "logout with password", path: "/instances/i1/webcli/logout", body: login, status: 400, code: "DCS.4005"},
	} {
		b := newBench(t)
		if c.flip[0] != "" {
			b.flip(c.flip[0], c.flip[1])
		}
		path, body, contentType := c.path, c.body, c.contentType
		if path == "" {
			path = "/instances/i1/webcli/auth"
		}
		if body == "" {
			body = login
		}
		if contentType == "" {
			contentType = "application/json"
		}
		status, fields := b.send(http.MethodPost, path, body, contentType)
		assert.Equal(t, c.status, status, c.name)
		assert.Equal(t, c.code, fields["error_code"], c.name)
		assert.Zero(t, b.service.Logins().WebCLI, c.name)
		assert.Zero(t, b.sessions(), c.name)
	}
	b := newBench(t)
	b.keys[0].SecretKey = "wrong"
	status, fields := b.webCLI("auth", login)
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "APIGW.0301", fields["error_code"])
	b = newBench(t)
	b.service.instances[0].EngineVersion = "3.0"
	_, code := b.enter(good)
	assert.Equal(t, "DCS.4022", code)
}

func TestPasswordFreeWebCLITakesAnyPassword(t *testing.T) {
	b := newBench(t)
	b.flip("no_password_access", "true")
	status, _ := b.enter("app:" + other)
	assert.Equal(t, http.StatusOK, status)
	status, _ = b.webCLI("auth", "{}")
	assert.Equal(t, http.StatusOK, status)
}

func TestWebCLISwitchLimitsItToDefaultAccount(t *testing.T) {
	b := newBench(t)
	b.flip("webcli_login", `"default"`)
	status, _ := b.enter(good)
	assert.Equal(t, http.StatusOK, status)
	_, code := b.enter("app:" + good)
	assert.Equal(t, "DCS.4080", code)
	assert.Equal(t, 1, b.service.Account("i1/a").Logins.WebCLI)
}

func TestWebCLISwitchCountsTowardsLock(t *testing.T) {
	b := newBench(t)
	b.flip("webcli_counts", "true")
	for range 4 {
		b.enter("app:" + other)
	}
	assert.Equal(t, 4, b.service.Account("i1/a").Failed)
	result, left := b.modify("wrong", other)
	assert.Equal(t, "passwordFailed", result)
	assert.Equal(t, "0", left)
	_, code := b.enter("app:" + good)
	assert.Equal(t, "DCS.4115", code)
	assert.Equal(t, 1, b.service.Account("i1/a").Locks)
	b.lab.Clock.Advance(lockTime + time.Second)
	status, _ := b.enter("app:" + good)
	assert.Equal(t, http.StatusOK, status)
}

func TestWebCLITakesPreviousPasswordWhileUpdating(t *testing.T) {
	b := newBench(t)
	b.flip("settle_ms", "30000")
	b.modify(good, other)
	status, _ := b.enter("app:" + good)
	assert.Equal(t, http.StatusOK, status)
	_, code := b.enter("app:" + other)
	assert.Equal(t, "DCS.4080", code)
	b.lab.Clock.Advance(31 * time.Second)
	status, _ = b.enter("app:" + other)
	assert.Equal(t, http.StatusOK, status)
	_, code = b.enter("app:" + good)
	assert.Equal(t, "DCS.4080", code)
}

func TestFaultsReachWebCLI(t *testing.T) {
	b := newBench(t)
	fault := func(kind lab.Kind) {
		require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "i1/a", Kind: kind, Count: 1, Operations: []string{lab.OpLogin}}))
	}
	for kind, want := range map[lab.Kind]string{lab.Refuse: "DCS.4080", lab.Busy: "DCS.4115", lab.RejectTarget: "DCS.3022", lab.Err500: "DCS.5000", lab.Deny: "APIGW.0301"} {
		fault(kind)
		status, _ := b.enter("report:" + good)
		assert.Equal(t, http.StatusOK, status, "another account")
		_, code := b.enter("app:" + good)
		assert.Equal(t, want, code)
	}
	assert.Equal(t, 1, b.service.Account("i1/a").Logins.WebCLI, "a fault that refuses counts")
	fault(lab.NoSuccess)
	status, fields := b.webCLI("auth", `{"password":"app:`+good+`"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.NotContains(t, fields, "client_id")
}

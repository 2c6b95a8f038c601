package dcs

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

const (
	good  = "Gk8#Wq2~Zt5!Lm3x"
	other = "Xk8#Wq2~Zt5!Lm3y"
	third = "Yk8#Wq2~Zt5!Lm3z"
)

type bench struct {
	*testing.T
	service *Service
	lab     *lab.Lab
	keys    []huaweicloud.AccessKey
	project string
}

func newBench(t *testing.T) *bench {
	l := lab.New(nil)
	t.Cleanup(l.Close)
	cloudState := huaweicloud.DefaultState()
	cloud, err := huaweicloud.New(l, cloudState)
	require.NoError(t, err)
	project := cloudState.Projects[0].ID
	service, err := New(t.Context(), l, cloud, State{Instances: []Instance{{
		ID: "i1", Name: "one", ProjectID: project, EngineVersion: "5.0", Accounts: []Account{
			{ID: "d", Name: "default", Type: "default", Password: good},
			{ID: "a", Name: "app", Password: good},
			{ID: "r", Name: "report", Role: "read", Password: good},
		},
	}}}, "")
	require.NoError(t, err)
	return &bench{T: t, service: service, lab: l, keys: cloudState.AccessKeys, project: project}
}

func (b *bench) flip(name, value string) {
	require.NoError(b, b.service.Switch(name, json.RawMessage(value)))
}

// send sends a signed request and returns the status and the decoded body.
func (b *bench) send(method, path, body, contentType string) (int, map[string]any) {
	r := httptest.NewRequest(method, "https://dcs.example.com/v2/"+b.project+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	huaweicloud.Sign(r, []byte(body), b.keys[0], b.lab.Clock.Now())
	w := httptest.NewRecorder()
	b.service.ServeHTTP(w, r)
	fields := map[string]any{}
	if w.Code != http.StatusNoContent {
		require.NoError(b, json.Unmarshal(w.Body.Bytes(), &fields), w.Body.String())
	}
	return w.Code, fields
}

func (b *bench) change(operation, body string) (int, map[string]any) {
	return b.send(http.MethodPut, "/instances/i1/accounts/a/password/"+operation, body, "application/json;charset=UTF-8")
}

// modify returns result and retry_times_left, or the error code.
func (b *bench) modify(old, fresh string) (string, any) {
	body, err := json.Marshal(map[string]string{"old_password": old, "new_password": fresh})
	require.NoError(b, err)
	_, fields := b.change("modify", string(body))
	if code, ok := fields["error_code"].(string); ok {
		return code, nil
	}
	result, ok := fields["result"].(string)
	require.True(b, ok)
	return result, fields["retry_times_left"]
}

func TestPasswordRulesMatchDocumentation(t *testing.T) {
	for password, want := range map[string]bool{
		good: true, "Abcdef12": true, "abcdef1!": true, "`~!@#$%^&*()-_=+|{},<.>/?\\Aa": true, strings.Repeat("Aa1!", 16): true,
		"Abcde12": false, strings.Repeat("Aa1!", 16) + "a": false, "abcdefgh": false, "Abcdefgh": false, "abcdef12": false,
		"Abcdef1:": false, "Abc def1": false, "Abcdef1[": false, "Abcdef1]": false, "Abcdef1;": false, "Abcdef1'": false, `Abcdef1"`: false,
		"Abcdef1ä": false, "Xapp1234!": false, "XAPP1234!": false, "Xppa1234!": false, "": false,
	} {
		assert.Equal(t, want, acceptable("app", password), "%q", password)
	}
}

func TestModifyNeedsTheOldPassword(t *testing.T) {
	b := newBench(t)
	status, fields := b.change("modify", `{"old_password":"`+good+`","new_password":"`+other+`"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, map[string]any{"lock_time": "0", "result": "success", "lock_time_left": "0", "retry_times_left": "5",
		"message": "Modify DCSInstance password success."}, fields)
	result, _ := b.modify(other, third)
	assert.Equal(t, "success", result)
	result, left := b.modify(other, good)
	assert.Equal(t, "passwordFailed", result)
	assert.Equal(t, "4", left)
	entries := b.lab.Journal.List(Name, "i1/a")
	require.Len(t, entries, 3)
	assert.True(t, entries[0].Applied)
	assert.False(t, entries[2].Applied)
}

func TestFiveWrongOldPasswordsLockTheAccount(t *testing.T) {
	b := newBench(t)
	for _, left := range []string{"4", "3", "2", "1"} {
		result, got := b.modify("wrong", other)
		assert.Equal(t, "passwordFailed", result)
		assert.Equal(t, left, got)
	}
	result, _ := b.modify(good, other)
	assert.Equal(t, "success", result, "only failures in a row count")
	for range 5 {
		result, _ = b.modify("wrong", third)
		assert.Equal(t, "passwordFailed", result)
	}
	_, fields := b.change("modify", `{"old_password":"`+other+`","new_password":"`+third+`"}`)
	assert.Equal(t, "locked", fields["result"], "the right password does not help")
	assert.Equal(t, "5", fields["lock_time_left"])
	assert.Equal(t, "0", fields["retry_times_left"])
	b.lab.Clock.Advance(3 * time.Minute)
	_, fields = b.change("modify", `{"old_password":"`+other+`","new_password":"`+third+`"}`)
	assert.Equal(t, "2", fields["lock_time_left"])
	assert.Equal(t, 1, b.service.Account("i1/a").Locks)
	b.lab.Clock.Advance(2*time.Minute + time.Second)
	result, _ = b.modify(other, third)
	assert.Equal(t, "success", result)
}

func TestInvalidChangesAreRefused(t *testing.T) {
	both := func(old, fresh string) string { return `{"old_password":"` + old + `","new_password":"` + fresh + `"}` }
	for _, c := range []struct {
		name, path, body, contentType string
		flip                          [2]string
		status                        int
		code                          string
	}{
		{name: "unknown instance", path: "/instances/x/accounts/a/password/modify", status: 404, code: "DCS.3022"},
		{name: "unknown account", path: "/instances/i1/accounts/x/password/modify", status: 404, code: "DCS.3022"},
		{name: "unknown account, switched", path: "/instances/i1/accounts/x/password/modify", flip: [2]string{"unknown_account", `"400"`}, status: 400, code: "DCS.4961"},
		{name: "default account", path: "/instances/i1/accounts/d/password/modify", status: 400, code: "DCS.4961"},
		{name: "unknown path", path: "/instances/i1/accounts/a/password/change", status: 404, code: "APIGW.0101"},
		{name: "instance not running", flip: [2]string{"instance_status", `"RESTARTING"`}, status: 400, code: "DCS.4049"},
		{name: "password-free", flip: [2]string{"no_password_access", "true"}, status: 400, code: "DCS.4850"},
		{name: "account being changed", flip: [2]string{"account_status", `"UPDATING"`}, status: 400, code: "DCS.4115"},
		{name: "account in error", flip: [2]string{"account_status", `"ERROR"`}, status: 400, code: "DCS.4961"},
		{name: "weak", body: both(good, "abcdefgh"), status: 400, code: "DCS.4961"},
		{name: "weak, other code", body: both(good, "abcdefgh"), flip: [2]string{"refusal_code", `"DCS.4019"`}, status: 400, code: "DCS.4019"},
		{name: "the same again", body: both(good, good), status: 400, code: "DCS.4961"},
		{name: "no old password", body: `{"new_password":"` + other + `"}`, status: 400, code: "DCS.4961"},
		{name: "no new password", body: `{"old_password":"` + good + `"}`, status: 400, code: "DCS.4961"},
		{name: "wrong old, other code", body: both("wrong", other), flip: [2]string{"wrong_old", `"DCS.4080"`}, status: 400, code: "DCS.4080"},
		{name: "unknown field", body: `{"old_password":"` + good + `","new_password":"` + other + `","x":1}`, status: 400, code: "DCS.4961"},
		{name: "number as password", body: `{"old_password":"` + good + `","new_password":12345678}`, status: 400, code: "DCS.4961"},
		{name: "no JSON", body: `old_password=x`, status: 400, code: "DCS.4961"},
		{name: "two values", body: both(good, other) + "{}", status: 400, code: "DCS.4961"},
		{name: "no body", body: " ", status: 400, code: "DCS.4961"},
		{name: "form", contentType: "application/x-www-form-urlencoded", status: 400, code: "APIGW.0201"},
		{name: "latin 1", contentType: "application/json; charset=latin1", status: 400, code: "APIGW.0201"},
	} {
		b := newBench(t)
		if c.flip[0] != "" {
			b.flip(c.flip[0], c.flip[1])
		}
		path, body, contentType := c.path, c.body, c.contentType
		if path == "" {
			path = "/instances/i1/accounts/a/password/modify"
		}
		if body == "" {
			body = both(good, other)
		}
		if contentType == "" {
			contentType = "application/json"
		}
		status, fields := b.send(http.MethodPut, path, body, contentType)
		assert.Equal(t, c.status, status, c.name)
		assert.Equal(t, c.code, fields["error_code"], c.name)
		assert.Equal(t, 0, b.service.Account("i1/a").Changes, c.name)
		if c.name != "wrong old, other code" {
			assert.Equal(t, 0, b.service.Account("i1/a").Failed, c.name+": costs no strike")
		}
	}
}

func TestResetNeedsNoOldPassword(t *testing.T) {
	b := newBench(t)
	for range 5 {
		b.modify("wrong", other)
	}
	status, fields := b.change("reset", `{"new_password":"`+other+`"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.NotContains(t, fields, "result")
	assert.NotContains(t, fields, "error_code")
	result, _ := b.modify(other, third)
	assert.Equal(t, "success", result, "the reset ended the lock")
	status, _ = b.change("reset", `{"new_password":"`+third+`"}`)
	assert.Equal(t, http.StatusOK, status, "setting the same password again succeeds")
	status, _ = b.change("reset", `{"new_password":"weak"}`)
	assert.Equal(t, http.StatusBadRequest, status)
}

// status returns the status of an account in the list.
func (b *bench) status(account int) any {
	_, fields := b.send(http.MethodGet, "/instances/i1/accounts", "", "")
	accounts, ok := fields["accounts"].([]any)
	require.True(b, ok)
	fields, ok = accounts[account].(map[string]any)
	require.True(b, ok)
	return fields["status"]
}

func TestChangeTakesEffectWhenAccountIsAvailable(t *testing.T) {
	for result, want := range map[string]struct{ status, opens, fails string }{
		"new":   {"AVAILABLE", other, good},
		"error": {"ERROR", good, other},
	} {
		b := newBench(t)
		address := b.open()
		b.flip("settle_ms", "30000")
		b.flip("settle_result", `"`+result+`"`)
		got, _ := b.modify(good, other)
		assert.Equal(t, "success", got)
		assert.Equal(t, "UPDATING", b.status(1))
		assert.Equal(t, "+OK", dial(t, address).do("AUTH", "app:"+good), "the previous password works")
		assert.Contains(t, dial(t, address).do("AUTH", "app:"+other), "-ERR")
		got, _ = b.modify(good, third)
		assert.Equal(t, "DCS.4115", got)
		b.lab.Clock.Advance(31 * time.Second)
		assert.Equal(t, "+OK", dial(t, address).do("AUTH", "app:"+want.opens))
		assert.Contains(t, dial(t, address).do("AUTH", "app:"+want.fails), "-ERR")
		assert.Equal(t, want.status, b.status(1))
		assert.Equal(t, result == "new", b.lab.Journal.List(Name, "i1/a")[0].Applied)
	}
}

func TestChangesInProgressCanBeCompleted(t *testing.T) {
	b := newBench(t)
	b.flip("settle_ms", "3600000")
	b.modify(good, other)
	b.flip("settle_ms", "0")
	assert.Equal(t, "AVAILABLE", b.status(1))
	result, _ := b.modify(other, third)
	assert.Equal(t, "success", result)
}

func TestBusyFaultUsesChosenCode(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "*", Kind: lab.Busy, Operations: []string{lab.OpChange, lab.OpList, lab.OpCheck}}))
	for _, code := range busyCodes {
		b.flip("busy_code", `"`+code+`"`)
		result, _ := b.modify(good, other)
		assert.Equal(t, code, result)
		for _, path := range []string{"/instances", "/instances/i1", "/instances/i1/accounts"} {
			status, fields := b.send(http.MethodGet, path, "", "")
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Equal(t, code, fields["error_code"])
		}
	}
	require.Error(t, b.service.Switch("busy_code", json.RawMessage(`"DCS.4961"`)), "a refusal")
}

func TestShapeSwitchChangesAnswers(t *testing.T) {
	b := newBench(t)
	b.flip("shape", `"null"`)
	_, fields := b.change("modify", `{"old_password":"`+good+`","new_password":"`+other+`"}`)
	assert.Contains(t, fields, "retry_times_left")
	assert.Nil(t, fields["retry_times_left"])
	b.flip("shape", `"numbers"`)
	_, left := b.modify(good, third)
	assert.InDelta(t, 4, left, 0)
	b.flip("shape", `"absent"`)
	_, left = b.modify(good, third)
	assert.Nil(t, left)
	b.flip("result", `"Success"`)
	result, _ := b.modify(other, third)
	assert.Equal(t, "Success", result)
	b.flip("fifth_failure", `"locked"`)
	for range 4 {
		b.modify("wrong", good)
	}
	result, _ = b.modify("wrong", good)
	assert.Equal(t, "locked", result)
}

func TestInstancesAndAccountsAreListed(t *testing.T) {
	b := newBench(t)
	_, fields := b.send(http.MethodGet, "/instances?limit=10", "", "")
	assert.InDelta(t, 1, fields["instance_num"], 0)
	status, _ := b.send(http.MethodGet, "/instances?limit=0", "", "")
	assert.Equal(t, http.StatusBadRequest, status)
	_, fields = b.send(http.MethodGet, "/instances/i1", "", "")
	assert.Equal(t, "RUNNING", fields["status"])
	_, fields = b.send(http.MethodGet, "/instances/i1/accounts", "", "")
	accounts, ok := fields["accounts"].([]any)
	require.True(t, ok)
	require.Len(t, accounts, 3)
	assert.Equal(t, map[string]any{"account_id": "a", "account_name": "app", "account_type": "normal", "instance_id": "i1",
		"status": "AVAILABLE", "account_role": "write", "description": "", "error_code": nil}, accounts[1])
}

package dcs

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Documented DCS responses, and broken variants.
var responseSeeds = []string{
	`{"lock_time":"0","result":"success","lock_time_left":"0","retry_times_left":"5","message":"Modify DCSInstance password success."}`,
	`{"lock_time":null,"result":"passwordFailed","retry_times_left":"4"}`, `{"result":"passwordFailed","retry_times_left":0,"lock_time_left":"5"}`,
	`{"result":"locked","lock_time":"5","lock_time_left":"5","retry_times_left":"0"}`, `{"result":"locked","lock_time_left":"99999999999999999999"}`, `{"result":"Locked","lock_time_left":-5}`,
	`{"result":"failed"}`, `{"result":"Failed","message":"x"}`, `{"result":["success"]}`, `{"result":"success","error_code":"DCS.5000"}`,
	`{"result":"success","error_code":{"error_code":"DCS.5000"}}`, `{"result":"success","error":"x"}`, `{"result":null}`, `{"result":"SUCCESS"}`, `{"result":"succeeded"}`,
	`{"code":"200","message":"ok","lock_time":null,"lock_time_left":null,"retry_times_left":null}`, `{"code":"DCS.4961","message":"m"}`,
	`{"error_code":"DCS.4961","error_msg":"Acl account request param invalid."}`, `{"error_code":"DCS.4019","error_msg":"m","error_ext_msg":null}`,
	`{"error_code":"DCS.4080"}`, `{"error_code":"DCS.4017"}`, `{"error_code":"DCS.4049"}`, `{"error_code":"DCS.4104"}`, `{"error_code":"DCS.4115"}`,
	`{"error_code":"DCS.4845"}`, `{"error_code":"DCS.4850"}`, `{"error_code":"DCS.3022"}`, `{"error_code":"DCS.1001"}`, `{"error_code":"APIGW.0201"}`,
	`{"error":{"code":"111404022","message":"m"}}`, `{"error":{"code":401,"message":"m","title":"Unauthorized"}}`,
	`{"accounts":[{"account_id":"acc-1","account_name":"app","account_type":"normal","instance_id":"inst-1","status":"AVAILABLE","account_role":"write"}]}`,
	`{"accounts":[{"account_id":"acc-1","account_name":"app","account_type":"default","status":"AVAILABLE"}]}`,
	`{"accounts":[{"account_id":"acc-1","account_name":"app","account_type":"normal","status":"UPDATING"},{"account_id":"acc-1"}]}`,
	`{"accounts":[{"account_id":"acc-1","account_name":"app","account_type":"super","status":"AVAILABLE"}]}`,
	`{"accounts":[null]}`, `{"accounts":{}}`, `{"instances":[],"instance_num":0}`,
	`{"client_id":"c-1","databases":256}`, `{"client_id":""}`, `{"client_id":"c-1","error_code":"DCS.4080"}`, `{"client_id":4711}`, `{"client_id":null}`,
	`{"instance_id":"inst-1","no_password_access":"false"}`, `{"no_password_access":true}`, `{"no_password_access":false,"error_code":"x"}`,
	`{"error_code":"DCS.1004"}`, `{"error_code":"APIG.0301"}`, `{"error_code":"APIGW.0301"}`,
	`{}`, `[]`, `null`, ``, `"success"`, `<html>`, `{"result":"success"}{"result":"failed"}`, `{"result":"failed","result":"success"}`, strings.Repeat(`{"result":`, 300),
}

// No response causes a panic. A response counts as a success only if it is a 200 that says so: modify by its result,
// reset by the absence of an error, a list by the account that the role names, a login by its session. Only a 400 with the
// code for a wrong password refuses one.
func FuzzResponse(f *testing.F) {
	for _, seed := range responseSeeds {
		for _, status := range []int{200, 204, 302, 400, 401, 403, 404, 429, 500, 503} {
			f.Add(status, "60", []byte(seed))
		}
	}
	opened, err := Type{}.Open(provider.Connection{URL: "https://dcs.example.com", Settings: provider.Settings{
		"access_key": "AK1", "secret_key": "Test-Secret-Key.4711", "project_id": "p1",
	}})
	if err != nil {
		f.Fatal(err)
	}
	client, ok := opened.(*Client)
	if !ok {
		f.Fatalf("unexpected client type: %T", opened)
	}
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{"Retry-After": {after}}, Body: body}
		var modify, reset, find, check, show, login provider.Result
		var proof provider.Proof
		var session string
		providertest.Bounded(t, len(body), func() {
			modify, reset = client.changeOutcome(response, methodModify), client.changeOutcome(response, methodReset)
			find = client.findOutcome(response, account{instanceID: "inst-1", accountID: "acc-1", username: "app"})
			check = client.api.CheckOutcome(response, "", refusal)
			show = client.needsPasswordOutcome(response)
			login, proof, session = client.loginOutcome(response)
		})

		object := providertest.Decoded(body)
		sound := status == http.StatusOK && object != nil && !providertest.SaysError(object)
		said, _ := object["result"].(string)
		if modify.Outcome == provider.Applied && (!sound || !strings.EqualFold(said, "success")) {
			t.Fatalf("modify: taken for a success: %d %q", status, body)
		}
		if code, _ := object["code"].(string); reset.Outcome == provider.Applied &&
			(!sound || said != "" && !strings.EqualFold(said, "success") || strings.HasPrefix(strings.ToUpper(code), "DCS.")) {
			t.Fatalf("reset: taken for a success: %d %q", status, body)
		}
		if find.Outcome == provider.Applied && (!sound || !hasAccount(object)) {
			t.Fatalf("taken for a list with the account: %d %q", status, body)
		}
		if check.Outcome == provider.Applied && !sound {
			t.Fatalf("taken for a list of instances: %d %q", status, body)
		}
		if open := fmt.Sprint(object["no_password_access"]); show.Outcome == provider.Applied && (!sound || open != "false") {
			t.Fatalf("taken for an instance with passwords: %d %q", status, body)
		}
		id := object["client_id"]
		denied := status == http.StatusBadRequest && object["error_code"] == "DCS.4080"
		if proof.Verdict == provider.Works && (!sound || id == nil || id == "" || session != fmt.Sprint(id)) || proof.Verdict == provider.Refused != denied ||
			(proof.Verdict == provider.CannotTell) == (login.Outcome == provider.Applied) || proof.Reason == "" {
			t.Fatalf("unproven login: %v %v of %d %q", proof, login, status, body)
		}
		wrong := strings.EqualFold(said, "passwordFailed") && sound || status == http.StatusBadRequest && object["error_code"] == "DCS.4080"
		for name, out := range map[string]provider.Result{"modify": modify, "reset": reset, "find": find, "check": check, "show": show} {
			if out.Outcome == provider.Staged || out.Outcome == provider.Mismatch && !wrong || out.Exclusive && name != "modify" {
				t.Fatalf("%s: unproven outcome: %v of %d %q", name, out, status, body)
			}
			if out.Outcome.Unchanged() && status >= http.StatusInternalServerError {
				t.Fatalf("%s: a crash is taken for a refusal: %v of %d %q", name, out, status, body)
			}
			if out.Reason == "" || out.RetryAfter < 0 || out.RetryAfter > time.Hour || out.TriesLeft != nil && (*out.TriesLeft < 0 || *out.TriesLeft > maxTries) || len(out.Code) > 40 {
				t.Fatalf("%s: out of bounds: %v of %d %q", name, out, status, body)
			}
		}
	})
}

// hasAccount reports whether a list contains the test's account with status available.
func hasAccount(object map[string]any) bool {
	list, _ := object["accounts"].([]any)
	for _, entry := range list {
		a, _ := entry.(map[string]any)
		if fmt.Sprint(a["account_id"]) == "acc-1" && a["account_name"] == "app" && a["account_type"] == "normal" && strings.EqualFold(fmt.Sprint(a["status"]), "AVAILABLE") {
			return true
		}
	}
	return false
}

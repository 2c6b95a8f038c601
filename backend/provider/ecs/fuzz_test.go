package ecs

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// No response causes a panic. A response counts as a success only if it names every server, and no server gets two
// results.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		`{"instances":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}]}`,
		`{"instances":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17","name":"n","server_id":"s","state":"running","operation_state":"install-succeed"}],"page_info":{"next_marker":"m"},"count":2}`,
		`{"instances":[{"id":"0197F36D-D83B-7258-B177-3784B7887A17","state":"stopped"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19","operation_state":"reinstall-processing"}]}`,
		`{"response":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}]}`,
		`{"response":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}],"error":{"code":"Ecs.0219","message":"m"},"internalError":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17","error_code":"Ecs.0205","error_message":"m"}]}`,
		`{"error":{"code":"Ecs.0005","message":"m"},"internalError":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19","error_code":"ECS.0005"},{"id":"0197f36d-d83b-7258-b177-3784b7887a17"}]}`,
		`{"error":{"code":"Ecs.0603","message":"m"}}`, `{"error":{"code":"Ecs.0610","message":"m"}}`, `{"error_code":"iMetal.0101","error_msg":"m"}`,
		`{"error":{"code":"Ecs.0005","message":"m"}}`, `{"error_code":"APIGW.0301","error_msg":"m"}`, `{"itemNotFound":{"code":404}}`,
		`{"resetpwd_flag":"True"}`, `{"resetpwd_flag":"False"}`, `{"instances":[null]}`, `{"response":null}`,
		`{"instances":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}],"error_code":{"error_code":"x"}}`,
		`{"response":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}],"error":"x"}`,
		`{"response":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"}]}`, `{"response":[{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"},{"id":"7"}]}`,
		`{"response":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"},{"id":"7"}]}`,
		`{"instances":[{"id":"0197f36d-d83b-7258-b177-3784b7887a17"},{"id":"616fb98f-46ca-475e-917e-2563e5a8cd19"},{"id":"7"}]}`,
		`{"resetpwd_flag":true}`, `{"resetpwd_flag":"True","error":{}}`, strings.Repeat(`{"response":`, 300),
		`{}`, `[]`, `null`, ``, `"success"`, `<html>`,
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 403, 404, 408, 409, 429, 500, 501, 503} {
			f.Add(status, []byte(seed))
		}
	}
	ids := []string{"0197f36d-d83b-7258-b177-3784b7887a17", "616fb98f-46ca-475e-917e-2563e5a8cd19"}
	// The name of the list of servers that took the password, by service.
	lists := map[string]string{"instances": "instances", "cloudservers": "response"}
	opened, err := Type{}.Open(provider.Connection{URL: "https://ecs.example.com", Settings: provider.Settings{
		"access_key": "AK1", "secret_key": "Test-Secret-Key.4711", "project_id": "p1", "api": apiInstances,
	}})
	if err != nil {
		f.Fatal(err)
	}
	c, ok := opened.(*instances)
	if !ok {
		f.Fatalf("unexpected client type: %T", opened)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{}, Body: body}
		var outcomes map[string]provider.Result
		var list instanceList
		var plugin string
		var check provider.Result
		providertest.Bounded(t, len(body), func() {
			outcomes = map[string]provider.Result{
				"instances":    instancesOutcome(response, c.api.Refusal(response), ids),
				"cloudservers": cloudServersOutcome(response, c.api.Refusal(response), ids),
			}
			list, plugin = readInstances(response, ids), flag(response)
			check = c.api.CheckOutcome(response, "instances", instancesRefusal)
		})
		object := providertest.Decoded(body)
		sound := status == http.StatusOK && object != nil && !providertest.SaysError(object)
		for service, out := range outcomes {
			named, isList := providertest.IDs(object[lists[service]], "id")
			slices.Sort(named)
			if out.Outcome == provider.Applied || out.Outcome == provider.Staged && (!sound || !isList || !slices.Equal(slices.Compact(named), ids)) {
				t.Fatalf("%s: taken for a success: %d %q", service, status, body)
			}
			if len(out.Taken) > 0 && len(without(out.Taken, named)) > 0 {
				t.Fatalf("%s: servers that the response does not name count as changed: %v of %d %q", service, out.Taken, status, body)
			}
			another := status == http.StatusNotImplemented && out.Outcome == provider.Busy && busyCodes.MatchString(out.Code)
			if out.Outcome.Unchanged() && !another && (status < 200 || status > 499 || status == http.StatusOK && len(out.Failures) == 0) {
				t.Fatalf("%s: taken for a refusal: %d %q", service, status, body)
			}
			said := slices.Clone(out.Taken)
			for _, failure := range out.Failures {
				said = append(said, failure.Part)
				if failure.Code != "" && !cloudServerCodes.MatchString(failure.Code) {
					t.Fatalf("%s: not an error code: %q", service, failure.Code)
				}
			}
			slices.Sort(said)
			if len(slices.Compact(slices.Clone(said))) != len(said) || len(without(said, ids)) > 0 {
				t.Fatalf("%s: two results for a server, or one for another server: %v of %q", service, said, body)
			}
			if (out.Stage != "") != (out.Outcome == provider.Staged || len(out.Taken) > 0) {
				t.Fatalf("%s: unexpected stage: %s", service, fmt.Sprint(out))
			}
		}
		if !list.unreadable && len(list.missing)+len(list.busy)+len(list.moving)+len(list.resting) > len(ids) {
			t.Fatalf("two results for a server: %v of %q", list, body)
		}
		if !list.unreadable && (object["instances"] == nil || providertest.SaysError(object)) {
			t.Fatalf("taken for a list: %q", body)
		}
		if value, _ := object["resetpwd_flag"].(string); plugin != "" && (!sound || !strings.EqualFold(value, plugin)) {
			t.Fatalf("taken for a flag: %d %q", status, body)
		}
		if check.Outcome == provider.Applied && (!sound || object["instances"] == nil) {
			t.Fatalf("taken for a list of instances: %d %q", status, body)
		}
	})
}

package ecs

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// No response to a restart causes a panic, or proves more than it contains.
func FuzzRestartResponse(f *testing.F) {
	const id = "616fb98f-46ca-475e-917e-2563e5a8cd19"
	for _, seed := range []string{
		`{"physical_servers":[{"id":"` + id + `"}]}`, `{"physical_servers":[{"id":"` + id + `"},{"id":"7"}]}`, `{"physical_servers":[{}]}`,
		`{"physical_servers":[{"id":"` + id + `"}],"error_code":"CloudDC.1"}`, `{"physical_servers":null}`,
		`{"id":"` + id + `","power_state":"on","project_id":"p1"}`, `{"id":"` + id + `","power_state":"off","project_id":"p2"}`,
		`{"id":"` + id + `","power_state":1,"project_id":null,"error":{}}`,
		`{"server":{"id":"` + id + `","status":"ACTIVE"}}`, `{"server":{"id":"` + id + `","status":null},"error":{"code":"Ecs.0005"}}`, `{"server":[]}`,
		`{"job_id":"` + id + `"}`, `{"job_id":"` + id + `","status":"SUCCESS","error_code":null}`, `{"job_id":"` + id + `","status":"SUCCESS","error_code":"Ecs.0000"}`,
		`{"job_id":"` + id + `","status":"FAIL","error_code":"Ecs.0000"}`, `{"job_id":"` + id + `","status":"RUNNING","entities":{"sub_jobs":[]}}`, `{"job_id":{}}`,
		`{"error":{"code":"Ecs.0603","message":"m"}}`, `{"error_code":"iMetal.0101","error_msg":"m"}`, `{"error_code":"APIGW.0302"}`,
		`{}`, `[]`, `null`, ``, `"success"`, `<html>`,
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 403, 404, 409, 429, 500, 501} {
			f.Add(status, []byte(seed))
		}
	}
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
		var power, server, machine, reboot, job provider.Result
		var powerState, serverStatus, jobID string
		var progress provider.Progress
		providertest.Bounded(t, len(body), func() {
			power = powerOutcome(response, c.api.Refusal(response), id)
			powerState, machine = c.powerState(response, instancesRefusal(response, c.api.Refusal(response)), id)
			serverStatus, server = statusOutcome(response, c.api.Refusal(response), id)
			reboot, jobID = rebootOutcome(response, c.api.Refusal(response))
			job, progress = jobOutcome(response, c.api.Refusal(response), id)
		})
		object := providertest.Decoded(body)
		sound := status == http.StatusOK && object != nil && !providertest.SaysError(object)
		is := func(value any, want string) bool {
			text, _ := value.(string)
			return strings.EqualFold(text, want)
		}
		for name, result := range map[string]provider.Result{"power": power, "machine": machine, "server": server, "reboot": reboot, "job": job} {
			another := status == http.StatusNotImplemented && busyCodes.MatchString(result.Code)
			elsewhere := name == "machine" && sound && is(object["id"], id) // of another project
			if result.Outcome.Unchanged() && !another && !elsewhere && (status < 400 || status > 499) {
				t.Fatalf("%s: taken for a refusal: %d %q", name, status, body)
			}
			failedJob := name == "job" && progress == provider.RestartFailed
			if result.Outcome == provider.Applied && !sound && !failedJob {
				t.Fatalf("%s: taken for a success: %d %q", name, status, body)
			}
		}
		ids, _ := providertest.IDs(object["physical_servers"], "id")
		slices.Sort(ids)
		if power.Outcome == provider.Applied && !slices.Equal(slices.Compact(ids), []string{id}) {
			t.Fatalf("another server: %q", body)
		}
		if machine.Outcome == provider.Applied && !is(object["id"], id) || powerState != "" && machine.Outcome != provider.Applied {
			t.Fatalf("taken for a physical server: %q", body)
		}
		inner, _ := object["server"].(map[string]any)
		if server.Outcome == provider.Applied && !is(inner["id"], id) || serverStatus != "" && server.Outcome != provider.Applied {
			t.Fatalf("taken for a server: %q", body)
		}
		if (jobID != "") != (reboot.Outcome == provider.Applied) || jobID != "" && !serverIDs.MatchString(jobID) {
			t.Fatalf("taken for a job: %q", body)
		}
		restarted, failed := is(object["status"], "SUCCESS") && sound, is(object["status"], "FAIL") && status == http.StatusOK
		if !is(object["job_id"], id) && progress != provider.Restarting || progress == provider.Restarted && !restarted || progress == provider.RestartFailed && !failed {
			t.Fatalf("%s: %d %q", progress, status, body)
		}
	})
}

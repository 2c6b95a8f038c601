package ecs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPasswordRulesMatchDocumentation(t *testing.T) {
	for _, c := range []struct {
		password     string
		metal, cloud bool
	}{
		{second, true, true}, {"Abcdef12", true, true}, {"abcdef1!", true, true}, {"!@%-_=+[]:./?Aa", true, true}, {strings.Repeat("Aa", 13), false, false},
		{strings.Repeat("Aa1", 8) + "Aa", true, true}, {strings.Repeat("Aa1", 9), false, false}, {"Abcde1!", false, false}, {"abcdef12", false, false},
		{"Abcdef1{", true, false}, {"Abcdef1}", true, false}, {"Abcdef1^", true, false}, {"Abcdef1,", true, false}, {"Abcdef1$", true, false},
		{"Abcdef1#", false, false}, {"Abcdef1&", false, false}, {"Abcdef1*", false, false}, {"Abcdef1~", false, false}, {"Abcdef1;", false, false},
		{"Abcdef1 ", false, false}, {"Abcdef1ä", false, false}, {"Abcdef1（", false, false}, {"Abc1root", false, false}, {"Abc1TOOR", false, false},
		{"Xy1Administrator", true, false}, {"Xy1rotartsinimda", true, false}, {"Xyz1-Minx", true, false}, {"Xyz1-TRAy", true, false}, {"Xyz1-Amdi", true, true},
		{"", false, false},
	} {
		assert.Equal(t, c.metal, acceptableMetal("root", c.password), "CloudDC %q", c.password)
		assert.Equal(t, c.cloud, acceptableCloud(c.password), "Elastic Cloud Server %q", c.password)
	}
	assert.False(t, acceptableMetal("Administrator", "Xy1administrator"))
	assert.True(t, acceptableMetal("Administrator", "Abc1root"))
}

func TestBatchResetWaitsForRestart(t *testing.T) {
	b := newBench(t)
	got := b.reset(second, "shut", "c1", "shut", "c2")
	assert.Equal(t, 200, got.status)
	assert.JSONEq(t, `{"response":[{"id":"shut"},{"id":"c1"},{"id":"c2"}]}`, got.body)
	b.admits(first, "c1", "c2")
	for _, id := range []string{"shut", "c1", "c2"} {
		require.NoError(t, b.service.Restart(id))
	}
	b.admits(second, "shut", "c1", "c2")
}

func TestInvalidBatchesAreRefused(t *testing.T) {
	body := func(rest string) string { return `{"new_password":"` + second + `",` + rest + `}` }
	for _, c := range []struct{ name, body, contentType, code string }{
		{name: "no password", body: `{"servers":[{"id":"c1"}]}`, code: "Ecs.0005"},
		{name: "empty password", body: `{"new_password":"","servers":[{"id":"c1"}]}`, code: "Ecs.0005"},
		{name: "no servers", body: `{"new_password":"` + second + `"}`, code: "Ecs.0005"},
		{name: "empty list", body: body(`"servers":[]`), code: "Ecs.0005"},
		{name: "a server without an id", body: body(`"servers":[{"id":"c1"},{}]`), code: "Ecs.0005"},
		{name: "ids as strings", body: body(`"servers":["c1"]`), code: "Ecs.0005"},
		{name: "1001 servers", body: body(`"servers":[{"id":"c1"}` + strings.Repeat(`,{"id":"c1"}`, 1000) + `]`), code: "Ecs.0005"},
		{name: "dry_run as a string", body: body(`"dry_run":"true","servers":[{"id":"c1"}]`), code: "Ecs.0005"},
		{name: "unknown field", body: body(`"x":1,"servers":[{"id":"c1"}]`), code: "Ecs.0005"},
		{name: "CloudDC's list", body: body(`"instance_id_set":["c1"]`), code: "Ecs.0005"},
		{name: "no JSON", body: `x`, code: "Ecs.0005"},
		{name: "too weak", body: `{"new_password":"weak","servers":[{"id":"c1"}]}`, code: "Ecs.0011"},
		{name: "CloudDC's specials", body: `{"new_password":"Abcdef1{","servers":[{"id":"c1"}]}`, code: "Ecs.0011"},
		{name: "too weak, dry", body: `{"new_password":"weak","dry_run":true,"servers":[{"id":"c1"}]}`, code: "Ecs.0011"},
		{name: "form", body: body(`"servers":[{"id":"c1"}]`), contentType: "application/x-www-form-urlencoded", code: "APIGW.0201"},
	} {
		b := newBench(t)
		r := httptest.NewRequest(http.MethodPut, "https://ecs.example.com/v1/"+b.project+"/cloudservers/os-reset-passwords", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		if c.contentType == "" {
			r.Header.Set("Content-Type", "application/json")
		}
		b.sign(r, []byte(c.body))
		got := b.do(b.service.CloudServers(), r)
		assert.Equal(t, 400, got.status, c.name)
		assert.Equal(t, c.code, got.code(), c.name)
		assert.NotContains(t, got.body, second, c.name)
		assert.Zero(t, b.service.Host("c1").Changes, c.name)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	b := newBench(t)
	run := func(body string) reply { return b.server(http.MethodPut, "cloudservers/os-reset-passwords", body) }
	got := run(`{"dry_run":true,"servers":[{"id":"c1"},{"id":"bare"}]}`)
	assert.Equal(t, 200, got.status)
	assert.Equal(t, []string{"c1", "bare"}, names(got.fields["response"]))
	assert.Equal(t, 200, run(`{"new_password":"`+second+`","dry_run":true,"servers":[{"id":"c1"}]}`).status)
	got = run(`{"dry_run":true,"servers":[{"id":"c1"},{"id":"nobody"}]}`)
	assert.Equal(t, 400, got.status)
	assert.Equal(t, []string{"nobody"}, names(got.fields["internalError"]))
	require.NoError(t, b.service.Restart("c1"))
	b.admits(first, "c1")
	assert.Zero(t, b.service.Host("c1").Changes)
	assert.Zero(t, b.lab.MaxConcurrentChanges()[Name+"/c1"], "a dry run is not a change")
}

func TestServersInABatchFailIndependently(t *testing.T) {
	b := newBench(t)
	b.flip("partial", `{"c2":"Ecs.0319"}`)
	got := b.reset(second, "c1", "nobody", "c2", "stranger", "m1")
	assert.Equal(t, 400, got.status)
	assert.Equal(t, "Ecs.0611", got.code())
	assert.NotContains(t, got.fields, "response")
	var failed []string
	for _, item := range got.fields["internalError"].([]any) {
		object := item.(map[string]any)
		assert.NotEmpty(t, object["error_message"])
		failed = append(failed, fmt.Sprint(object["id"], " ", object["error_code"]))
	}
	assert.Equal(t, []string{"nobody Ecs.0114", "c2 Ecs.0319", "stranger Ecs.0114", "m1 Ecs.0114"}, failed)
	for _, id := range []string{"c1", "c2", "stranger", "m1"} {
		require.NoError(t, b.service.Restart(id))
	}
	b.admits(second, "c1")
	b.admits(first, "c2", "stranger", "m1")
	var noted []string
	for _, e := range b.lab.Journal.List(Name, "") {
		noted = append(noted, fmt.Sprint(e.Target, " ", e.Result, " ", e.Applied))
	}
	assert.Equal(t, []string{"c1 ok true", "nobody Ecs.0114 false", "c2 Ecs.0319 false", "stranger Ecs.0114 false", "m1 Ecs.0114 false"}, noted)

	b.flip("partial_response", `"present"`)
	b.flip("partial_status", `"200"`)
	got = b.reset(third, "c1", "c2")
	assert.Equal(t, 200, got.status)
	assert.Equal(t, []string{"c1"}, names(got.fields["response"]))
	assert.Equal(t, []string{"c2"}, names(got.fields["internalError"]))
	b.flip("partial_status", `"500"`)
	assert.Equal(t, 500, b.reset(third, "c2").status)
	b.flip("partial", `{}`)
	assert.Equal(t, 200, b.reset(third, "c1", "c2").status)
}

func TestResetWithoutPluginChangesNothing(t *testing.T) {
	b := newBench(t)
	got := b.reset(second, "bare", "c1")
	assert.Equal(t, 200, got.status)
	assert.Equal(t, []string{"bare", "c1"}, names(got.fields["response"]), "the API reports no error")
	b.flip("guest_script", `"fails"`)
	assert.Equal(t, 200, b.reset(second, "c2").status)
	for _, id := range []string{"bare", "c1", "c2"} {
		require.NoError(t, b.service.Restart(id))
	}
	b.admits(first, "bare", "c2")
	b.admits(second, "c1")
	assert.False(t, b.lab.Journal.List(Name, "bare")[0].Applied)

	flag := func(id string) string {
		return b.server(http.MethodGet, "cloudservers/"+id+"/os-resetpwd-flag", "").body
	}
	assert.JSONEq(t, `{"resetpwd_flag":"False"}`, flag("bare"))
	assert.JSONEq(t, `{"resetpwd_flag":"True"}`, flag("c1"))
	assert.Contains(t, flag("stranger"), "Ecs.0114")
	b.flip("plugin", `{"bare":true,"c1":false}`)
	assert.JSONEq(t, `{"resetpwd_flag":"True"}`, flag("bare"))
	assert.JSONEq(t, `{"resetpwd_flag":"False"}`, flag("c1"))
}

func TestServersInOtherStatesAreRefused(t *testing.T) {
	b := newBench(t)
	b.flip("stopped_servers", `"refuse"`)
	assert.Equal(t, []string{"shut"}, names(b.reset(second, "shut", "c1").fields["internalError"]))
	b.flip("server_status", `{"c2":"ERROR"}`)
	assert.Equal(t, []string{"c2"}, names(b.reset(second, "c2").fields["internalError"]))
	b.flip("server_status", `"ACTIVE"`)
	assert.Equal(t, 200, b.reset(second, "c2", "shut").status)
}

func TestSingleResetChecksPasswordOnRequest(t *testing.T) {
	b := newBench(t)
	one := func(id, password, check string) reply {
		return b.server(http.MethodPut, "cloudservers/"+id+"/os-reset-password", `{"reset-password":{"new_password":"`+password+`"`+check+`}}`)
	}
	got := one("c1", second, `,"is_check_password":true`)
	assert.Equal(t, 204, got.status)
	assert.Empty(t, got.body)
	b.admits(first, "c1")
	require.NoError(t, b.service.Restart("c1"))
	b.admits(second, "c1")
	assert.Equal(t, "Ecs.0011", one("c2", weak, `,"is_check_password":true`).code())
	assert.Zero(t, b.service.Host("c2").Changes)
	assert.Equal(t, 204, one("c2", weak, `,"is_check_password":false`).status)
	assert.Equal(t, 204, one("c2", weak, ``).status)
	require.NoError(t, b.service.Restart("c2"))
	assert.True(t, b.service.Admits("c2", "Administrator", weak))
	assert.Equal(t, 204, one("bare", second, ``).status, "the API reports no error")
	assert.Zero(t, b.service.Host("bare").Changes)
	assert.Equal(t, 404, one("stranger", second, ``).status)
	assert.Equal(t, "Ecs.0114", one("m1", second, ``).code())
	assert.Equal(t, "Ecs.0005", one("c1", "", ``).code())
	assert.Equal(t, "Ecs.0005", one("c1", third, `,"x":1`).code())
	assert.Equal(t, "Ecs.0005", b.server(http.MethodPut, "cloudservers/c1/os-reset-password", `{"new_password":"`+third+`"}`).code())
	b.flip("server_status", `{"c1":"BUILD"}`)
	assert.Equal(t, "Ecs.0100", one("c1", third, ``).code())
}

func (b *bench) reboot(kind string, ids ...string) reply {
	servers := make([]string, len(ids))
	for i, id := range ids {
		servers[i] = `{"id":"` + id + `"}`
	}
	return b.server(http.MethodPost, "cloudservers/action", `{"reboot":{"type":"`+kind+`","servers":[`+strings.Join(servers, ",")+`]}}`)
}

// lookAt returns the status of a job and of a cloud server.
func (b *bench) lookAt(job, id string) string {
	shown := b.server(http.MethodGet, "jobs/"+job, "").fields
	server := b.server(http.MethodGet, "cloudservers/"+id, "").fields["server"].(map[string]any)
	return fmt.Sprint(shown["status"], " ", server["status"])
}

func TestRebootRunsAsJob(t *testing.T) {
	for kind, status := range map[string]string{"SOFT": "REBOOT", "HARD": "HARD_REBOOT"} {
		b := newBench(t)
		b.flip("restart_lag_ms", "100")
		b.reset(second, "c1", "c2")
		got := b.reboot(kind, "c1", "c2")
		require.Equal(t, 200, got.status)
		id, _ := got.fields["job_id"].(string)
		require.NotEmpty(t, id)
		assert.Equal(t, "INIT ACTIVE", b.lookAt(id, "c1"))
		b.admits(first, "c1", "c2")
		b.lab.Clock.Advance(100 * time.Millisecond)
		assert.Equal(t, "RUNNING "+status, b.lookAt(id, "c1"))
		b.admits("", "c1", "c2")
		assert.Equal(t, []string{"c1"}, names(b.reset(third, "c1").fields["internalError"]))
		b.lab.Clock.Advance(500 * time.Millisecond)
		assert.Equal(t, "SUCCESS ACTIVE", b.lookAt(id, "c1"))
		b.admits(second, "c1", "c2")
		shown := b.server(http.MethodGet, "jobs/"+id, "").fields
		parts := shown["entities"].(map[string]any)["sub_jobs"].([]any)
		require.Len(t, parts, 2)
		assert.Equal(t, "SUCCESS", parts[0].(map[string]any)["status"])
		assert.Equal(t, map[string]any{"server_id": "c2"}, parts[1].(map[string]any)["entities"])
		b.lab.Clock.Advance(25 * time.Hour)
		assert.Equal(t, "Ecs.0005", b.server(http.MethodGet, "jobs/"+id, "").code(), "finished jobs are removed after a day")
	}
}

func TestJobFailsIfAServerFails(t *testing.T) {
	b := newBench(t)
	b.reset(second, "c1", "shut")
	id := b.reboot("SOFT", "c1", "shut").fields["job_id"].(string)
	assert.Equal(t, "RUNNING REBOOT", b.lookAt(id, "c1"), "not finished until all parts are")
	b.lab.Clock.Advance(time.Second)
	assert.Equal(t, "FAIL ACTIVE", b.lookAt(id, "c1"), "one of the servers is off")
	b.admits(second, "c1")
	shown := b.server(http.MethodGet, "jobs/"+id, "").fields
	assert.Equal(t, "Ecs.0000", shown["error_code"])
	assert.NotEmpty(t, shown["fail_reason"])
	assert.Equal(t, "SUCCESS", shown["entities"].(map[string]any)["sub_jobs"].([]any)[0].(map[string]any)["status"])

	b.flip("restart_result", `"fail"`)
	b.reset(third, "c1")
	id = b.reboot("HARD", "c1").fields["job_id"].(string)
	again := b.reboot("HARD", "c1").fields["job_id"].(string)
	assert.Equal(t, "FAIL ACTIVE", b.lookAt(again, "c1"), "the server is busy")
	assert.Equal(t, "RUNNING ACTIVE", b.lookAt(id, "c1"))
	b.lab.Clock.Advance(time.Second)
	assert.Equal(t, "FAIL ACTIVE", b.lookAt(id, "c1"))
	b.admits(second, "c1")
	assert.True(t, b.service.Host("c1").Pending)
}

func TestInvalidRebootsAreRefused(t *testing.T) {
	b := newBench(t)
	assert.Equal(t, "Ecs.0114", b.reboot("SOFT", "c1", "nobody").code())
	assert.Equal(t, "Ecs.0114", b.reboot("SOFT", "c1", "stranger").code())
	assert.Equal(t, "Ecs.0114", b.reboot("SOFT", "m1").code())
	assert.Equal(t, "Ecs.0005", b.reboot("WARM", "c1").code())
	assert.Equal(t, "Ecs.0005", b.reboot("SOFT").code())
	assert.Equal(t, "Ecs.0005", b.reboot("SOFT", "").code())
	assert.Equal(t, "Ecs.0005", b.server(http.MethodPost, "cloudservers/action", `{"os-stop":{"servers":[{"id":"c1"}]}}`).code())
	assert.Equal(t, "Ecs.0005", b.server(http.MethodPost, "cloudservers/action", `{}`).code())
	assert.False(t, b.service.Host("c1").Busy)
	b.flip("restart_ms", "0")
	assert.Equal(t, "SUCCESS ACTIVE", b.lookAt(b.reboot("HARD", "c2").fields["job_id"].(string), "c2"), "0: nothing to wait for")
	b.service.jobs = nil
	assert.Equal(t, "Ecs.0005", b.server(http.MethodGet, "jobs/nothing", "").code())
	id := b.reboot("SOFT", "c1").fields["job_id"].(string)
	b.service.jobs[0].projectID = b.state.Projects[1].ID
	assert.Equal(t, "Ecs.0005", b.server(http.MethodGet, "jobs/"+id, "").code(), "the job belongs to another project")
}

func TestShowAndListCloudServers(t *testing.T) {
	b := newBench(t)
	got := b.server(http.MethodGet, "cloudservers/c2", "").fields["server"].(map[string]any)
	assert.Equal(t, []any{"c2", "two", "ACTIVE", map[string]any{"os_type": "Windows"}}, []any{got["id"], got["name"], got["status"], got["metadata"]})
	assert.Equal(t, "Ecs.0114", b.server(http.MethodGet, "cloudservers/stranger", "").code())
	for query, want := range map[string][]string{
		"": {"c1", "c2", "bare", "shut"}, "?limit=3": {"c1", "c2", "bare"}, "?limit=3&offset=2": {"shut"}, "?limit=3&offset=3": {}, "?limit=1000": {"c1", "c2", "bare", "shut"},
	} {
		fields := b.server(http.MethodGet, "cloudservers/detail"+query, "").fields
		assert.Equal(t, want, names(fields["servers"]), query)
		assert.InDelta(t, 4, fields["count"], 0)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "offset=0", "offset=x", "name=one"} {
		assert.Equal(t, "Ecs.0005", b.server(http.MethodGet, "cloudservers/detail?"+query, "").code(), query)
	}
}

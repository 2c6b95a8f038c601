package ecs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestInstanceChangeWaitsForRestart(t *testing.T) {
	b := newBench(t)
	got := b.change(second, "m2", "w", "m2", "m1")
	assert.Equal(t, 200, got.status)
	assert.JSONEq(t, `{"instances":[{"id":"m2"},{"id":"w"},{"id":"m1"}]}`, got.body, "in the order of the request, without duplicates")
	b.admits(first, "m1", "m2", "w")
	assert.True(t, b.service.Host("m2").Pending)
	assert.Equal(t, 1, b.service.Host("m2").Changes)
	require.NoError(t, b.service.Restart("w"))
	b.admits(second, "w")
	b.admits(first, "m1")
	assert.False(t, b.service.Host("w").Pending)
	entries := b.lab.Journal.List(Name, "")
	require.Len(t, entries, 3, "one entry per host")
	for i, id := range []string{"m2", "w", "m1"} {
		want := lab.Entry{System: Name, Target: id, Operation: "ChangeInstancePassword", Result: "ok", Applied: true, Nth: 1}
		want.Time, want.Arrived = entries[i].Time, entries[i].Time
		assert.Equal(t, want, entries[i])
	}
}

func TestLastChangeBeforeRestartWins(t *testing.T) {
	b := newBench(t)
	b.change(second, "m1")
	b.change(third, "m1")
	b.reset(second, "c1")
	b.reset(third, "c1")
	require.NoError(t, b.service.Restart("m1"))
	require.NoError(t, b.service.Restart("c1"))
	b.admits(third, "m1", "c1")
	require.NoError(t, b.service.Restart("m1"))
	b.admits(third, "m1")
	assert.Equal(t, 2, b.service.Host("m1").Restarts)
}

func TestInstanceChangeIsAllOrNothing(t *testing.T) {
	for _, c := range []struct {
		name, ids, password string
		flip                [2]string
		status              int
		code                string
	}{
		{name: "unknown", ids: `["m1","nobody","m2"]`, code: metalMissing},
		{name: "unknown, switched to 403", ids: `["m1","nobody"]`, flip: [2]string{"unknown_id", `"403"`}, status: 403, code: metalMissing},
		{name: "unknown, switched to 404", ids: `["m1","nobody"]`, flip: [2]string{"unknown_id", `"404"`}, status: 404, code: metalMissing},
		{name: "of another project", ids: `["m1","alien"]`, code: metalMissing},
		{name: "a server's id", ids: `["m1","s-m2"]`, code: metalMissing},
		{name: "a cloud server's id", ids: `["m1","c1"]`, code: metalMissing},
		{name: "stopped", ids: `["m1","off"]`, code: metalState},
		{name: "in error", ids: `["m1","m2"]`, flip: [2]string{"instance_state", `{"m2":"error"}`}, code: metalState},
		{name: "being reinstalled", ids: `["m1","m2"]`, flip: [2]string{"operation_state", `{"m2":"reinstall-processing"}`}, code: metalNotReady},
		{name: "getting an address", ids: `["m1","m2"]`, flip: [2]string{"operation_state", `"modify-ip-processing"`}, code: metalNotReady},
		{name: "too weak, strict", ids: `["m1","m2"]`, password: "weak", flip: [2]string{"strict", "true"}, code: metalPassword},
		{name: "with the user's name, strict", ids: `["m1","w"]`, password: "Administrator1", flip: [2]string{"strict", "true"}, code: metalPassword},
		{name: "no ids", ids: `[]`, code: metalParameter},
		{name: "null", ids: `null`, code: metalParameter},
		{name: "an empty id", ids: `["m1",""]`, code: metalParameter},
		{name: "one id, no list", ids: `"m1"`, code: metalParameter},
		{name: "51 ids", ids: `["m1"` + strings.Repeat(`,"m1"`, 50) + `]`, code: metalParameter},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if c.flip[0] != "" {
				b.flip(c.flip[0], c.flip[1])
			}
			if c.password == "" {
				c.password = second
			}
			if c.status == 0 {
				c.status = 400
			}
			got := b.metal(http.MethodPut, "instances/password", `{"new_password":"`+c.password+`","instance_id_set":`+c.ids+`}`)
			assert.Equal(t, c.status, got.status)
			assert.Equal(t, c.code, got.code())
			assert.NotEmpty(t, got.fields["error_msg"])
			assert.NotContains(t, got.body, c.password)
			for _, id := range b.service.Hosts() {
				assert.Zero(t, b.service.Host(id).Changes, id)
				require.NoError(t, b.service.Restart(id))
			}
			b.flip("instance_state", `"running"`)
			b.admits(first, "m1", "m2", "w", "off", "alien")
			for _, e := range b.lab.Journal.List(Name, "") {
				assert.False(t, e.Applied)
			}
		})
	}
}

func TestCloudDCRequestsAreParsedStrictly(t *testing.T) {
	for _, c := range []struct{ name, body, contentType, code string }{
		{name: "no password", body: `{"instance_id_set":["m1"]}`, code: metalParameter},
		{name: "null as password", body: `{"new_password":null,"instance_id_set":["m1"]}`, code: metalParameter},
		{name: "empty password", body: `{"new_password":"","instance_id_set":["m1"]}`, code: metalParameter},
		{name: "number as password", body: `{"new_password":12345678,"instance_id_set":["m1"]}`, code: metalParameter},
		{name: "no list", body: `{"new_password":"` + second + `"}`, code: metalParameter},
		{name: "closed twice", body: `{"new_password":"` + second + `","instance_id_set":["m1"]}}`, code: metalParameter},
		{name: "unknown field", body: `{"new_password":"` + second + `","instance_id_set":["m1"],"id":"m1"}`, code: metalParameter},
		{name: "two values", body: `{"new_password":"` + second + `","instance_id_set":["m1"]}{}`, code: metalParameter},
		{name: "no JSON", body: `new_password=x`, code: metalParameter},
		{name: "nothing", body: ` `, code: metalParameter},
		{name: "form", contentType: "application/x-www-form-urlencoded", code: "APIGW.0201"},
		{name: "latin 1", contentType: "application/json; charset=latin1", code: "APIGW.0201"},
	} {
		b := newBench(t)
		body := c.body
		if body == "" {
			body = `{"new_password":"` + second + `","instance_id_set":["m1"]}`
		}
		r := httptest.NewRequest(http.MethodPut, "https://clouddc.example.com/v1/"+b.project+"/instances/password", strings.NewReader(body))
		r.Header.Set("Content-Type", c.contentType)
		if c.contentType == "" {
			r.Header.Set("Content-Type", "application/json")
		}
		b.sign(r, []byte(body))
		got := b.do(b.service.CloudDC(), r)
		assert.Equal(t, 400, got.status, c.name)
		assert.Equal(t, c.code, got.code(), c.name)
		assert.NotContains(t, got.body, second, c.name)
		assert.Zero(t, b.service.Host("m1").Changes, c.name)
	}
}

func TestChangeTakesUpToFiftyInstances(t *testing.T) {
	b := newBench(t)
	var state State
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("i%02d", i)
		state.Instances = append(state.Instances, Instance{ID: ids[i], ServerID: "s" + ids[i], ProjectID: b.project, Password: first})
	}
	var err error
	b.service, err = New(b.lab, b.cloud, state)
	require.NoError(t, err)
	got := b.change(second, ids...)
	assert.Equal(t, 200, got.status)
	assert.Equal(t, ids, names(got.fields["instances"]))
}

func TestInstancePasswordsAreCheckedOnlyIfStrict(t *testing.T) {
	b := newBench(t)
	assert.Equal(t, 200, b.change(weak, "m1").status)
	require.NoError(t, b.service.Restart("m1"))
	assert.True(t, b.service.Admits("m1", "root", weak))
	b.flip("strict", "true")
	b.flip("echo_password", "true")
	got := b.change(weak, "m1")
	assert.Equal(t, metalPassword, got.code())
	assert.Contains(t, got.body, "new_password=weak")
	assert.Equal(t, 200, b.change(second, "m1").status)
}

func TestSwitchAllowsStoppedInstances(t *testing.T) {
	b := newBench(t)
	b.flip("stopped_instances", `"allow"`)
	assert.Equal(t, 200, b.change(second, "off").status)
	require.NoError(t, b.service.Restart("off"))
	b.admits(second, "off")
}

func TestOmitSwitchHidesHosts(t *testing.T) {
	b := newBench(t)
	b.flip("omit", `1`)
	assert.Equal(t, []string{"m1"}, names(b.change(second, "m1", "m2").fields["instances"]))
	assert.Equal(t, 1, b.service.Host("m2").Changes, "the omitted host is changed too")
	assert.Equal(t, []string{"c1"}, names(b.reset(second, "c1", "c2").fields["response"]))
	b.flip("omit", `["m1","c1"]`)
	assert.JSONEq(t, `{"instances":[{"id":"m2"}]}`, b.change(second, "m1", "m2").body)
	assert.JSONEq(t, `{"response":[]}`, b.reset(second, "c1").body)
	b.flip("omit", `9`)
	assert.JSONEq(t, `{"instances":[]}`, b.change(second, "m1", "m2").body)
	b.flip("omit", `0`)
	assert.JSONEq(t, `{"instances":[{"id":"m1"}]}`, b.change(second, "m1").body)
}

func TestEffectiveSwitchAppliesChangesAtOnce(t *testing.T) {
	b := newBench(t)
	b.change(third, "m1")
	b.flip("effective", `"now"`)
	b.change(second, "m1")
	b.reset(second, "c1", "shut")
	b.admits(second, "m1", "c1")
	assert.False(t, b.service.Host("m1").Pending)
	assert.True(t, b.service.Host("shut").Pending, "a host that is down cannot apply it")
	require.NoError(t, b.service.Restart("m1"))
	b.admits(second, "m1")
}

func (b *bench) powerState(action string, ids ...string) reply {
	return b.metal(http.MethodPut, "physicalservers/power-state", `{"action":"`+action+`","server_id_set":`+quoted(ids)+`}`)
}

// look returns the state of an instance and the power state of its server.
func (b *bench) look(id string) string {
	instance := b.metal(http.MethodGet, "instances/"+id+"/status", "").fields
	server := b.metal(http.MethodGet, "physicalservers/s-"+id, "").fields
	return fmt.Sprint(instance["state"], " ", server["power_state"])
}

func TestRebootTakesTimeAndShows(t *testing.T) {
	b := newBench(t)
	b.flip("restart_lag_ms", "100")
	b.change(second, "m1")
	got := b.powerState("rebooting", "s-m1")
	assert.Equal(t, 200, got.status)
	assert.JSONEq(t, `{"physical_servers":[{"id":"s-m1"}]}`, got.body)
	for _, step := range []struct {
		wait time.Duration
		want string
		in   string
	}{
		{0, "running on", first}, {100 * time.Millisecond, "stopping on", ""}, {250 * time.Millisecond, "stopped off", ""},
		{250 * time.Millisecond, "running on", second},
	} {
		b.lab.Clock.Advance(step.wait)
		assert.Equal(t, step.want, b.look("m1"))
		b.admits(step.in, "m1")
		if step.in != second {
			assert.Equal(t, metalNotReady, b.powerState("rebooting", "s-m1").code(), "busy")
			assert.True(t, b.service.Host("m1").Busy)
		}
	}
	assert.Equal(t, 1, b.service.Host("m1").Restarts)
	assert.Equal(t, "m1", b.lab.Journal.List(Name, "m1")[1].Target, "the server's instance is the target")
}

func TestChangeDuringRestartIsRefused(t *testing.T) {
	b := newBench(t)
	b.powerState("rebooting", "s-m1")
	assert.Equal(t, metalNotReady, b.change(second, "m1").code())
	b.lab.Clock.Advance(time.Second)
	assert.Equal(t, 200, b.change(second, "m1").status)
	b.admits(first, "m1")
}

func TestPowerCycleAppliesPassword(t *testing.T) {
	b := newBench(t)
	b.flip("restart_ms", "0")
	b.change(second, "m1", "m2")
	assert.Equal(t, 200, b.powerState("power off", "s-m1", "s-m2", "s-m1").status)
	assert.Equal(t, "stopped off", b.look("m1"))
	b.admits("", "m1", "m2")
	assert.Equal(t, metalState, b.powerState("power off", "s-m1").code())
	assert.Equal(t, metalState, b.powerState("rebooting", "s-m1").code())
	b.flip("restart_ms", "200")
	assert.Equal(t, 200, b.powerState("power on", "s-m1").status)
	assert.Equal(t, "stopped off", b.look("m1"))
	b.lab.Clock.Advance(200 * time.Millisecond)
	assert.Equal(t, "running on", b.look("m1"))
	b.admits(second, "m1")
	b.admits("", "m2")
	assert.Equal(t, metalState, b.powerState("power on", "s-m1").code())
}

func TestInvalidPowerRequestsAreRefused(t *testing.T) {
	for _, c := range []struct{ name, body, code string }{
		{"an instance's id", `{"action":"rebooting","server_id_set":["m1"]}`, metalMissing},
		{"unknown", `{"action":"rebooting","server_id_set":["s-m1","nobody"]}`, metalMissing},
		{"of another project", `{"action":"rebooting","server_id_set":["s-m1","s-alien"]}`, metalMissing},
		{"one is off", `{"action":"rebooting","server_id_set":["s-m1","s-off"]}`, metalState},
		{"one is on", `{"action":"power on","server_id_set":["s-off","s-m1"]}`, metalState},
		{"no action", `{"server_id_set":["s-m1"]}`, metalParameter},
		{"unknown action", `{"action":"reboot","server_id_set":["s-m1"]}`, metalParameter},
		{"no servers", `{"action":"rebooting"}`, metalParameter},
		{"empty list", `{"action":"rebooting","server_id_set":[]}`, metalParameter},
		{"51 ids", `{"action":"rebooting","server_id_set":["s-m1"` + strings.Repeat(`,"s-m1"`, 50) + `]}`, metalParameter},
		{"unknown field", `{"action":"rebooting","server_id_set":["s-m1"],"type":"SOFT"}`, metalParameter},
	} {
		b := newBench(t)
		got := b.metal(http.MethodPut, "physicalservers/power-state", c.body)
		assert.Equal(t, 400, got.status, c.name)
		assert.Equal(t, c.code, got.code(), c.name)
		for _, id := range []string{"m1", "off"} {
			assert.False(t, b.service.Host(id).Busy, c.name)
		}
	}
}

func TestRestartCanFail(t *testing.T) {
	b := newBench(t)
	b.flip("restart_result", `"fail"`)
	b.change(second, "m1")
	assert.Equal(t, 200, b.powerState("rebooting", "s-m1").status)
	assert.Equal(t, "running on", b.look("m1"))
	b.lab.Clock.Advance(time.Second)
	assert.Equal(t, "running on", b.look("m1"))
	b.admits(first, "m1")
	assert.True(t, b.service.Host("m1").Pending)
	assert.Zero(t, b.service.Host("m1").Restarts)
}

func TestInstanceListCanBeFiltered(t *testing.T) {
	b := newBench(t)
	got := b.metal(http.MethodGet, "instances?limit=1000", "")
	assert.Equal(t, []string{"m1", "m2", "w", "off"}, names(got.fields["instances"]), "only those of the project")
	assert.InDelta(t, 4, got.fields["count"], 0)
	one := got.fields["instances"].([]any)[0].(map[string]any)
	assert.Equal(t, []any{"m1", "one", "s-m1", "running", "install-succeed"}, []any{one["id"], one["name"], one["server_id"], one["state"], one["operation_state"]})
	for query, want := range map[string][]string{
		"instance_id=m2,off": {"m2", "off"}, "instance_id=m2,nobody,alien": {"m2"}, "server_id=s-w,s-m1": {"m1", "w"}, "server_id=m1": {},
		"instance_state=stopped": {"off"}, "instance_id=m1&instance_state=stopped": {}, "marker=m2": {"w", "off"}, "marker=off": {}, "instance_id=": {},
	} {
		got = b.metal(http.MethodGet, "instances?"+query, "")
		assert.Equal(t, 200, got.status, query)
		assert.Equal(t, want, names(got.fields["instances"]), query)
	}
	for _, query := range []string{"limit=x", "marker=alien", "instance_state=asleep", "instance_id=m1&server_id=s-m1", "name=one", "limit=10&limit=11",
		"instance_id=m1" + strings.Repeat(",m1", 100)} {
		assert.Equal(t, metalParameter, b.metal(http.MethodGet, "instances?"+query, "").code(), query)
	}
	b.flip("operation_state", `{"m1":"reinstall-processing"}`)
	assert.JSONEq(t, `{"state":"running","operation_state":"reinstall-processing"}`, b.metal(http.MethodGet, "instances/m1/status", "").body)
	for _, path := range []string{"instances/alien/status", "instances/c1/status", "physicalservers/m1", "physicalservers/s-alien"} {
		assert.Equal(t, metalMissing, b.metal(http.MethodGet, path, "").code(), path)
	}
	assert.Equal(t, metalParameter, b.metal(http.MethodGet, "instances/m1/status?x=1", "").code())
}

func TestInstanceListHasPages(t *testing.T) {
	b := newBench(t)
	var state State
	var all []string
	for i := range 25 {
		id := fmt.Sprintf("i%02d", i)
		all = append(all, id)
		state.Instances = append(state.Instances, Instance{ID: id, ServerID: "s" + id, ProjectID: b.project, Password: first})
	}
	var err error
	b.service, err = New(b.lab, b.cloud, state)
	require.NoError(t, err)
	for query, size := range map[string]int{"": 10, "?limit=3": 10, "?limit=12": 12} {
		var got []string
		marker := ""
		for pages := 1; ; pages++ {
			path := "instances" + query
			if marker != "" {
				path += map[bool]string{true: "?", false: "&"}[query == ""] + "marker=" + marker
			}
			fields := b.metal(http.MethodGet, path, "").fields
			got = append(got, names(fields["instances"])...)
			assert.InDelta(t, 25, fields["count"], 0)
			info := fields["page_info"].(map[string]any)
			marker, _ = info["next_marker"].(string)
			if marker == "" {
				assert.Equal(t, (25+size-1)/size, pages)
				break
			}
			assert.InDelta(t, size, info["current_count"], 0)
		}
		assert.Equal(t, all, got)
	}
}

func TestSetPasswordInGuestTakesEffectAtOnce(t *testing.T) {
	b := newBench(t)
	b.change(second, "m1")
	require.NoError(t, b.service.SetPassword(t.Context(), "m1", third))
	require.NoError(t, b.service.SetPassword(t.Context(), "c1", third))
	b.admits(third, "m1", "c1")
	require.NoError(t, b.service.Restart("m1"))
	b.admits(second, "m1")
	for _, err := range []error{b.service.SetPassword(t.Context(), "s-m1", third), b.service.Restart("nobody")} {
		require.ErrorContains(t, err, "ecs has no host")
	}
	assert.False(t, b.service.Admits("nobody", "root", first))
	assert.False(t, b.service.Admits("m1", "", second))
	assert.Zero(t, b.service.Host("nobody"))
	raw, err := json.Marshal(b.service.State())
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"pending":false`)
}

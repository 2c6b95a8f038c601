package ecs

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// fault sets a fault for the next change of the hosts.
func (b *bench) fault(f lab.Fault) {
	b.Helper()
	f.System = Name
	require.NoError(b, b.lab.Faults.Set(f))
}

func TestFaultsAnswerAndApplyAsDocumented(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		fault        lab.Fault
		status       int // 0: the connection is cut
		metal, cloud string
		changed      bool
	}{
		{fault: lab.Fault{Kind: lab.Refuse}, status: 400, metal: metalPassword, cloud: "Ecs.0011"},
		{fault: lab.Fault{Kind: lab.RejectTarget}, status: 400, metal: metalMissing, cloud: `"internalError":[{"error_code":"Ecs.0114"`},
		{fault: lab.Fault{Kind: lab.Busy}, status: 400, metal: metalNotReady, cloud: `"internalError":[{"error_code":"Ecs.0100"`},
		{fault: lab.Fault{Kind: lab.Throttle, RetryAfter: 7}, status: 429, metal: "APIGW.0308", cloud: "APIGW.0308"},
		{fault: lab.Fault{Kind: lab.Throttle, Variant: "empty"}, status: 429},
		{fault: lab.Fault{Kind: lab.Throttle, Variant: "html"}, status: 429, metal: "<html>", cloud: "<html>"},
		{fault: lab.Fault{Kind: lab.Deny}, status: 401, metal: "APIGW.0301", cloud: "APIGW.0301"},
		{fault: lab.Fault{Kind: lab.Deny, Variant: "forbidden"}, status: 403, metal: "APIGW.0302", cloud: "APIGW.0302"},
		{fault: lab.Fault{Kind: lab.ApplyCut}, changed: true},
		{fault: lab.Fault{Kind: lab.Cut}},
		{fault: lab.Fault{Kind: lab.Apply500}, status: 500, metal: metalInternal, cloud: "Ecs.0002", changed: true},
		{fault: lab.Fault{Kind: lab.Err500}, status: 500, metal: metalInternal, cloud: "Ecs.0002"},
		{fault: lab.Fault{Kind: lab.Apply502HTML}, status: 502, metal: second, cloud: second, changed: true},
		{fault: lab.Fault{Kind: lab.Apply503HTML}, status: 503, metal: second, cloud: second, changed: true},
		{fault: lab.Fault{Kind: lab.HTML503}, status: 503, metal: "<html>", cloud: "<html>"},
		{fault: lab.Fault{Kind: lab.NoSuccess}, status: 200, metal: `{"instances":[]}`, cloud: `{"response":[]}`},
		{fault: lab.Fault{Kind: lab.NoSuccess, Applied: &yes}, status: 200, metal: `{"instances":[]}`, cloud: `{"response":[]}`, changed: true},
		{fault: lab.Fault{Kind: lab.Empty200}, status: 200},
		{fault: lab.Fault{Kind: lab.HTML200, Applied: &yes}, status: 200, metal: "<html>", cloud: "<html>", changed: true},
		{fault: lab.Fault{Kind: lab.Redirect, Location: "https://127.0.0.1:1/"}, status: 307},
		{fault: lab.Fault{Kind: lab.HTML}, status: 403, metal: "<html>", cloud: "<html>"},
		{fault: lab.Fault{Kind: lab.Truncated}, status: 200, metal: `{"inst`, cloud: `{"resp`, changed: true},
		{fault: lab.Fault{Kind: lab.Truncated, Applied: &no}, status: 200},
		{fault: lab.Fault{Kind: lab.Slow, DelayMS: 5}, status: 200, metal: `{"id":"m2"}`, cloud: `{"id":"c2"}`, changed: true},
		{fault: lab.Fault{Kind: lab.Late, DelayMS: 5}, changed: true},
	} {
		t.Run(string(c.fault.Kind)+" "+c.fault.Variant, func(t *testing.T) {
			b := newBench(t)
			for _, v := range []struct {
				send func() reply
				id   string
				want string
			}{
				{func() reply { return b.change(second, "m1", "m2") }, "m2", c.metal},
				{func() reply { return b.reset(second, "c1", "c2") }, "c2", c.cloud},
			} {
				f := c.fault
				f.Target, f.Count = v.id, 1
				b.fault(f)
				got := v.send()
				assert.Equal(t, c.status == 0, got.cut)
				assert.Equal(t, c.status, got.status)
				assert.Contains(t, got.body, v.want)
				if f.RetryAfter > 0 {
					assert.Equal(t, "7", got.header.Get("Retry-After"))
				}
				require.Eventually(t, func() bool { return len(b.lab.Journal.List(Name, v.id)) > 0 }, 20*time.Second, time.Millisecond)
				entry := b.lab.Journal.List(Name, v.id)[0]
				assert.Equal(t, f.Kind, entry.Fault)
				assert.Equal(t, c.changed, entry.Applied)
				require.NoError(t, b.service.Restart(v.id))
				b.admits(map[bool]string{true: second, false: first}[c.changed], v.id)
			}
		})
	}
}

func TestBusySwitchChoosesAnswer(t *testing.T) {
	for value, want := range map[string]struct {
		metal, cloud int
		codes        [2]string
	}{
		"state":    {400, 400, [2]string{metalNotReady, cloudBatch}},
		"command":  {400, 501, [2]string{metalNotReady, cloudCommand}},
		"conflict": {409, 409, [2]string{metalState, cloudRequest}},
	} {
		b := newBench(t)
		b.flip("busy", `"`+value+`"`)
		b.fault(lab.Fault{Target: "*", Kind: lab.Busy})
		metal, cloud := b.change(second, "m1"), b.reset(second, "c1")
		assert.Equal(t, [2]int{want.metal, want.cloud}, [2]int{metal.status, cloud.status}, value)
		assert.Equal(t, want.codes, [2]string{metal.code(), cloud.code()}, value)
		b.lab.Faults.Clear("", "")
		assert.Equal(t, 200, b.change(second, "m1").status)
		b.admits(first, "m1", "c1")
	}
}

func TestFaultsMatchHostAndClass(t *testing.T) {
	b := newBench(t)
	b.fault(lab.Fault{Target: "m2", Kind: lab.Err500})
	assert.Equal(t, 200, b.change(second, "m1").status)
	assert.Equal(t, 500, b.change(second, "m1", "m2").status)
	assert.Equal(t, 200, b.metal(http.MethodGet, "instances/m2/status", "").status)
	assert.Equal(t, 200, b.powerState("rebooting", "s-m2").status, "a restart is not a change")
	b.fault(lab.Fault{Target: "m1", Kind: lab.Err500, Operations: []string{lab.OpCheck}})
	assert.Equal(t, 500, b.metal(http.MethodGet, "instances/m1/status", "").status)
	assert.Equal(t, 500, b.metal(http.MethodGet, "physicalservers/s-m1", "").status, "the server's instance is the target")
	assert.Equal(t, 200, b.metal(http.MethodGet, "instances/w/status", "").status)
	assert.Equal(t, 200, b.metal(http.MethodGet, "instances", "").status)
	b.fault(lab.Fault{Target: "*", Kind: lab.Deny, Operations: []string{lab.OpList}})
	assert.Equal(t, 401, b.metal(http.MethodGet, "instances", "").status)
	assert.Equal(t, 401, b.server(http.MethodGet, "cloudservers/detail", "").status)
	assert.Equal(t, 200, b.server(http.MethodGet, "cloudservers/c1", "").status)
	id := b.reboot("SOFT", "c1", "c2").fields["job_id"].(string)
	b.fault(lab.Fault{Target: "c2", Kind: lab.NoSuccess, Count: 1, Operations: []string{lab.OpCheck}})
	assert.Equal(t, "Ecs.0002", b.server(http.MethodGet, "jobs/"+id, "").code(), "the servers of a job are its targets")
	assert.Equal(t, 200, b.server(http.MethodGet, "jobs/"+id, "").status)
}

func TestFaultsApplyToRestarts(t *testing.T) {
	b := newBench(t)
	restart := []string{lab.OpRestart}
	b.change(second, "m1", "m2")
	b.reset(second, "c1")
	b.fault(lab.Fault{Target: "m1", Kind: lab.ApplyCut, Count: 1, Operations: restart})
	assert.True(t, b.powerState("rebooting", "s-m1").cut)
	b.fault(lab.Fault{Target: "m2", Kind: lab.Cut, Count: 1, Operations: restart})
	assert.True(t, b.powerState("rebooting", "s-m2").cut)
	b.fault(lab.Fault{Target: "c1", Kind: lab.NoSuccess, Count: 1, Operations: restart})
	assert.Equal(t, `{}`, b.reboot("SOFT", "c1").body, "no job")
	b.fault(lab.Fault{Target: "c1", Kind: lab.RejectTarget, Count: 1, Operations: restart})
	assert.Equal(t, 404, b.reboot("SOFT", "c1").status)
	b.lab.Clock.Advance(time.Second)
	b.admits(second, "m1")
	b.admits(first, "m2", "c1")
}

func TestFaultsDoNotRelaxChecks(t *testing.T) {
	b := newBench(t)
	b.fault(lab.Fault{Target: "*", Kind: lab.Empty200})
	assert.Equal(t, metalParameter, b.metal(http.MethodPut, "instances/password", `{"instance_id_set":["m1"]}`).code())
	assert.Equal(t, "Ecs.0011", b.reset(weak, "c1").code())
	sign := b.sign
	b.sign = func(*http.Request, []byte) {}
	assert.Equal(t, "APIGW.0301", b.change(second, "m1").code())
	b.sign = sign
	assert.Zero(t, b.lab.Faults.List()[0].Used)
	assert.Equal(t, 200, b.change(second, "m1").status)
	assert.Equal(t, 1, b.lab.Faults.List()[0].Used)
}

func TestGatewayThrottlesBothServices(t *testing.T) {
	for variant, want := range map[string]string{"json": "APIGW.0308", "empty": "", "html": "<html>"} {
		b := newBench(t)
		require.NoError(t, b.cloud.Switch("throttle_per_second", json.RawMessage("1")))
		require.NoError(t, b.cloud.Switch("throttle_variant", json.RawMessage(`"`+variant+`"`)))
		assert.Equal(t, 200, b.change(second, "m1").status)
		got := b.reset(second, "c1")
		assert.Equal(t, 429, got.status)
		assert.Contains(t, got.body, want)
		assert.Zero(t, b.service.Host("c1").Changes)
	}
}

func TestOverlappingChangesAreCountedByHost(t *testing.T) {
	b := newBench(t)
	b.fault(lab.Fault{Target: "m2", Kind: lab.Hold, Count: 1})
	done := make(chan reply, 1)
	go func() { done <- b.change(second, "m1", "m2") }()
	require.Eventually(t, func() bool { return b.lab.Faults.List()[0].Holding == 1 }, 20*time.Second, time.Millisecond)
	b.change(third, "m2")
	b.lab.Faults.Clear(Name, "m2")
	assert.Equal(t, 200, (<-done).status)
	assert.Equal(t, map[string]int{Name + "/m1": 1, Name + "/m2": 2}, b.lab.MaxConcurrentChanges())
}

func TestStateAndJournalHoldNoSecrets(t *testing.T) {
	b := newBench(t)
	b.flip("echo_password", "true")
	b.flip("strict", "true")
	b.change(second, "m1", "w")
	b.change(weak, "m1")
	b.reset(third, "c1", "bare", "nobody")
	b.server(http.MethodPut, "cloudservers/c1/os-reset-password", `{"reset-password":{"new_password":"`+third+`"}}`)
	require.NoError(t, b.service.Restart("m1"))
	raw, err := json.Marshal(map[string]any{"state": b.service.State(), "journal": b.lab.Journal.List("", "")})
	require.NoError(t, err)
	for _, secret := range []string{first, second, third, weak} {
		assert.NotContains(t, string(raw), secret)
	}
	assert.Positive(t, strings.Count(string(raw), "BatchResetServersPassword"))
}

package ecs

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// restarts sends restarts of the instance m1 and of the cloud server c1, with new passwords waiting, and returns the job.
func (b *bench) restarts() (job string) {
	b.Helper()
	require.Equal(b, 200, b.change(second, "m1").status)
	require.Equal(b, 200, b.reset(second, "c1").status)
	require.Equal(b, 200, b.powerState("rebooting", "s-m1").status)
	got := b.reboot("SOFT", "c1")
	require.Equal(b, 200, got.status)
	return fmt.Sprint(got.fields["job_id"])
}

func TestRestartResults(t *testing.T) {
	for result, want := range map[string]struct {
		metal, cloud, password string
		up, pending, busy      bool
		restarts               int
	}{
		"success": {metal: "running on", cloud: "SUCCESS ACTIVE", password: second, up: true, restarts: 1},
		"fail":    {metal: "running on", cloud: "FAIL ACTIVE", password: first, up: true, pending: true},
		"off":     {metal: "stopped off", cloud: "FAIL SHUTOFF", pending: true},
		"hang":    {metal: "stopped off", cloud: "RUNNING REBOOT", pending: true, busy: true},
	} {
		t.Run(result, func(t *testing.T) {
			b := newBench(t)
			b.flip("restart_result", `"`+result+`"`)
			job := b.restarts()
			for range 3 {
				b.lab.Clock.Advance(time.Hour)
				assert.Equal(t, want.metal, b.look("m1"))
				assert.Equal(t, want.cloud, b.lookAt(job, "c1"))
				b.admits(want.password, "m1", "c1")
			}
			for _, id := range []string{"m1", "c1"} {
				got := b.service.Host(id)
				assert.Equal(t, []any{want.up, want.pending, want.busy, want.restarts, 1}, []any{got.Up, got.Pending, got.Busy, got.Restarts, got.PowerActions}, id)
			}
			if want.busy {
				assert.Equal(t, metalNotReady, b.powerState("power on", "s-m1").code())
				assert.Equal(t, 1, b.service.Host("m1").PowerActions, "only accepted ones count")
			}
			require.NoError(t, b.service.Restart("m1"))
			require.NoError(t, b.service.Restart("c1"))
			b.admits(second, "m1", "c1")
		})
	}
}

func TestServerThatStaysOffCanBeTurnedOn(t *testing.T) {
	b := newBench(t)
	b.restarts()
	b.lab.Clock.Advance(time.Second)
	b.change(third, "m1")
	for _, result := range []string{"off", "fail"} {
		b.flip("restart_result", `"off"`)
		assert.Equal(t, 200, b.powerState("power off", "s-m1").status)
		b.lab.Clock.Advance(time.Second)
		b.flip("restart_result", `"`+result+`"`)
		assert.Equal(t, 200, b.powerState("power on", "s-m1").status)
		b.lab.Clock.Advance(time.Second)
		assert.Equal(t, "stopped off", b.look("m1"))
		b.flip("restart_result", `"success"`)
		assert.Equal(t, 200, b.powerState("power on", "s-m1").status)
		b.lab.Clock.Advance(time.Second)
		b.admits(third, "m1")
	}
	assert.Equal(t, 3, b.service.Host("m1").Restarts)
	assert.Equal(t, 7, b.service.Host("m1").PowerActions)
}

// The API reports nothing of a reboot, but the host is down.
func TestRebootMayBeInvisible(t *testing.T) {
	b := newBench(t)
	b.flip("reboot_power", `"on"`)
	b.change(second, "m1")
	b.powerState("rebooting", "s-m1")
	for range 2 {
		assert.Equal(t, "running on", b.look("m1"))
		b.admits("", "m1")
		assert.False(t, b.service.Host("m1").Up)
		assert.Equal(t, metalNotReady, b.change(third, "m1").code())
		assert.Equal(t, metalNotReady, b.powerState("rebooting", "s-m1").code())
		b.lab.Clock.Advance(240 * time.Millisecond)
	}
	b.lab.Clock.Advance(240 * time.Millisecond)
	assert.Equal(t, "running on", b.look("m1"))
	b.admits(second, "m1")

	assert.Equal(t, 200, b.powerState("power off", "s-m1").status)
	b.lab.Clock.Advance(time.Second)
	assert.Equal(t, "stopped off", b.look("m1"), "only reboots are invisible")
}

func TestRestartMayReplaceHostKey(t *testing.T) {
	b := newBench(t)
	var replaced []string
	b.service.NewHostKey = func(id string) { replaced = append(replaced, id) }
	b.restarts()
	b.lab.Clock.Advance(time.Second)
	assert.Empty(t, replaced)
	b.flip("restart_host_key", `"new"`)
	b.restarts()
	require.NoError(t, b.service.Restart("m2"))
	assert.Equal(t, []string{"m1", "c1", "m2"}, replaced)
}

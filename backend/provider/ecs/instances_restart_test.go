package ecs

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/timing"
)

func TestCloudDCRestartMatchesDocs(t *testing.T) {
	for kind, action := range map[string]string{"soft": "rebooting", "hard": "power off"} {
		c, _ := newRestarts(t, apiInstances)
		result, job := c.restart(t, kind)
		require.Equal(t, want{provider.Applied, target, ""}, got(result))
		require.Equal(t, jobTaken, job)
		require.Equal(t, []string{
			"GET /v1/p1/instances?instance_id=a-1&limit=100",
			"GET /v1/p1/physicalservers/s-a-1",
			"PUT /v1/p1/physicalservers/power-state",
		}, c.uris())
		require.Equal(t, []string{`{"action":"` + action + `","server_id_set":["s-a-1"]}`}, c.bodies())
	}
}

func TestCloudDCRestartOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code} }
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
	}{
		"taken":                  {200, `{"physical_servers":[{"id":"s-a-1"}]}`, want{provider.Applied, target, ""}},
		"upper case, twice":      {200, `{"physical_servers":[{"id":"S-A-1"},{"id":"s-a-1"}],"error_code":""}`, want{provider.Applied, target, ""}},
		"no server":              {200, `{"physical_servers":[]}`, unknown("HTTP 200")},
		"another server":         {200, `{"physical_servers":[{"id":"s-b-2"}]}`, unknown("HTTP 200")},
		"one more":               {200, `{"physical_servers":[{"id":"s-a-1"},{"id":"s-b-2"}]}`, unknown("HTTP 200")},
		"its instance":           {200, `{"physical_servers":[{"id":"a-1"}]}`, unknown("HTTP 200")},
		"a list of something":    {200, `{"instances":[{"id":"s-a-1"}]}`, unknown("HTTP 200")},
		"and an error":           {200, `{"physical_servers":[{"id":"s-a-1"}],"error_code":"CloudDC.1"}`, unknown("CloudDC.1")},
		"empty":                  {200, ``, unknown("HTTP 200")},
		"a page":                 {200, `<html>`, unknown("HTTP 200")},
		"accepted":               {202, `{"physical_servers":[{"id":"s-a-1"}]}`, unknown("HTTP 202")},
		"redirect":               {302, `{"physical_servers":[{"id":"s-a-1"}]}`, unknown("HTTP 302")},
		"not ready":              {400, `{"error_code":"iMetal.0101"}`, want{provider.Busy, target, "iMetal.0101"}},
		"refused":                {400, `{"error_code":"CloudDC.0404","error_msg":"cAnArY"}`, want{provider.Rejected, target, "CloudDC.0404"}},
		"400 of a proxy":         {400, `<html>`, unknown("HTTP 400")},
		"refused key":            {401, `{"error_code":"APIGW.0301"}`, want{provider.Denied, connection, "APIGW.0301"}},
		"401 of a proxy":         {401, ``, unknown("HTTP 401")},
		"no permission":          {403, `{"error_code":"APIGW.0302"}`, want{provider.Denied, target, "APIGW.0302"}},
		"unknown server":         {404, `{"error_code":"CloudDC.0404"}`, want{provider.Rejected, target, "CloudDC.0404"}},
		"conflict":               {409, `{"error_code":"CloudDC.0409"}`, want{provider.Busy, target, "CloudDC.0409"}},
		"throttled":              {429, `<html>`, want{provider.Busy, connection, "HTTP 429"}},
		"500":                    {500, `{"error_code":"CloudDC.0500"}`, unknown("CloudDC.0500")},
		"500 that names servers": {500, `{"physical_servers":[{"id":"s-a-1"}]}`, unknown("HTTP 500")},
		"502":                    {502, ``, unknown("HTTP 502")},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiInstances)
			r.request = says(test.status, test.body)
			result, job := c.restart(t, provider.RestartSoft)
			require.Equal(t, test.want, got(result))
			require.Equal(t, result.Outcome == provider.Applied, job == jobTaken)
			require.Equal(t, result.Outcome != provider.Applied, job == "")
			require.NotEmpty(t, result.Reason)
			require.Equal(t, "req-5f0c1d2e3b4a59687766554433221100", result.RequestID)
			providertest.RequireSecretFree(t, result)
			require.Len(t, c.sent(), 1)
		})
	}
}

func TestCloudDCLookupStopsRestart(t *testing.T) {
	twice := strings.Replace(running("a-1", "b-2"), `"id":"b-2"`, `"id":"A-1"`, 1)
	for name, test := range map[string]struct {
		list, server http.HandlerFunc
		want         want
		reason       string
	}{
		"unknown instance":    {says(200, running("b-2")), nil, want{provider.Rejected, target, ""}, "no instance with the ID a-1"},
		"two instances":       {says(200, twice), nil, want{provider.Rejected, target, ""}, "does not report the physical server"},
		"no server_id":        {says(200, `{"instances":[{"id":"a-1","state":"running"}]}`), nil, want{provider.Rejected, target, ""}, "restart the server yourself"},
		"server_id is a path": {says(200, `{"instances":[{"id":"a-1","server_id":"../x"}]}`), nil, want{provider.Rejected, target, ""}, "does not report the physical server"},
		"installing":          {says(200, listed("running", "reinstall-processing", "a-1")), nil, want{provider.Busy, target, ""}, "being installed"},
		"stopping":            {says(200, listed("stopping", "", "a-1")), nil, want{provider.Busy, target, ""}, "started or stopped"},
		"a page":              {says(200, `<html>`), nil, want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"list refused":        {says(400, `{"error_code":"CloudDC.1"}`), nil, want{provider.Rejected, target, "CloudDC.1"}, ""},
		"403 of a proxy":      {says(403, `<html>`), nil, want{provider.Unreachable, connection, "HTTP 403"}, "not restarted"},
		"list broken":         {says(500, ``), nil, want{provider.Unreachable, connection, "HTTP 500"}, "not restarted"},
		"list throttled":      {says(429, ``), nil, want{provider.Busy, connection, "HTTP 429"}, ""},
		"refused key":         {says(401, `{"error_code":"APIGW.0301"}`), nil, want{provider.Denied, connection, "APIGW.0301"}, ""},
		"off":                 {nil, says(200, powered("off")), want{provider.Rejected, target, ""}, "is off, so it was not restarted; start it"},
		"rebooting":           {nil, says(200, powered("rebooting")), want{provider.Busy, target, ""}, "started or stopped"},
		"no power state":      {nil, says(200, `{"id":"s-a-1"}`), want{provider.Rejected, target, ""}, "does not report whether server a-1 is on"},
		"odd power state":     {nil, says(200, powered("cAnArY")), want{provider.Rejected, target, ""}, "does not report whether server a-1 is on"},
		"another project":     {nil, says(200, `{"id":"s-a-1","project_id":"p2","power_state":"on"}`), want{provider.Rejected, target, ""}, "another project"},
		"another server":      {nil, says(200, `{"id":"s-b-2","power_state":"on"}`), want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"and an error":        {nil, says(200, `{"id":"s-a-1","power_state":"on","error_code":"x"}`), want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"unknown server":      {nil, says(404, `{"error_code":"CloudDC.0404"}`), want{provider.Rejected, target, "CloudDC.0404"}, ""},
		"server broken":       {nil, says(502, powered("on")), want{provider.Unreachable, connection, "HTTP 502"}, "not restarted"},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiInstances)
			if test.list != nil {
				r.instances = test.list
			} else {
				r.server = test.server
			}
			result, job := c.restart(t, provider.RestartHard)
			require.Equal(t, test.want, got(result))
			require.Contains(t, result.Reason, test.reason)
			require.True(t, result.Outcome.Unchanged())
			require.Empty(t, job)
			require.Empty(t, c.sent())
			providertest.RequireSecretFree(t, result)

			result, progress, job := c.follow(t, provider.RestartSoft, jobTaken, time.Hour)
			if result.Outcome != provider.Applied {
				require.Equal(t, jobTaken, job)
			}
			require.Equal(t, provider.Restarting, progress)
			require.Empty(t, c.sent(), "a soft restart turns nothing on")
		})
	}
}

func TestCloudDCRefusalNamesState(t *testing.T) {
	c, r := newRestarts(t, apiInstances)
	r.instances, r.request = says(200, listed("failed", "", "a-1")), says(400, `{"error_code":"CloudDC.1"}`)
	result, _ := c.restart(t, provider.RestartSoft)
	require.Equal(t, want{provider.Rejected, target, "CloudDC.1"}, got(result))
	require.Contains(t, result.Reason, "server a-1 is failed")
}

func TestCloudDCFollowsPowerState(t *testing.T) {
	const soft, hard = provider.RestartSoft, provider.RestartHard
	on := `{"action":"power on","server_id_set":["s-a-1"]}`
	for name, test := range map[string]struct {
		kind, job    string
		ago          time.Duration
		state, power string
		progress     provider.Progress
		next         string
		sent         string
	}{
		"soft, just taken":            {soft, jobTaken, 0, "running", "on", provider.Restarting, jobTaken, ""},
		"soft, not seen for a while":  {soft, jobTaken, timing.Scaled(unseenReboot) - 1, "running", "on", provider.Restarting, jobTaken, ""},
		"soft, not seen":              {soft, jobTaken, timing.Scaled(unseenReboot), "running", "on", provider.Restarted, jobTaken, ""},
		"soft, off":                   {soft, jobTaken, time.Hour, "stopped", "off", provider.Restarting, jobDown, ""},
		"soft, stopped":               {soft, jobTaken, time.Hour, "stopped", "on", provider.Restarting, jobDown, ""},
		"soft, stopping":              {soft, jobTaken, time.Hour, "stopping", "on", provider.Restarting, jobTaken, ""},
		"soft, rebooting":             {soft, jobTaken, 0, "running", "rebooting", provider.Restarting, jobDown, ""},
		"soft, no power state":        {soft, jobTaken, time.Hour, "running", "", provider.Restarting, jobTaken, ""},
		"soft, on but not running":    {soft, jobDown, time.Hour, "failed", "on", provider.Restarting, jobDown, ""},
		"soft, back":                  {soft, jobDown, 0, "running", "on", provider.Restarted, jobDown, ""},
		"soft, lost":                  {soft, "", time.Hour, "running", "on", provider.Restarting, "", ""},
		"soft, lost and off":          {soft, "", 0, "stopped", "off", provider.Restarting, jobDown, ""},
		"soft, odd job":               {soft, "j-1", time.Hour, "running", "on", provider.Restarting, "j-1", ""},
		"hard, still on":              {hard, jobTaken, time.Hour, "running", "on", provider.Restarting, jobTaken, ""},
		"hard, stopping":              {hard, jobTaken, 0, "stopping", "on", provider.Restarting, jobTaken, ""},
		"hard, stopped but on":        {hard, jobTaken, 0, "stopped", "on", provider.Restarting, jobTaken, ""},
		"hard, switching":             {hard, jobTaken, 0, "stopped", "powering-off", provider.Restarting, jobTaken, ""},
		"hard, off":                   {hard, jobTaken, 0, "stopped", "off", provider.Restarting, jobDown, on},
		"hard, off and lost":          {hard, "", 0, "stopped", "off", provider.Restarting, jobDown, on},
		"hard, lost and on":           {hard, "", time.Hour, "running", "on", provider.Restarting, "", ""},
		"hard, still off":             {hard, jobDown, time.Hour, "stopped", "off", provider.Restarting, jobDown, on},
		"hard, starting":              {hard, jobDown, 0, "stopped", "on", provider.Restarting, jobDown, ""},
		"hard, back":                  {hard, jobDown, 0, "running", "on", provider.Restarted, jobDown, ""},
		"hard, back, without a state": {hard, jobDown, 0, "", "ON", provider.Restarted, jobDown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiInstances)
			r.instances, r.server = says(200, listed(test.state, "", "a-1")), says(200, powered(test.power))
			result, progress, job := c.follow(t, test.kind, test.job, test.ago)
			require.Equal(t, want{provider.Applied, target, ""}, got(result))
			require.Equal(t, test.progress, progress)
			require.Equal(t, test.next, job)
			require.Equal(t, test.sent, strings.Join(c.bodies(), " "))
		})
	}
}

// A reboot that is never seen leaves half of restart_timeout for a login.
func TestUnseenRebootLeavesTimeForLogin(t *testing.T) {
	timeout := func(seconds int) provider.Target { return provider.Target{RestartTimeout: seconds} }
	for _, test := range []struct {
		timeout int
		want    time.Duration
	}{{0, unseenReboot}, {600, unseenReboot}, {240, unseenReboot}, {60, 30 * time.Second}} {
		c := &client{now: time.Now}
		require.False(t, c.passed(timeout(test.timeout), time.Now().Add(time.Second-timing.Scaled(test.want))), test.timeout)
		require.True(t, c.passed(timeout(test.timeout), time.Now().Add(-timing.Scaled(test.want))), test.timeout)
	}
}

func TestCloudDCPowerOnIsRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		request http.HandlerFunc
		want    want
	}{
		"taken":         {says(200, `{"physical_servers":[{"id":"s-a-1"}]}`), want{provider.Applied, target, ""}},
		"being started": {says(400, `{"error_code":"iMetal.0101"}`), want{provider.Applied, target, ""}},
		"refused":       {says(400, `{"error_code":"CloudDC.1"}`), want{provider.Rejected, target, "CloudDC.1"}},
		"no permission": {says(403, `{"error_code":"APIGW.0302"}`), want{provider.Denied, target, "APIGW.0302"}},
		"throttled":     {says(429, ``), want{provider.Busy, connection, "HTTP 429"}},
		"broken":        {says(500, ``), want{provider.Unknown, target, "HTTP 500"}},
		"cut":           {cut, want{provider.Unknown, target, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiInstances)
			r.instances, r.server, r.request = says(200, listed("stopped", "", "a-1")), says(200, powered("off")), test.request
			job := ""
			for range 2 {
				var result provider.Result
				var progress provider.Progress
				result, progress, job = c.follow(t, provider.RestartHard, job, 0)
				require.Equal(t, test.want, got(result))
				require.Equal(t, provider.Restarting, progress)
				require.Equal(t, jobDown, job)
			}
			require.Len(t, c.sent(), 2, "once for each call")
		})
	}
}

func TestCloudDCHardRestartFromBeginToEnd(t *testing.T) {
	c, r := newRestarts(t, apiInstances)
	r.instances = answers(running("a-1"), listed("stopping", "", "a-1"), listed("stopped", "", "a-1"), listed("stopped", "", "a-1"), running("a-1"))
	r.server = answers(powered("on"), powered("on"), powered("off"), powered("on"))
	_, job := c.restart(t, provider.RestartHard)
	var progress provider.Progress
	for range 4 {
		require.NotEqual(t, provider.Restarted, progress)
		_, progress, job = c.follow(t, provider.RestartHard, job, 0)
	}
	require.Equal(t, provider.Restarted, progress)
	require.Equal(t, []string{`{"action":"power off","server_id_set":["s-a-1"]}`, `{"action":"power on","server_id_set":["s-a-1"]}`}, c.bodies())
}

package ecs

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCloudServerRestartMatchesDocs(t *testing.T) {
	for kind, sent := range map[string]string{"soft": "SOFT", "hard": "HARD"} {
		c, _ := newRestarts(t, apiCloudServers)
		result, job := c.restart(t, kind)
		require.Equal(t, want{provider.Applied, target, ""}, got(result))
		require.Equal(t, "j-1", job)
		result, progress, job := c.follow(t, kind, job, 0)
		require.Equal(t, want{provider.Applied, target, ""}, got(result))
		require.Equal(t, provider.Restarted, progress)
		require.Equal(t, "j-1", job)
		require.Equal(t, []string{"GET /v1/p1/cloudservers/a-1", "POST /v1/p1/cloudservers/action", "GET /v1/p1/jobs/j-1"}, c.uris())
		require.Equal(t, []string{`{"reboot":{"type":"` + sent + `","servers":[{"id":"a-1"}]}}`}, c.bodies())
	}
}

func TestCloudServerRestartOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code} }
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
		job    string
	}{
		"taken":                {200, `{"job_id":"ff80808288d41e1b018990260955686a"}`, want{provider.Applied, target, ""}, "ff80808288d41e1b018990260955686a"},
		"no job":               {200, `{}`, unknown("HTTP 200"), ""},
		"empty job":            {200, `{"job_id":""}`, unknown("HTTP 200"), ""},
		"a path as job":        {200, `{"job_id":"../x"}`, unknown("HTTP 200"), ""},
		"a signature as job":   {200, `{"job_id":"SDK-HMAC-SHA256"}`, unknown("HTTP 200"), ""},
		"and an error":         {200, `{"job_id":"j-1","error":{"code":"Ecs.0005","message":"m"}}`, unknown("Ecs.0005"), ""},
		"empty":                {200, ``, unknown("HTTP 200"), ""},
		"a page":               {200, `<html>`, unknown("HTTP 200"), ""},
		"accepted":             {202, `{"job_id":"j-1"}`, unknown("HTTP 202"), ""},
		"redirect":             {302, `{"job_id":"j-1"}`, unknown("HTTP 302"), ""},
		"refused":              {400, `{"error":{"code":"Ecs.0005","message":"cAnArY"}}`, want{provider.Rejected, target, "Ecs.0005"}, ""},
		"wrong status":         {400, `{"error":{"code":"Ecs.0100","message":"m"}}`, want{provider.Busy, target, "Ecs.0100"}, ""},
		"another command":      {501, `{"error":{"code":"Ecs.0603","message":"m"}}`, want{provider.Busy, target, "Ecs.0603"}, ""},
		"task failed":          {400, `{"error":{"code":"Ecs.0611","message":"m"}}`, unknown("Ecs.0611"), ""},
		"400 of a proxy":       {400, `<html>`, unknown("HTTP 400"), ""},
		"refused key":          {401, `{"error_code":"APIGW.0301"}`, want{provider.Denied, connection, "APIGW.0301"}, ""},
		"no permission":        {403, `{"error":{"code":"Ecs.0003","message":"m"}}`, want{provider.Denied, target, "Ecs.0003"}, ""},
		"unknown server":       {404, `{"error":{"code":"Ecs.0114","message":"m"}}`, want{provider.Rejected, target, "Ecs.0114"}, ""},
		"conflict":             {409, `{"error":{"code":"Ecs.0000","message":"m"}}`, want{provider.Busy, target, "Ecs.0000"}, ""},
		"throttled":            {429, ``, want{provider.Busy, connection, "HTTP 429"}, ""},
		"500 that names a job": {500, `{"job_id":"j-1"}`, unknown("HTTP 500"), ""},
		"502":                  {502, ``, unknown("HTTP 502"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiCloudServers)
			r.request = says(test.status, test.body)
			result, job := c.restart(t, provider.RestartSoft)
			require.Equal(t, test.want, got(result))
			require.Equal(t, test.job, job)
			require.NotEmpty(t, result.Reason)
			require.Equal(t, "req-5f0c1d2e3b4a59687766554433221100", result.RequestID)
			providertest.RequireSecretFree(t, result, job)
			require.Len(t, c.sent(), 1)
		})
	}
}

func TestCloudServerLookupStopsRestart(t *testing.T) {
	for name, test := range map[string]struct {
		server http.HandlerFunc
		want   want
		reason string
	}{
		"off":            {says(200, has("SHUTOFF")), want{provider.Rejected, target, ""}, "is off, so it was not restarted; start it"},
		"rebooting":      {says(200, has("reboot")), want{provider.Busy, target, ""}, "busy"},
		"resizing":       {says(200, has("RESIZE")), want{provider.Busy, target, ""}, "busy"},
		"in error":       {says(200, has("ERROR")), want{provider.Rejected, target, ""}, "check its status"},
		"odd":            {says(200, has("cAnArY")), want{provider.Rejected, target, ""}, "check its status"},
		"no status":      {says(200, `{"server":{"id":"a-1"}}`), want{provider.Rejected, target, ""}, "check its status"},
		"another server": {says(200, `{"server":{"id":"b-2","status":"ACTIVE"}}`), want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"and an error":   {says(200, `{"server":{"id":"a-1","status":"ACTIVE"},"error":"x"}`), want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"a page":         {says(200, `<html>`), want{provider.Unreachable, connection, "HTTP 200"}, "not restarted"},
		"unknown server": {says(404, `{"error":{"code":"Ecs.0114","message":"m"}}`), want{provider.Rejected, target, "Ecs.0114"}, ""},
		"busy":           {says(400, `{"error":{"code":"Ecs.0100","message":"m"}}`), want{provider.Busy, target, "Ecs.0100"}, ""},
		"refused key":    {says(401, `{"error_code":"APIGW.0301"}`), want{provider.Denied, connection, "APIGW.0301"}, ""},
		"throttled":      {says(429, ``), want{provider.Busy, connection, "HTTP 429"}, ""},
		"broken":         {says(500, has("ACTIVE")), want{provider.Unreachable, connection, "HTTP 500"}, "not restarted"},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiCloudServers)
			r.server = test.server
			result, job := c.restart(t, provider.RestartHard)
			require.Equal(t, test.want, got(result))
			require.Contains(t, result.Reason, test.reason)
			require.Empty(t, job)
			require.Empty(t, c.sent())
			providertest.RequireSecretFree(t, result)
			_, progress, _ := c.follow(t, provider.RestartHard, "", time.Hour)
			require.Equal(t, provider.Restarting, progress)
		})
	}
}

func TestCloudServerFollowsJob(t *testing.T) {
	applied := want{provider.Applied, target, ""}
	unknown := func(code string) want { return want{provider.Unknown, target, code} }
	for name, test := range map[string]struct {
		status   int
		body     string
		want     want
		progress provider.Progress
	}{
		"init":            {200, `{"job_id":"j-1","status":"INIT"}`, applied, provider.Restarting},
		"running":         {200, `{"job_id":"J-1","status":"RUNNING","error_code":null}`, applied, provider.Restarting},
		"success":         {200, `{"job_id":"j-1","status":"SUCCESS","error_code":null,"fail_reason":null}`, applied, provider.Restarted},
		"failed":          {200, `{"job_id":"j-1","status":"FAIL","error_code":"Ecs.0000","fail_reason":"cAnArY"}`, want{provider.Applied, target, "Ecs.0000"}, provider.RestartFailed},
		"failed, no code": {200, `{"job_id":"j-1","status":"FAIL","error_code":"cAnArY"}`, applied, provider.RestartFailed},
		"contradiction":   {200, `{"job_id":"j-1","status":"SUCCESS","error_code":"Ecs.0000"}`, unknown("Ecs.0000"), provider.Restarting},
		"odd":             {200, `{"job_id":"j-1","status":"cAnArY"}`, unknown("HTTP 200"), provider.Restarting},
		"another job":     {200, `{"job_id":"j-2","status":"SUCCESS"}`, unknown("HTTP 200"), provider.Restarting},
		"another failed":  {200, `{"job_id":"j-2","status":"FAIL"}`, unknown("HTTP 200"), provider.Restarting},
		"no status":       {200, `{"job_id":"j-1"}`, unknown("HTTP 200"), provider.Restarting},
		"a page":          {200, `<html>`, unknown("HTTP 200"), provider.Restarting},
		"gone":            {400, `{"error":{"code":"Ecs.0005","message":"m"}}`, want{provider.Rejected, target, "Ecs.0005"}, provider.Restarting},
		"refused key":     {401, `{"error_code":"APIGW.0301"}`, want{provider.Denied, connection, "APIGW.0301"}, provider.Restarting},
		"throttled":       {429, ``, want{provider.Busy, connection, "HTTP 429"}, provider.Restarting},
		"broken":          {500, `{"job_id":"j-1","status":"SUCCESS"}`, unknown("HTTP 500"), provider.Restarting},
		"404 of a proxy":  {404, ``, unknown("HTTP 404"), provider.Restarting},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := newRestarts(t, apiCloudServers)
			r.job = says(test.status, test.body)
			result, progress, job := c.follow(t, provider.RestartSoft, "j-1", time.Hour)
			require.Equal(t, test.want, got(result))
			require.Equal(t, test.progress, progress)
			require.Equal(t, "j-1", job)
			require.Equal(t, []string{"GET /v1/p1/jobs/j-1"}, c.uris())
		})
	}
}

// A malicious service could hide a secret in a code.
func TestFailedJobShowsNoSecretAsCode(t *testing.T) {
	c, r := newRestarts(t, apiCloudServers)
	r.job = says(200, `{"job_id":"j-1","status":"FAIL","error_code":"Ecs.47114711"}`)
	of := c.connection()
	of.Settings["secret_key"] = "Ecs.47114711"
	client, err := Type{}.Open(of)
	require.NoError(t, err)
	restarter, ok := client.(provider.Restarter)
	require.True(t, ok)
	restart := provider.Restart{Part: "a-1", Kind: provider.RestartSoft, Since: at, Job: "j-1"}
	result, progress, _ := restarter.Follow(t.Context(), c.request(t, "a-1").Target, restart)
	require.Equal(t, provider.RestartFailed, progress)
	require.Empty(t, result.Code)
}

// The request may not have arrived, so a server that was not seen restarting has not been restarted.
func TestCloudServerWithoutJobMustBeSeenRestarting(t *testing.T) {
	for _, test := range []struct {
		status, job string
		progress    provider.Progress
		next        string
	}{
		{"ACTIVE", "", provider.Restarting, ""},
		{"REBOOT", "", provider.Restarting, jobDown},
		{"HARD_REBOOT", "", provider.Restarting, jobDown},
		{"SHUTOFF", "", provider.Restarting, jobDown},
		{"RESIZE", "", provider.Restarting, ""},
		{"REBOOT", jobDown, provider.Restarting, jobDown},
		{"ERROR", jobDown, provider.Restarting, jobDown},
		{"ACTIVE", jobDown, provider.Restarted, jobDown},
		{"ACTIVE", "../x", provider.Restarting, "../x"},
	} {
		c, r := newRestarts(t, apiCloudServers)
		r.server = says(200, has(test.status))
		result, progress, job := c.follow(t, provider.RestartHard, test.job, time.Hour)
		require.Equal(t, want{provider.Applied, target, ""}, got(result))
		require.Equal(t, test.progress, progress, test.status)
		require.Equal(t, test.next, job, test.status)
		require.Equal(t, []string{"GET /v1/p1/cloudservers/a-1"}, c.uris())
	}
}

package ecs

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// routes are the responses of a fake cloud to restarts.
type routes struct {
	instances http.HandlerFunc // the list of instances of CloudDC
	server    http.HandlerFunc // the physical server, or the elastic cloud server
	job       http.HandlerFunc
	request   http.HandlerFunc
}

// at is when all requests were made.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newRestarts starts a cloud whose servers run, and which accepts every restart.
func newRestarts(t *testing.T, api string) (*cloud, *routes) {
	t.Helper()
	c := newCloud(t, api)
	r := &routes{
		instances: says(200, running("a-1")),
		server:    says(200, powered("on")),
		job:       says(200, `{"job_id":"j-1","status":"SUCCESS"}`),
		request:   says(200, `{"physical_servers":[{"id":"s-a-1"}]}`),
	}
	if api == apiCloudServers {
		r.server, r.request = says(200, has("ACTIVE")), says(200, `{"job_id":"j-1"}`)
	}
	c.serve = func(w http.ResponseWriter, request captured) {
		switch path := strings.TrimPrefix(request.URL.Path, "/v1/p1/"); {
		case request.Method != http.MethodGet:
			r.request(w, request.Request)
		case path == "instances":
			r.instances(w, request.Request)
		case strings.HasPrefix(path, "jobs/"):
			r.job(w, request.Request)
		default:
			r.server(w, request.Request)
		}
	}
	return c, r
}

// powered describes the physical server of the instance a-1, has the elastic cloud server a-1.
func powered(state string) string {
	return `{"id":"s-a-1","name":"cAnArY","project_id":"p1","power_state":"` + state + `"}`
}

func has(status string) string {
	return `{"server":{"id":"a-1","name":"cAnArY","status":"` + status + `"}}`
}

// restarter opens a client whose clock stands still.
func (c *cloud) restarter(t *testing.T) provider.Restarter {
	t.Helper()
	switch client := c.open(t).(type) {
	case *instances:
		client.now = func() time.Time { return at }
		return client
	case *cloudServers:
		client.now = func() time.Time { return at }
		return client
	default:
		t.Fatalf("unexpected client type: %T", client)
		return nil
	}
}

// restart requests a restart of the server a-1.
func (c *cloud) restart(t *testing.T, kind string) (provider.Result, string) {
	t.Helper()
	return c.restarter(t).Restart(t.Context(), c.request(t, "a-1", "b-2").Target, provider.Restart{Part: "a-1", Kind: kind, Since: at})
}

// follow follows a restart of the server a-1, which was requested some time ago.
func (c *cloud) follow(t *testing.T, kind, job string, ago time.Duration) (provider.Result, provider.Progress, string) {
	t.Helper()
	result, progress, job := c.restarter(t).Follow(t.Context(), c.request(t, "a-1", "b-2").Target,
		provider.Restart{Part: "a-1", Kind: kind, Since: at.Add(-ago), Job: job})
	require.NotEmpty(t, result.Reason)
	providertest.RequireSecretFree(t, result, progress, job)
	return result, progress, job
}

// bodies returns the bodies of the modifying requests so far.
func (c *cloud) bodies() []string {
	out := []string{}
	for _, request := range c.sent() {
		out = append(out, request.body)
	}
	return out
}

func TestInvalidRestartIsNotSent(t *testing.T) {
	for _, api := range []string{apiInstances, apiCloudServers} {
		for name, spoil := range map[string]func(*provider.Target, *provider.Restart){
			"no servers":     func(target *provider.Target, _ *provider.Restart) { target.Settings = nil },
			"no part":        func(_ *provider.Target, restart *provider.Restart) { restart.Part = "" },
			"another server": func(_ *provider.Target, restart *provider.Restart) { restart.Part = "c-3" },
			"a path":         func(_ *provider.Target, restart *provider.Restart) { restart.Part = "../a-1" },
			"no kind":        func(_ *provider.Target, restart *provider.Restart) { restart.Kind = "" },
			"none":           func(_ *provider.Target, restart *provider.Restart) { restart.Kind = provider.RestartNone },
		} {
			c, _ := newRestarts(t, api)
			asked, restart := c.request(t, "a-1").Target, provider.Restart{Part: "a-1", Kind: provider.RestartSoft, Since: at, Job: "j"}
			spoil(&asked, &restart)
			result, job := c.restarter(t).Restart(t.Context(), asked, restart)
			require.Equal(t, want{provider.Rejected, target, ""}, got(result), name)
			require.Contains(t, result.Reason, "nothing was sent")
			require.Empty(t, job)
			result, progress, job := c.restarter(t).Follow(t.Context(), asked, restart)
			require.Equal(t, want{provider.Rejected, target, ""}, got(result), name)
			require.Equal(t, provider.Restarting, progress)
			require.Equal(t, "j", job)
			require.Empty(t, c.uris())
		}
	}
}

// A server that is off because of a restart is turned on, whatever the connection allows in the meantime.
func TestRestartsAreRequestedOnlyIfAllowed(t *testing.T) {
	for _, api := range []string{apiInstances, apiCloudServers} {
		c, r := newRestarts(t, api)
		asked := c.request(t, "a-1").Target
		forbidding := c.connection()
		forbidding.Settings["allow_restart"] = false
		client, err := Type{}.Open(forbidding)
		require.NoError(t, err)
		restarter, ok := client.(provider.Restarter)
		require.True(t, ok)
		restart := provider.Restart{Part: "a-1", Kind: provider.RestartHard, Since: at}
		result, job := restarter.Restart(t.Context(), asked, restart)
		require.Equal(t, want{provider.Rejected, target, ""}, got(result))
		require.Contains(t, result.Reason, "allow_restart")
		require.Empty(t, job)
		require.Empty(t, c.uris())

		if api == apiInstances {
			r.server = says(200, powered("off"))
			restart.Job = jobTaken
			_, _, _ = restarter.Follow(t.Context(), asked, restart)
			require.Equal(t, []string{`{"action":"power on","server_id_set":["s-a-1"]}`}, c.bodies())
		}
	}
}

// A token that is refused for the request is not replaced: the request is not sent again.
func TestRestartIsSentOnce(t *testing.T) {
	for _, api := range []string{apiInstances, apiCloudServers} {
		c, r := newRestarts(t, api)
		logins := 0
		iam := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			logins++
			w.Header().Set("X-Subject-Token", "cAnArY-token")
			w.WriteHeader(http.StatusCreated)
		}))
		t.Cleanup(iam.Close)
		r.request = says(401, `{"error_code":"APIGW.0307","error_msg":"m"}`)
		of := c.connection()
		of.Settings = provider.Settings{
			"username": "u", "password": "cAnArY", "domain_name": "d", "iam_url": iam.URL, "project_id": "p1", "api": api, "allow_restart": true,
		}
		client, err := Type{}.Open(of)
		require.NoError(t, err)
		restarter, ok := client.(provider.Restarter)
		require.True(t, ok)
		result, job := restarter.Restart(t.Context(), c.request(t, "a-1").Target, provider.Restart{Part: "a-1", Kind: provider.RestartSoft, Since: at})
		require.Equal(t, want{provider.Denied, connection, "APIGW.0307"}, got(result))
		require.Empty(t, job)
		require.Len(t, c.sent(), 1)
		require.Equal(t, 1, logins)
		providertest.RequireSecretFree(t, result)
	}
}

func TestLostRestartIsUnknownOnlyAfterSending(t *testing.T) {
	for _, api := range []string{apiInstances, apiCloudServers} {
		c, r := newRestarts(t, api)
		r.request = cut
		result, job := c.restart(t, provider.RestartSoft)
		require.Equal(t, provider.Unknown, result.Outcome)
		require.Empty(t, job)
		require.Len(t, c.sent(), 1)

		r.server = cut
		result, job = c.restart(t, provider.RestartSoft)
		require.Equal(t, provider.Unreachable, result.Outcome)
		require.Contains(t, result.Reason, "was not restarted")
		require.Empty(t, job)
		result, progress, job := c.follow(t, provider.RestartSoft, jobDown, 0)
		require.Equal(t, provider.Unknown, result.Outcome)
		require.Equal(t, provider.Restarting, progress)
		require.Equal(t, jobDown, job)
		require.Len(t, c.sent(), 1)
	}
}

// A lookup that takes too long leaves no request that would only end as Unknown.
func TestSlowLookupSendsNoRestart(t *testing.T) {
	for _, api := range []string{apiInstances, apiCloudServers} {
		t.Run(api, func(t *testing.T) {
			c, r := newRestarts(t, api)
			r.server = func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			result, _ := c.restarter(t).Restart(ctx, c.request(t, "a-1").Target, provider.Restart{Part: "a-1", Kind: provider.RestartSoft, Since: at})
			require.NoError(t, ctx.Err(), "the lookup must end before the deadline")
			require.Equal(t, provider.Unreachable, result.Outcome)
			require.Empty(t, c.sent())
		})
	}
}

func TestMissingPermissionIsNamed(t *testing.T) {
	gateway, service := says(403, `{"error_code":"APIGW.0302"}`), says(403, `{"error":{"code":"Ecs.0003","message":"m"}}`)
	for name, test := range map[string]struct {
		api, action string
		deny        func(*routes)
		sent        int
	}{
		"list":   {apiInstances, "clouddc:instance:list", func(r *routes) { r.instances = gateway }, 0},
		"server": {apiInstances, "clouddc:imetal:get", func(r *routes) { r.server = gateway }, 0},
		"power":  {apiInstances, "clouddc:imetal:updatePowerStatus", func(r *routes) { r.request = gateway }, 1},
		"get":    {apiCloudServers, "ecs:cloudServers:get", func(r *routes) { r.server = service }, 0},
		"reboot": {apiCloudServers, "ecs:cloudServers:reboot", func(r *routes) { r.request = service }, 1},
	} {
		c, r := newRestarts(t, test.api)
		test.deny(r)
		result, job := c.restart(t, provider.RestartHard)
		require.Equal(t, provider.Denied, result.Outcome, name)
		require.Equal(t, target, result.Scope, name)
		require.Contains(t, result.Reason, test.action)
		require.Empty(t, job)
		require.Len(t, c.sent(), test.sent, name)
	}
	c, r := newRestarts(t, apiCloudServers)
	r.job = service
	result, progress, job := c.follow(t, provider.RestartSoft, "j-1", 0)
	require.Equal(t, want{provider.Denied, target, "Ecs.0003"}, got(result))
	require.Contains(t, result.Reason, "permission to read jobs")
	require.Equal(t, provider.Restarting, progress)
	require.Equal(t, "j-1", job)
}

func TestHostileRestartLeaksNoSecrets(t *testing.T) {
	t.Parallel()
	login := providertest.CloudLogins()["access key"]
	for name, test := range map[string]struct {
		api, job, attacked string // part of the path of the request that gets the hostile response
		body               string
		follow             bool
	}{
		"physical server": {apiInstances, jobTaken, "/physicalservers/s-a-1", `{"id":"s-a-1","power_state":"{planted}","project_id":"{planted}"}`, true},
		"power":           {apiInstances, "", "/power-state", `{"physical_servers":[{"id":"{planted}"}]}`, false},
		"server":          {apiCloudServers, "", "/cloudservers/a-1", `{"server":{"id":"a-1","status":"{planted}"}}`, true},
		"reboot":          {apiCloudServers, "", "/action", `{"job_id":"{planted}"}`, false},
		"job":             {apiCloudServers, "j-1", "/jobs/", `{"job_id":"j-1","status":"FAIL","error_code":"{planted}","fail_reason":"{planted}"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Hostile{
				Type: "application/json", Bodies: append([]string{test.body}, providertest.HostileBodies[:2]...), Secrets: login.Secrets, Made: login.Made,
				Honest: func(r *http.Request) (int, http.Header, string) {
					switch {
					case strings.Contains(r.URL.Path, test.attacked):
						return 0, nil, ""
					case strings.HasSuffix(r.URL.Path, "/instances"):
						return http.StatusOK, nil, running("a-1")
					case strings.Contains(r.URL.Path, "/physicalservers"):
						return http.StatusOK, nil, powered("on")
					default:
						return http.StatusOK, nil, has("ACTIVE")
					}
				},
				Open: func(t *testing.T, address string) func() provider.Result {
					t.Helper()
					connection := login.Connection(address, provider.Settings{"api": test.api, "allow_restart": true})
					client, err := Type{}.Open(connection)
					require.NoError(t, err)
					restarter, ok := client.(provider.Restarter)
					require.True(t, ok)
					asked, err := Type{}.Target(connection, provider.Settings{"instance_ids": []string{"a-1"}})
					require.NoError(t, err)
					restart := provider.Restart{Part: "a-1", Kind: provider.RestartHard, Since: at, Job: test.job}
					return func() provider.Result {
						var result provider.Result
						var job string
						if test.follow {
							result, _, job = restarter.Follow(t.Context(), asked, restart)
						} else {
							result, job = restarter.Restart(t.Context(), asked, restart)
						}
						result.Reason += job // it is stored
						return result
					}
				},
			}.RequireSilence(t)
		})
	}
}

// answers returns a handler that responds to each request with the next body, and then with the last one again.
func answers(bodies ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, bodies[0])
		if len(bodies) > 1 {
			bodies = bodies[1:]
		}
	}
}

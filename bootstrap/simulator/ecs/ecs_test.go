package ecs

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	first  = "Start-1234-abcd"
	second = "Second_5678.efgh"
	third  = "Third=9012:ijkl"
	weak   = "weak"
)

type bench struct {
	*testing.T
	service *Service
	lab     *lab.Lab
	cloud   *huaweicloud.Cloud
	state   huaweicloud.State
	project string
	sign    func(r *http.Request, body []byte)
}

// newBench starts the services with the instances m1, m2, w (Windows), off
// (stopped) and alien (of another project) on the servers s-m1 and so on, and the
// cloud servers c1, c2, bare (without the plug-in), shut (shut off) and stranger
// (of another project). The clock stands still.
func newBench(t *testing.T) *bench {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := lab.New(func() time.Time { return start })
	t.Cleanup(l.Close)
	state := huaweicloud.DefaultState()
	cloud, err := huaweicloud.New(l, state)
	require.NoError(t, err)
	project, foreign := state.Projects[0].ID, state.Projects[1].ID
	service, err := New(l, cloud, State{
		Instances: []Instance{
			{ID: "m1", ServerID: "s-m1", Name: "one", ProjectID: project, Password: first},
			{ID: "m2", ServerID: "s-m2", Name: "two", ProjectID: project, Password: first},
			{ID: "w", ServerID: "s-w", Name: "win", ProjectID: project, OS: "windows", Password: first},
			{ID: "off", ServerID: "s-off", Name: "off", ProjectID: project, State: "stopped", Password: first},
			{ID: "alien", ServerID: "s-alien", Name: "alien", ProjectID: foreign, Password: first},
		},
		CloudServers: []Server{
			{ID: "c1", Name: "one", ProjectID: project, Plugin: true, Password: first},
			{ID: "c2", Name: "two", ProjectID: project, OS: "windows", Plugin: true, Password: first},
			{ID: "bare", Name: "bare", ProjectID: project, Password: first},
			{ID: "shut", Name: "shut", ProjectID: project, Status: "SHUTOFF", Plugin: true, Password: first},
			{ID: "stranger", Name: "stranger", ProjectID: foreign, Plugin: true, Password: first},
		},
	})
	require.NoError(t, err)
	b := &bench{T: t, service: service, lab: l, cloud: cloud, state: state, project: project}
	b.sign = func(r *http.Request, body []byte) { huaweicloud.Sign(r, body, state.AccessKeys[0], l.Clock.Now()) }
	return b
}

func (b *bench) flip(name, value string) {
	b.Helper()
	require.NoError(b, b.service.Switch(name, json.RawMessage(value)))
}

type reply struct {
	status int
	header http.Header
	body   string
	fields map[string]any
	cut    bool
}

// code returns the error code, from the format of either service.
func (r reply) code() string {
	if code, ok := r.fields["error_code"].(string); ok {
		return code
	}
	inner, _ := r.fields["error"].(map[string]any)
	code, _ := inner["code"].(string)
	return code
}

// send sends a signed request to a path under the project.
func (b *bench) send(handler http.Handler, method, path, body string) (got reply) {
	r := httptest.NewRequest(method, "https://service.example.com/v1/"+b.project+"/"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	}
	b.sign(r, []byte(body))
	return b.do(handler, r)
}

func (b *bench) do(handler http.Handler, r *http.Request) (got reply) {
	w := httptest.NewRecorder()
	defer func() {
		if cause := recover(); cause != nil {
			require.Equal(b, http.ErrAbortHandler, cause)
			got.cut = true
		}
	}()
	handler.ServeHTTP(w, r)
	got = reply{status: w.Code, header: w.Header(), body: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &got.fields) // some answers are not JSON
	return got
}

func (b *bench) metal(method, path, body string) reply {
	return b.send(b.service.CloudDC(), method, path, body)
}

func (b *bench) server(method, path, body string) reply {
	return b.send(b.service.CloudServers(), method, path, body)
}

// quoted returns a JSON list of ids.
func quoted(ids []string) string {
	return `["` + strings.Join(ids, `","`) + `"]`
}

// change sets the password of instances.
func (b *bench) change(password string, ids ...string) reply {
	return b.metal(http.MethodPut, "instances/password", `{"new_password":"`+password+`","instance_id_set":`+quoted(ids)+`}`)
}

// reset sets the password of cloud servers.
func (b *bench) reset(password string, ids ...string) reply {
	var servers []map[string]string
	for _, id := range ids {
		servers = append(servers, map[string]string{"id": id})
	}
	raw, err := json.Marshal(servers)
	require.NoError(b, err)
	return b.server(http.MethodPut, "cloudservers/os-reset-passwords", `{"new_password":"`+password+`","dry_run":false,"servers":`+string(raw)+`}`)
}

// admits asserts that each host accepts this password and no other.
func (b *bench) admits(password string, ids ...string) {
	b.Helper()
	for _, id := range ids {
		user := "root"
		if b.service.Host(id).OS == "windows" {
			user = "Administrator"
		}
		for _, p := range []string{first, second, third} {
			assert.Equal(b, p == password, b.service.Admits(id, user, p), "%s: %s", id, p)
		}
	}
}

// names returns the ids of a list of objects.
func names(value any) []string {
	list, _ := value.([]any)
	ids := []string{}
	for _, item := range list {
		object, _ := item.(map[string]any)
		id, _ := object["id"].(string)
		ids = append(ids, id)
	}
	return ids
}

func TestBothServicesCheckCallers(t *testing.T) {
	change := `{"new_password":"` + second + `","instance_id_set":["m1"]}`
	reset := `{"new_password":"` + second + `","servers":[{"id":"c1"}]}`
	for name, c := range map[string]struct {
		sign   func(b *bench) func(r *http.Request, body []byte)
		status int
		code   string
	}{
		"no credential": {func(*bench) func(*http.Request, []byte) { return func(*http.Request, []byte) {} }, 401, "APIGW.0301"},
		"another body signed": {func(b *bench) func(*http.Request, []byte) {
			return func(r *http.Request, _ []byte) {
				huaweicloud.Sign(r, []byte("{}"), b.state.AccessKeys[0], b.lab.Clock.Now())
			}
		}, 401, "APIGW.0301"},
		"unknown token": {func(*bench) func(*http.Request, []byte) {
			return func(r *http.Request, _ []byte) { r.Header.Set("X-Auth-Token", "nonsense") }
		}, 401, "APIGW.0301"},
		"another project in the header": {func(b *bench) func(*http.Request, []byte) {
			return func(r *http.Request, body []byte) {
				r.Header.Set("X-Project-Id", b.state.Projects[1].ID)
				huaweicloud.Sign(r, body, b.state.AccessKeys[0], b.lab.Clock.Now())
			}
		}, 403, "APIGW.0302"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sign = c.sign(b)
			for _, got := range []reply{b.metal(http.MethodPut, "instances/password", change), b.server(http.MethodPut, "cloudservers/os-reset-passwords", reset)} {
				assert.Equal(t, c.status, got.status)
				assert.Equal(t, c.code, got.code())
			}
			assert.Zero(t, b.service.Host("m1").Changes+b.service.Host("c1").Changes)
		})
	}
}

func TestTokenIsValidUntilItExpires(t *testing.T) {
	b := newBench(t)
	user := b.state.Users[0]
	body := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"` + user.Name + `","password":"` + user.Password +
		`","domain":{"name":"` + b.state.DomainName + `"}}}},"scope":{"project":{"id":"` + b.project + `"}}}}`
	r := httptest.NewRequest(http.MethodPost, "https://iam.example.com/v3/auth/tokens", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	b.cloud.ServeHTTP(w, r)
	token := w.Header().Get("X-Subject-Token")
	require.NotEmpty(t, token)
	b.sign = func(r *http.Request, _ []byte) { r.Header.Set("X-Auth-Token", token) }
	assert.Equal(t, 200, b.change(second, "m1").status)
	assert.Equal(t, 200, b.reset(second, "c1").status)
	require.NoError(t, b.cloud.Switch("revoke_tokens", json.RawMessage("true")))
	assert.Equal(t, "APIGW.0307", b.change(third, "m1").code(), "401 in the middle")
	assert.Equal(t, "APIGW.0307", b.reset(third, "c1").code())
}

func TestDeniedActionsAreRefused(t *testing.T) {
	b := newBench(t)
	b.flip("denied", `["clouddc:instance:list","ecs:cloudServers:resetServerPwd"]`)
	got := b.metal(http.MethodGet, "instances", "")
	assert.Equal(t, 403, got.status)
	assert.Equal(t, "APIGW.0302", got.code())
	assert.Equal(t, 200, b.metal(http.MethodGet, "instances/m1/status", "").status)
	got = b.reset(second, "c1")
	assert.Equal(t, 403, got.status)
	assert.Equal(t, "Ecs.0003", got.code())
	assert.Equal(t, 200, b.server(http.MethodGet, "cloudservers/c1", "").status)
	b.flip("denied", `[]`)
	assert.Equal(t, 200, b.reset(second, "c1").status)
	require.ErrorContains(t, b.service.Switch("denied", json.RawMessage(`["ecs:fly"]`)), "unknown IAM action")
}

func TestSwitchErrorsExplainAllowedValues(t *testing.T) {
	b := newBench(t)
	for _, c := range [][3]string{
		{"nothing", `1`, "unknown switch"},
		{"strict", `"yes"`, "true or false"},
		{"effective", `"later"`, "restart, now"},
		{"omit", `-1`, "a list of ids"},
		{"omit", `"m1"`, "a list of ids"},
		{"partial", `{"m1":"Ecs.0000"}`, "not a cloud server"},
		{"partial", `{"c1":""}`, "no error code"},
		{"partial", `["c1"]`, "an object"},
		{"restart_ms", `-5`, "non-negative"},
		{"instance_state", `"asleep"`, "must be one of"},
		{"instance_state", `{"c1":"stopped"}`, "no such host"},
		{"instance_state", `7`, "an object"},
		{"operation_state", `{"m1":"dancing"}`, "must be one of"},
		{"server_status", `{"m1":"ACTIVE"}`, "no such host"},
		{"plugin", `"no"`, "an object"},
		{"denied", `"x"`, "a list"},
	} {
		require.ErrorContains(t, b.service.Switch(c[0], json.RawMessage(c[1])), c[2], c[0]+" "+c[1])
	}
}

func TestInvalidStatesAreRefused(t *testing.T) {
	good := Instance{ID: "a", ServerID: "s", ProjectID: "p", Password: first}
	cloudy := Server{ID: "b", ProjectID: "p", Password: first}
	for want, spoil := range map[string]func(i *Instance, v *Server){
		"no server_id":            func(i *Instance, _ *Server) { i.ServerID = "" },
		"no id":                   func(i *Instance, _ *Server) { i.ID = "" },
		"password":                func(_ *Instance, v *Server) { v.Password = "" },
		"twice":                   func(_ *Instance, v *Server) { v.ID = "a" },
		"unknown os":              func(_ *Instance, v *Server) { v.OS = "plan9" },
		"unknown state":           func(_ *Instance, v *Server) { v.Status = "running" },
		"unknown operation_state": func(i *Instance, _ *Server) { i.OperationState = "x" },
	} {
		l := lab.New(nil)
		i, v := good, cloudy
		spoil(&i, &v)
		_, err := New(l, nil, State{Instances: []Instance{i}, CloudServers: []Server{v}})
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), first)
		l.Close()
	}
}

func TestDefaultStateHasHostsOfEveryKind(t *testing.T) {
	l := lab.New(nil)
	t.Cleanup(l.Close)
	state := DefaultState("p")
	s, err := New(l, nil, state)
	require.NoError(t, err)
	require.Len(t, s.Hosts(), 8)
	assert.Equal(t, state.Instances[0].ID, s.Hosts()[0])
	assert.Equal(t, state.CloudServers[0].ID, s.Hosts()[4])
	assert.True(t, s.Admits(state.Instances[2].ID, "Administrator", state.Instances[2].Password))
	assert.False(t, s.Admits(state.Instances[2].ID, "root", state.Instances[2].Password))
	assert.False(t, s.Admits(state.Instances[3].ID, "root", state.Instances[3].Password), "stopped")
	assert.False(t, *s.Host(state.CloudServers[2].ID).Plugin)
	shown, err := json.Marshal(s.State())
	require.NoError(t, err)
	for _, i := range state.Instances {
		assert.NotContains(t, string(shown), i.Password)
		assert.Contains(t, string(shown), i.ID)
	}
	for _, v := range state.CloudServers {
		assert.NotContains(t, string(shown), v.Password)
		assert.Contains(t, string(shown), v.ID)
	}
}

func TestGatewayRefusesUnknownPaths(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"", "instances/m1/password", "instances/m1", "cloudservers/c1", "instances/", "jobs", "instances//status"} {
		got := b.metal(http.MethodGet, path, "")
		assert.Equal(t, 404, got.status, path)
		assert.Equal(t, "APIGW.0101", got.code(), path)
	}
	for _, path := range []string{"", "instances", "cloudservers", "cloudservers/c1/os-reset-password", "jobs/"} {
		assert.Equal(t, "APIGW.0101", b.server(http.MethodGet, path, "").code(), path)
	}
	assert.Equal(t, "APIGW.0101", b.metal(http.MethodPost, "instances/password", "{}").code())
}

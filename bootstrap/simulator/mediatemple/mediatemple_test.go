package mediatemple

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

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good  = "Gk8#Wq2~Zt5!Lm3x"
	other = "Xk8#Wq2~Zt5!Lm3y"
	third = "Yk8#Wq2~Zt5!Lm3z"
)

type bench struct {
	*testing.T
	api *API
	lab *lab.Lab
}

// start is the time of the tests' clock, taken from the documented sample.
var start = time.UnixMilli(1284609174311)

func newBench(t *testing.T) *bench {
	l := lab.New(func() time.Time { return start })
	t.Cleanup(l.Close)
	api, err := New(l, State{Accounts: []Account{
		{APIKeys: []string{"key-1", "key-2"}, Services: []Service{
			{ID: 556, PrimaryDomain: "dv35.example.com", HasPlesk: true, RootPassword: good, PleskPassword: good},
			{ID: 557, RootPassword: good},
		}},
		{APIKeys: []string{"key-3"}, Services: []Service{{ID: 901, RootPassword: good}}},
	}})
	require.NoError(t, err)
	return &bench{T: t, api: api, lab: l}
}

func (b *bench) flip(name, value string) {
	require.NoError(b, b.api.Switch(name, json.RawMessage(value)))
}

// send sends a request. Headers have the form "name: value" and replace the
// default ones.
func (b *bench) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://api.example.com"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "MediaTemple key-1")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

func (b *bench) put(target, password string) string {
	id, kind, _ := strings.Cut(target, "/")
	return code(b.send(http.MethodPut, "/api/v1/services/"+id+"/"+kind+"Password", `{"password":"`+password+`"}`))
}

// code returns "202", "409 OperationPending" or, without an envelope, "404 -".
func code(w *httptest.ResponseRecorder) string {
	status := http.StatusText(w.Code)
	var body struct {
		Response *envelope `json:"response"`
	}
	if json.Unmarshal(w.Body.Bytes(), &body) != nil || body.Response == nil {
		return status + " -"
	}
	if w.Code != body.Response.StatusCode {
		status += " with " + http.StatusText(body.Response.StatusCode)
	}
	for _, e := range body.Response.Errors {
		status += " " + e.ErrorCode
	}
	return status
}

func TestAcceptedPasswordTakesEffectWhenJobEnds(t *testing.T) {
	b := newBench(t)
	w := b.send(http.MethodPut, "/api/v1/services/556/rootPassword.json", `{"password":"`+other+`"}`)
	assert.Equal(t, http.StatusAccepted, w.Code)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	assert.Equal(t, `{"response":{"statusCode":202,"timeStamp":1284609174311,"date":"2010-09-16T03:52:54.311+0000","errors":[],"custom":[]}}`, w.Body.String())

	assert.True(t, b.api.Admits("556", "root", good), "the old password stays in force until then")
	assert.False(t, b.api.Admits("556", "root", other))
	assert.Equal(t, "Conflict OperationPending", b.put("556/root", third))
	st := b.api.Credential("556/root")
	require.NotNil(t, st.PendingUntil)
	assert.Equal(t, 1, st.Accepted)
	assert.Zero(t, st.Changes)

	b.lab.Clock.Advance(2 * time.Second)
	assert.False(t, b.api.Admits("556", "root", good))
	assert.True(t, b.api.Admits("556", "root", other), "the request that was answered 409 changed nothing")
	assert.False(t, b.api.Admits("556", "admin", other))
	assert.False(t, b.api.Admits("999", "root", other))
	assert.Equal(t, CredentialState{Target: "556/root", Accepted: 1, Changes: 1}, b.api.Credential("556/root"))
	assert.Equal(t, "Accepted", b.put("556/root", third))
	entries := b.lab.Journal.List(Name, "556/root")
	require.Len(t, entries, 3)
	assert.Equal(t, []string{"202", "OperationPending", "202"}, []string{entries[0].Result, entries[1].Result, entries[2].Result})
	assert.True(t, entries[0].Applied)
	assert.False(t, entries[1].Applied)
}

func TestExclusiveJobsConflict(t *testing.T) {
	b := newBench(t)
	assert.Equal(t, "Accepted", b.put("556/root", other))
	assert.Equal(t, "Accepted", b.put("556/plesk", other))
	b.lab.Clock.Advance(time.Minute)
	b.flip("jobs", `"exclusive"`)
	assert.Equal(t, "Accepted", b.put("556/plesk", third))
	assert.Equal(t, "Conflict OperationPending", b.put("556/root", third))
	assert.Equal(t, "Accepted", b.put("557/root", third), "another service")
	b.lab.Clock.Advance(time.Minute)
	assert.Equal(t, "Accepted", b.put("556/root", third))
}

func TestJobCanFailSilently(t *testing.T) {
	b := newBench(t)
	b.flip("job_fails", "true")
	assert.Equal(t, "Accepted", b.put("556/root", other))
	b.flip("job_fails", "false")
	b.lab.Clock.Advance(time.Minute)
	assert.True(t, b.api.Admits("556", "root", good))
	assert.Equal(t, CredentialState{Target: "556/root", Accepted: 1, FailedJobs: 1}, b.api.Credential("556/root"))
	assert.False(t, b.lab.Journal.List(Name, "556/root")[0].Applied)
}

func TestSwitchSetsJobDuration(t *testing.T) {
	b := newBench(t)
	b.flip("job_ms", "0")
	assert.Equal(t, "Accepted", b.put("556/root", other))
	assert.True(t, b.api.Admits("556", "root", other))
	b.flip("job_ms", "3600000")
	assert.Equal(t, "Accepted", b.put("556/root", third))
	b.lab.Clock.Advance(59 * time.Minute)
	assert.True(t, b.api.Admits("556", "root", other))
	b.lab.Clock.Advance(2 * time.Minute)
	assert.True(t, b.api.Admits("556", "root", third))
}

func TestJobOverwritesManualChange(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.api.SetPassword(t.Context(), "557/root", third))
	assert.True(t, b.api.Admits("557", "root", third))
	assert.Equal(t, "Accepted", b.put("557/root", other))
	require.NoError(t, b.api.SetPassword(t.Context(), "557/root", good))
	assert.True(t, b.api.Admits("557", "root", good))
	b.lab.Clock.Advance(time.Minute)
	assert.True(t, b.api.Admits("557", "root", other))
	for _, target := range []string{"557", "557/plesk", "557/admin", "1/root", ""} {
		require.ErrorContains(t, b.api.SetPassword(t.Context(), target, good), "has no password", target)
	}
}

func TestInvalidChangesAreRefused(t *testing.T) {
	const url = "/api/v1/services/556/rootPassword"
	body := `{"password":"` + other + `"}`
	for _, c := range []struct {
		name, method, url, body string
		headers                 []string
		flip                    [2]string
		want                    string
	}{
		{name: "unknown service", url: "/api/v1/services/555/rootPassword", want: "Not Found InvalidService"},
		{name: "word as service", url: "/api/v1/services/web/rootPassword", want: "Not Found InvalidService"},
		{name: "leading zero", url: "/api/v1/services/0556/rootPassword", want: "Not Found InvalidService"},
		{name: "negative", url: "/api/v1/services/-556/pleskPassword.json", want: "Not Found InvalidService"},
		{name: "path trick", url: "/api/v1/services/556%2F..%2F557/rootPassword", want: "Not Found InvalidService"},
		{name: "foreign service", url: "/api/v1/services/901/rootPassword", want: "Forbidden AuthError"},
		{name: "foreign service, 404", url: "/api/v1/services/901/rootPassword", flip: [2]string{"foreign", `"404"`}, want: "Not Found InvalidService"},
		{name: "foreign service, 401", url: "/api/v1/services/901/rootPassword", flip: [2]string{"foreign", `"401"`}, want: "Unauthorized NotPermitted"},
		{name: "no Plesk", url: "/api/v1/services/557/pleskPassword", want: "Method Not Allowed PleskNotAvailable"},
		{name: "maintenance", flip: [2]string{"maintenance", "true"}, want: "Service Unavailable ServiceUnavailable"},
		{name: "another status than in the body", flip: [2]string{"http_status", "200"}, url: "/api/v1/services/555/rootPassword", want: "OK with Not Found InvalidService"},

		{name: "empty", body: `{"password":""}`, want: "Bad Request InvalidPassword"},
		{name: "empty without rules", body: `{"password":""}`, flip: [2]string{"rules", `"none"`}, want: "Bad Request InvalidPassword"},
		{name: "null", body: `{"password":null}`, want: "Bad Request InvalidPassword"},
		{name: "missing", body: `{}`, want: "Bad Request InvalidPassword"},
		{name: "number", body: `{"password":12345678}`, want: "Bad Request InvalidPassword"},
		{name: "wrapped", body: `{"rootPassword":{"password":"` + other + `"}}`, want: "Bad Request InvalidPassword"},
		{name: "other case", body: `{"Password":"` + other + `"}`, want: "Bad Request InvalidPassword"},
		{name: "unknown field", body: `{"password":"` + other + `","x":1}`, want: "Bad Request InvalidPassword"},
		{name: "two values", body: body + body, want: "Bad Request InvalidPassword"},
		{name: "brace too much", body: body + "}", want: "Bad Request InvalidPassword"},
		{name: "array", body: `["password"]`, want: "Bad Request InvalidPassword"},
		{name: "not escaped", body: `{"password":"a"b"}`, want: "Bad Request InvalidPassword"},
		{name: "weak", body: `{"password":"abcdefgh"}`, want: "Bad Request InvalidPassword"},

		{name: "form", headers: []string{"Content-Type: application/x-www-form-urlencoded"}, want: "Unsupported Media Type -"},
		{name: "no type", headers: []string{"Content-Type: "}, want: "Unsupported Media Type -"},
		{name: "latin 1", headers: []string{"Content-Type: application/json; charset=latin1"}, want: "Unsupported Media Type -"},
		{name: "XML by parameter", url: url + "?_format=xml", want: "Unsupported Media Type -"},
		{name: "long", body: `{"password":"` + strings.Repeat("a", maxBody) + `"}`, want: "Request Entity Too Large -"},
		{name: "POST", method: http.MethodPost, want: "Method Not Allowed -"},
		{name: "PATCH", method: http.MethodPatch, want: "Method Not Allowed -"},
		{name: "GET with override", method: http.MethodGet, url: url + "?_method=PUT", want: "Method Not Allowed -"},
		{name: "bad query", url: url + "?a=%zz", want: "Bad Request -"},
		{name: "other version", url: "/api/v2/services/556/rootPassword", want: "Not Found -"},
		{name: "no version", url: "/services/556/rootPassword", want: "Not Found -"},
		{name: "other password", url: "/api/v1/services/556/adminPassword", want: "Not Found -"},
		{name: "trailing slash", url: url + "/", want: "Not Found -"},
		{name: "no id", url: "/api/v1/services//rootPassword", want: "Not Found -"},
		{name: "XML by suffix", url: url + ".xml", want: "Not Found -"},
		{name: "not simulated", method: http.MethodPost, url: "/api/v1/services/556/reboot", want: "Not Found -"},

		{name: "no key", headers: []string{"Authorization: "}, want: "Forbidden AuthError"},
		{name: "wrong key", headers: []string{"Authorization: MediaTemple key-9"}, want: "Forbidden AuthError"},
		{name: "bare key", headers: []string{"Authorization: key-1"}, want: "Forbidden AuthError"},
		{name: "other scheme", headers: []string{"Authorization: Bearer key-1"}, want: "Forbidden AuthError"},
		{name: "scheme in lower case", headers: []string{"Authorization: mediatemple key-1"}, want: "Forbidden AuthError"},
		{name: "two spaces", headers: []string{"Authorization: MediaTemple  key-1"}, want: "Forbidden AuthError"},
		{name: "empty key", headers: []string{"Authorization: MediaTemple "}, want: "Forbidden AuthError"},
		{name: "wrong header, right parameter", url: url + "?apikey=key-1", headers: []string{"Authorization: MediaTemple key-9"}, want: "Forbidden AuthError"},
		{name: "wrong parameter", url: url + "?apikey=key-9", headers: []string{"Authorization: "}, want: "Forbidden AuthError"},
		{name: "two parameters", url: url + "?apikey=key-1&apikey=key-1", headers: []string{"Authorization: "}, want: "Forbidden AuthError"},
		{name: "parameter, switched off", url: url + "?apikey=key-1", headers: []string{"Authorization: "}, flip: [2]string{"query_key", `"refused"`}, want: "Forbidden AuthError"},
	} {
		b := newBench(t)
		if c.flip[0] != "" {
			b.flip(c.flip[0], c.flip[1])
		}
		if c.method == "" {
			c.method = http.MethodPut
		}
		if c.url == "" {
			c.url = url
		}
		if c.body == "" {
			c.body = body
		}
		assert.Equal(t, c.want, code(b.send(c.method, c.url, c.body, c.headers...)), c.name)
		b.lab.Clock.Advance(time.Hour)
		for _, id := range b.api.Hosts() {
			assert.True(t, b.api.Admits(id, "root", good), c.name)
			assert.Zero(t, b.api.Credential(id+"/root").Accepted, c.name)
		}
		for _, e := range b.lab.Journal.List("", "") {
			assert.False(t, e.Applied, c.name)
			assert.NotContains(t, e.Target+e.Operation+e.Result, "..", c.name)
		}
	}
}

func TestValidRequestsAreAccepted(t *testing.T) {
	const url = "/api/v1/services/556/rootPassword"
	for _, c := range []struct {
		name, method, url string
		headers           []string
	}{
		{name: "suffix", url: url + ".json"},
		{name: "charset", headers: []string{"Content-Type: application/json; charset=UTF-8"}},
		{name: "the account's other key", headers: []string{"Authorization: MediaTemple key-2"}},
		{name: "key as parameter", url: url + ".json?apikey=key-1", headers: []string{"Authorization: "}},
		{name: "override", method: http.MethodPost, url: url + "?_method=PUT"},
	} {
		b := newBench(t)
		if c.method == "" {
			c.method = http.MethodPut
		}
		if c.url == "" {
			c.url = url
		}
		assert.Equal(t, "Accepted", code(b.send(c.method, c.url, `{"password":"`+other+`"}`, c.headers...)), c.name)
	}
}

func TestKeysInURLsAreCounted(t *testing.T) {
	b := newBench(t)
	b.send(http.MethodGet, "/api/v1/services/ids?apikey=key-1", "")
	b.send(http.MethodGet, "/api/v1/services/ids", "")
	state, err := json.Marshal(b.api.State())
	require.NoError(t, err)
	assert.Contains(t, string(state), `"keys_in_url":1`)
	assert.NotContains(t, string(state), "key-1")
	assert.NotContains(t, string(state), good)
}

func TestPasswordRulesDifferByAccount(t *testing.T) {
	for _, c := range []struct {
		password    string
		root, plesk bool
	}{
		{good, true, true},
		{"Abcdef1!", true, false},
		{"Abcde12!", true, true},
		{"Abcd12!", false, false},
		{"abcdef12!", false, false},
		{"ABCDEF12!", false, false},
		{"Abcdefgh!", false, false},
		{"Abcdefg12", false, false}, // like the documented sample
		{"Abcde 12!", false, false},
		{"Abcde12!ä", false, false},
		{"Abcde12!\n", false, false},
		{`Abcde12!"`, true, false},
		{"Abcde12!'", true, false},
		{"xAdmin12!", true, false},
		{"Aa12!" + strings.Repeat("a", 251), true, false},
	} {
		assert.Equal(t, c.root, acceptable("advice", root, c.password), c.password)
		assert.Equal(t, c.plesk, acceptable("advice", panel, c.password), c.password)
		assert.True(t, acceptable("none", panel, c.password), c.password)
	}
	b := newBench(t)
	w := b.send(http.MethodPut, "/api/v1/services/557/rootPassword", `{"password":"quoteme"}`)
	assert.NotContains(t, w.Body.String(), "quoteme")
	b.flip("echo_password", "true")
	w = b.send(http.MethodPut, "/api/v1/services/557/rootPassword", `{"password":"quoteme"}`)
	assert.Contains(t, w.Body.String(), "quoteme")
	b.flip("rules", `"none"`)
	assert.Equal(t, "Accepted", b.put("557/root", "quoteme"))
}

func TestServicesAreListedToTheirOwnerOnly(t *testing.T) {
	b := newBench(t)
	get := func(path string, headers ...string) string {
		w := b.send(http.MethodGet, "/api/v1/services"+path, "", headers...)
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		return w.Body.String()
	}
	assert.JSONEq(t, `{"serviceIds":[556,557]}`, get("/ids"))
	assert.JSONEq(t, `{"serviceIds":[556,557]}`, get("/ids.json", "Accept: application/xml"))
	assert.JSONEq(t, `[556,557]`, get("/ids?wrapRoot=false"))
	assert.JSONEq(t, `{"serviceIds":[901]}`, get("/ids", "Authorization: MediaTemple key-3"))
	assert.Contains(t, get("/ids?prettyPrint=true", "Accept: text/html, */*;q=0.1"), "\n  ")
	assert.Contains(t, get(""), `{"services":[{`)
	assert.JSONEq(t, `{"service":{"id":556,"serviceType":605,"serviceTypeName":"(dv) Dedicated-Virtual Base 3.5","ipAddresses":["192.168.200.66"],
		"hostServer":"vz000.mediatemple.net","billingStatus":"0","billingStatusText":"OPEN","operatingSystem":"1002","operatingSystemName":"Centos 5",
		"accessDomain":null,"primaryDomain":"dv35.example.com","pendingReboot":"0","addons":[{"id":258,"description":"Plesk 9.5 with 30 domains"}]}}`, get("/556.json"))
	assert.NotContains(t, get("/557"), "Plesk")

	for path, want := range map[string]string{
		"/555": "Not Found InvalidService", "/types": "Not Found InvalidService", "/901": "Forbidden AuthError", "/ids/": "Not Found -", "s": "Not Found -",
	} {
		assert.Equal(t, want, code(b.send(http.MethodGet, "/api/v1/services"+path, "")), path)
	}
	assert.Equal(t, "Not Acceptable -", code(b.send(http.MethodGet, "/api/v1/services/ids", "", "Accept: application/xml")))
	w := b.send(http.MethodPut, "/api/v1/services/ids", "")
	assert.Equal(t, "Method Not Allowed -", code(w))
	assert.Equal(t, "GET", w.Header().Get("Allow"))
	b.flip("http_status", "500")
	assert.Contains(t, get("/ids"), "556", "http_status affects only answers with an envelope")
}

func TestInvalidStatesAreRefused(t *testing.T) {
	for want, state := range map[string]State{
		"API key":         {Accounts: []Account{{APIKeys: []string{""}}}},
		"two accounts":    {Accounts: []Account{{APIKeys: []string{"k"}}, {APIKeys: []string{"k"}}}},
		"not positive":    {Accounts: []Account{{Services: []Service{{RootPassword: "x"}}}}},
		"not unique":      {Accounts: []Account{{Services: []Service{{ID: 1, RootPassword: "x"}, {ID: 1, RootPassword: "x"}}}}},
		"root_password":   {Accounts: []Account{{Services: []Service{{ID: 1}}}}},
		"plesk_password":  {Accounts: []Account{{Services: []Service{{ID: 1, HasPlesk: true, RootPassword: "x"}}}}},
		"if it has Plesk": {Accounts: []Account{{Services: []Service{{ID: 1, RootPassword: "x", PleskPassword: "x"}}}}},
	} {
		_, err := New(lab.New(nil), state)
		require.ErrorContains(t, err, want)
	}
	l := lab.New(nil)
	api, err := New(l, DefaultState())
	require.NoError(t, err)
	assert.Equal(t, []string{"556", "557", "901"}, api.Hosts())
	assert.Equal(t, "dv35.example.com", api.HostName("556"))
	assert.Empty(t, api.HostName("1"))
	require.ErrorContains(t, api.Switch("http_status", json.RawMessage("100")), "200 to 599")
	require.ErrorContains(t, api.Switch("job_seconds", json.RawMessage("1")), "unknown switch")
}

package plesk

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

const (
	good  = "Gk8#Wq2~Zt5!Lm3x"
	other = "Xk8#Wq2~Zt5!Lm3y"
)

type panel struct {
	*testing.T
	server *Server
	lab    *lab.Lab
}

func newPanel(t *testing.T) *panel {
	l := lab.New(nil)
	t.Cleanup(l.Close)
	server, err := New(l, State{
		AdminPassword: "admin-pw",
		SecretKeys:    []SecretKey{{Key: "the-key", ID: "the-id"}, {Key: "far-key", IPAddress: "203.0.113.9"}},
		Aliases:       []Alias{{Login: "ops1", Password: good, Email: "a@b.c"}, {Login: "ops2", Password: good, Disabled: true}},
	})
	require.NoError(t, err)
	return &panel{T: t, server: server, lab: l}
}

func (p *panel) flip(name, value string) {
	require.NoError(p, p.server.Switch(name, json.RawMessage(value)))
}

// post sends a packet. Headers have the form "name: value".
func (p *panel) post(packet string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://plesk.example.com:8443"+Path, strings.NewReader(packet))
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("Content-Type", "text/xml")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, r)
	return w
}

func as(login, password string) []string {
	return []string{"HTTP_AUTH_LOGIN: " + login, "HTTP_AUTH_PASSWD: " + password}
}

var code = regexp.MustCompile(`<errcode>(\d+)</errcode>`)

// answer returns "ok", "system 1001" or "1013".
func answer(w *httptest.ResponseRecorder) string {
	body := w.Body.String()
	m := code.FindStringSubmatch(body)
	switch {
	case w.Code != http.StatusOK:
		return http.StatusText(w.Code)
	case m == nil && strings.Contains(body, "<status>ok</status>"):
		return "ok"
	case m == nil:
		return "nonsense"
	case strings.Contains(body, "<system>"):
		return "system " + m[1]
	}
	return m[1]
}

const protos = head + `<packet><server><get_protos/></server></packet>`

func setPassword(login, password string) string {
	return set("<filter><login>" + login + "</login></filter><data><password>" + password + "</password></data>")
}

func TestCallersAreAuthenticated(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		packet  string
		flip    []string
		want    string
	}{
		{"administrator", as("admin", "admin-pw"), protos, nil, "ok"},
		{"administrator in capitals", as("ADMIN", "admin-pw"), protos, nil, "ok"},
		{"key", []string{"KEY: the-key"}, protos, nil, "ok"},
		{"key wins over a login", []string{"KEY: the-key", "HTTP_AUTH_LOGIN: admin", "HTTP_AUTH_PASSWD: bad"}, protos, nil, "ok"},
		{"wrong password", as("admin", "bad"), protos, nil, "system 1001"},
		{"unknown login", as("nobody", "bad"), protos, nil, "system 1001"},
		{"login without password", []string{"HTTP_AUTH_LOGIN: admin"}, protos, nil, "system 1001"},
		{"password without login", []string{"HTTP_AUTH_PASSWD: admin-pw"}, protos, nil, "system 1001"},
		{"header names without prefix", []string{"AUTH_LOGIN: admin", "AUTH_PASSWD: admin-pw"}, protos, nil, "system 1029"},
		{"nothing", nil, protos, nil, "system 1029"},
		{"headers swallowed by a proxy", as("admin", "admin-pw"), protos, []string{"drop_underscore_headers", "true"}, "system 1029"},
		{"wrong key", []string{"KEY: bad"}, protos, nil, "system 11003"},
		{"key of another address", []string{"KEY: far-key"}, protos, nil, "system 11003"},
		{"API switched off", as("admin", "admin-pw"), protos, []string{"api", `"off"`}, "system 1010"},
		{"alias, strict", as("ops1", good), protos, nil, "system 1006"},
		{"alias with a wrong password", as("ops1", "bad"), protos, nil, "system 1001"},
		{"alias, allowed", as("ops1", good), protos, []string{"alias_api", `"allowed"`}, "ok"},
		{"suspended alias", as("ops2", good), protos, []string{"alias_api", `"allowed"`}, "system 1011"},
		{"alias changes another", as("ops1", good), setPassword("ops2", other), []string{"alias_api", `"allowed"`}, "1006"},
		{"alias reads the server", as("ops1", good), head + `<packet><server><get><gen_info/></get></server></packet>`, []string{"alias_api", `"allowed"`}, "1006"},
		{"administrator reads the server", as("admin", "admin-pw"), head + `<packet><server><get><gen_info/></get></server></packet>`, nil, "ok"},
	} {
		p := newPanel(t)
		if c.flip != nil {
			p.flip(c.flip[0], c.flip[1])
		}
		assert.Equal(t, c.want, answer(p.post(c.packet, c.headers...)), c.name)
	}
}

func TestInvalidPacketsAreRefused(t *testing.T) {
	p := newPanel(t)
	request := func(method, path string) *http.Request {
		r := httptest.NewRequest(method, "https://plesk.example.com"+path, strings.NewReader(protos))
		r.Header.Set("Content-Type", "text/xml")
		r.Header.Set("KEY", "the-key")
		return r
	}
	chunked := request(http.MethodPost, Path)
	chunked.ContentLength = -1
	for want, r := range map[int]*http.Request{
		http.StatusNotFound:         request(http.MethodPost, "/enterprise/control/agent.php/"),
		http.StatusMethodNotAllowed: request(http.MethodGet, Path),
		http.StatusLengthRequired:   chunked,
	} {
		w := httptest.NewRecorder()
		p.server.ServeHTTP(w, r)
		assert.Equal(t, want, w.Code)
	}
	assert.Equal(t, "system 1014", answer(p.post(protos, "KEY: the-key", "Content-Type: application/xml")))
	assert.Equal(t, "ok", answer(p.post(protos, "KEY: the-key", "Content-Type: text/xml; charset=utf-8")))
	assert.Equal(t, "system 1014", answer(p.post("<packet", "KEY: the-key")))
	assert.Equal(t, "system 1005", answer(p.post(strings.Replace(protos, "<packet>", `<packet version="100.0.0">`, 1), "KEY: the-key")))
	assert.Equal(t, "ok", answer(p.post(strings.Replace(protos, "<packet>", `<packet version="1.6.6.0">`, 1), "KEY: the-key")))
	assert.Equal(t, "system 1001", answer(p.post("<packet", as("admin", "bad")...)), "errors in the packet are not reported to unauthenticated callers")
}

func TestAdminAliasChangesAreChecked(t *testing.T) {
	for _, c := range []struct{ name, packet, want string }{
		{"password", setPassword("ops1", other), "ok"},
		{"login in other case", setPassword("OPS1", other), "ok"},
		{"unknown login", setPassword("nobody", other), "1013"},
		{"the main administrator", setPassword("admin", other), "1013"},
		{"weak", setPassword("ops1", "weak-password"), "1038"},
		{"quote", setPassword("ops1", other+"&quot;"), "1019"},
		{"white space inside", setPassword("ops1", "Gk8#Wq2~ Zt5!Lm3x"), "1019"},
		{"login inside", setPassword("ops1", other+"ops1"), "1019"},
		{"empty", setPassword("ops1", ""), "1019"},
		{"rename to an existing one", set(filter + `<data><login>ops2</login></data>`), "1002"},
		{"rename to the new login inside the password", set(filter + `<data><login>fresh</login><password>` + other + `fresh</password></data>`), "1019"},
		{"nothing", set(filter + `<data/>`), "ok"},
		{"no rights to the schema", set(`<filter/><data/>`), "system 1014"},
	} {
		assert.Equal(t, c.want, answer(newPanel(t).post(c.packet, "KEY: the-key")), c.name)
	}
}

func TestUnknownLoginMayGetNoResult(t *testing.T) {
	p := newPanel(t)
	p.flip("unknown_login", `"no-result"`)
	w := p.post(setPassword("nobody", other), "KEY: the-key")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "<server><set-admin-alias></set-admin-alias></server>")
	require.Equal(t, "ok", answer(p.post(setPassword("ops1", other), "KEY: the-key")))
}

func TestSystemErrorRefusesEveryPacket(t *testing.T) {
	p := newPanel(t)
	p.flip("system_error", "1004")
	require.Equal(t, "system 1004", answer(p.post(setPassword("ops1", other), "KEY: the-key")))
	require.Equal(t, "system 1004", answer(p.post(protos, "KEY: the-key")))
	require.Equal(t, "system 11003", answer(p.post(protos, "KEY: bad")), "callers are authenticated first")
	p.flip("system_error", "0")
	require.True(t, p.works("ops1", good), "nothing was changed")
}

func (p *panel) works(login, password string) bool {
	p.flip("alias_api", `"allowed"`)
	return answer(p.post(protos, as(login, password)...)) == "ok"
}

func TestChangedPasswordReplacesTheOldOne(t *testing.T) {
	p := newPanel(t)
	require.Equal(t, "ok", answer(p.post(setPassword("ops1", other), "KEY: the-key")))
	assert.True(t, p.works("ops1", other))
	assert.False(t, p.works("ops1", good))
	entries := p.lab.Journal.List(Name, "ops1")
	require.NotEmpty(t, entries)
	assert.Equal(t, "set-admin-alias", entries[0].Operation)
	assert.True(t, entries[0].Applied)

	require.Equal(t, "1038", answer(p.post(setPassword("ops1", "weak-password"), "KEY: the-key")))
	assert.True(t, p.works("ops1", other), "a refused password changes nothing")

	require.Equal(t, "ok", answer(p.post(setPassword("ops1", "  "+good+"\n"), "KEY: the-key")))
	assert.True(t, p.works("ops1", good), "leading and trailing white space is removed")

	require.Equal(t, "ok", answer(p.post(set(`<filter><login>ops1</login><login>OPS2</login></filter><data><password>`+other+`</password></data>`), "KEY: the-key")))
	assert.True(t, p.works("ops1", other))
	assert.Equal(t, "1013", answer(p.post(set(`<filter><login>ops1</login><login>x</login></filter><data><password>`+good+`</password></data>`), "KEY: the-key")))
	assert.True(t, p.works("ops1", good), "aliases before the failing one stay changed")
}

func TestFailedLoginsLockAnAccount(t *testing.T) {
	p := newPanel(t)
	for range 5 {
		assert.Equal(t, "system 1001", answer(p.post(protos, as("admin", "bad")...)))
	}
	assert.Equal(t, "system 1012", answer(p.post(protos, as("admin", "admin-pw")...)))
	assert.Equal(t, "ok", answer(p.post(protos, "KEY: the-key")), "the lock does not affect keys")
	assert.Equal(t, 1, p.server.Account("admin").Locks)
	p.lab.Clock.Advance(601 * time.Second)
	assert.Equal(t, "ok", answer(p.post(protos, as("admin", "admin-pw")...)))
}

func TestAliasesAreAddedAndDeleted(t *testing.T) {
	p := newPanel(t)
	add := func(data string) string {
		return answer(p.post(head+`<packet><server><add-admin-alias><data>`+data+`</data></add-admin-alias></server></packet>`, "KEY: the-key"))
	}
	full := `<login>fresh</login><password>` + other + `</password><email>f@example.com</email><contact>F</contact>`
	assert.Equal(t, "1019", add(`<login>fresh</login>`))
	assert.Equal(t, "ok", add(full))
	assert.Equal(t, "1002", add(full))
	assert.True(t, p.works("fresh", other))
	remove := head + `<packet><server><del-admin-alias><filter><login>fresh</login></filter></del-admin-alias></server></packet>`
	assert.Equal(t, "ok", answer(p.post(remove, "KEY: the-key")))
	assert.Equal(t, "1013", answer(p.post(remove, "KEY: the-key")))
	assert.False(t, p.works("fresh", other))
}

func TestSecretKeysRotate(t *testing.T) {
	p := newPanel(t)
	keys := func(inner, key string) *httptest.ResponseRecorder {
		return p.post(head+`<packet><secret_key>`+inner+`</secret_key></packet>`, "KEY: "+key)
	}
	w := keys(`<create><description>made by a test</description></create>`, "the-key")
	require.Equal(t, "ok", answer(w))
	fresh := regexp.MustCompile(`<key>([^<]+)</key>`).FindStringSubmatch(w.Body.String())[1]
	assert.Equal(t, "ok", answer(p.post(protos, "KEY: "+fresh)))
	w = keys(`<get_info><filter/></get_info>`, fresh)
	assert.Contains(t, w.Body.String(), "made by a test")
	assert.NotContains(t, w.Body.String(), fresh, "the server stores only a hash")
	assert.Contains(t, w.Body.String(), "<ip_address>127.0.0.1</ip_address>", "bound to the sender's address")
	assert.Equal(t, "ok", answer(keys(`<delete><filter><key>the-key</key></filter></delete>`, fresh)))
	assert.Equal(t, "system 11003", answer(p.post(protos, "KEY: the-key")))
	assert.Equal(t, "1013", answer(keys(`<get_info><filter><key>the-key</key></filter></get_info>`, fresh)))
	assert.Equal(t, "1019", answer(keys(`<create><ip_address>here</ip_address></create>`, fresh)))
	assert.Equal(t, "ok", answer(keys(`<delete><filter/></delete>`, fresh)), "an empty filter matches all keys")
	assert.Equal(t, "system 11003", answer(p.post(protos, "KEY: "+fresh)))
}

func TestAdministratorsPasswordRotates(t *testing.T) {
	p := newPanel(t)
	change := head + `<packet><server><set><password>` + other + `</password></set></server></packet>`
	assert.Equal(t, "ok", answer(p.post(change, as("admin", "admin-pw")...)))
	assert.Equal(t, "system 1001", answer(p.post(protos, as("admin", "admin-pw")...)))
	assert.Equal(t, "ok", answer(p.post(protos, as("admin", other)...)))
}

func TestFormatSwitchesKeepResult(t *testing.T) {
	p := newPanel(t)
	p.flip("language", `"ja"`)
	p.flip("output", `"debug <text>"`)
	p.flip("pretty", "true")
	p.flip("echo_password", "true")
	w := p.post(setPassword("ops1", "weak-password"), "KEY: the-key")
	assert.Equal(t, "1038", answer(w))
	assert.Contains(t, w.Body.String(), "パスワード")
	assert.Contains(t, w.Body.String(), "weak-password")
	assert.Contains(t, w.Body.String(), "<output>debug &lt;text&gt;</output>")
	assert.Contains(t, w.Body.String(), `<packet version="1.6.9.1">`)
	assert.Contains(t, w.Body.String(), "\n    <set-admin-alias>")
	require.ErrorContains(t, p.server.Switch("policy", json.RawMessage(`"huge"`)), "one of")
	require.ErrorContains(t, p.server.Switch("nothing", json.RawMessage(`1`)), "unknown switch")
}

// Refused requests count over all logins and keys, those of additional administrators with get_protos too.
func TestFail2BanCountsRefusalsOfAddress(t *testing.T) {
	p := newPanel(t)
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001}
	for range 10 {
		p.post(protos, as("admin", "wrong")...)
	}
	require.False(t, p.server.Drops(from), "it is off")
	require.Len(t, p.server.Refusals().Times, 10)
	p.flip("fail2ban", "5")
	require.Empty(t, p.server.Refusals().Times)
	for i, headers := range [][]string{
		as("ops1", "wrong"), as("ops2", "wrong"), as("nobody", "wrong"), {"KEY: wrong"}, as("admin", "admin-pw"), // locked
	} {
		require.False(t, p.server.Drops(from))
		require.Contains(t, []string{"system 1001", "system 11003", "system 1012"}, answer(p.post(protos, headers...)))
		require.Len(t, p.server.Refusals().Times, i+1)
		for _, headers := range [][]string{as("ops1", good), {"KEY: the-key"}, nil} { // 1006, accepted, no credentials
			p.post(protos, headers...)
		}
		require.Len(t, p.server.Refusals().Times, i+1)
	}
	require.True(t, p.server.Drops(from))
	require.False(t, p.server.Drops(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}))
	require.Equal(t, 1, p.server.Refusals().Bans)
	p.lab.Clock.Advance(600 * time.Second)
	require.False(t, p.server.Drops(from), "the ban ends by itself")
}

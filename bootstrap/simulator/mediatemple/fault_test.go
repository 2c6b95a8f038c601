package mediatemple

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

func TestFaultsUseTheAPIsOwnAnswers(t *testing.T) {
	for _, c := range []struct {
		kind    lab.Kind
		variant string
		want    string
		changed bool
	}{
		{kind: lab.Refuse, want: "Bad Request InvalidPassword"},
		{kind: lab.RejectTarget, want: "Not Found InvalidService"},
		{kind: lab.Busy, want: "Conflict OperationPending"},
		{kind: lab.Deny, want: "Forbidden AuthError"},
		{kind: lab.Deny, variant: "forbidden", want: "Unauthorized NotPermitted"},
		{kind: lab.Throttle, want: "Too Many Requests -"},
		{kind: lab.Err500, want: "Internal Server Error UnknownError"},
		{kind: lab.Apply500, want: "Internal Server Error UnknownError", changed: true},
		{kind: lab.NoSuccess, want: "OK with Internal Server Error UnknownError"},
		{kind: lab.HTML503, want: "Service Unavailable -"},
		{kind: lab.Apply502HTML, want: "Bad Gateway -", changed: true},
		{kind: lab.Apply503HTML, want: "Service Unavailable -", changed: true},
		{kind: lab.HTML200, want: "OK -"},
		{kind: lab.Empty200, want: "OK -"},
		{kind: lab.Truncated, want: "Accepted -", changed: true},
		{kind: lab.Slow, want: "Accepted", changed: true},
	} {
		b := newBench(t)
		require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "556/plesk", Kind: c.kind, Variant: c.variant, Count: 1}))
		assert.Equal(t, "Accepted", b.put("556/root", other), "another target")
		assert.Equal(t, c.want, b.put("556/plesk", other), c.kind)
		b.lab.Clock.Advance(time.Minute)
		assert.Equal(t, c.changed, b.api.Credential("556/plesk").Changes == 1, c.kind)
		entries := b.lab.Journal.List(Name, "556/plesk")
		require.Len(t, entries, 1)
		assert.Equal(t, c.kind, entries[0].Fault)
		assert.Equal(t, c.changed, entries[0].Applied)
	}
}

func TestLateChangeStartsJobLate(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "*", Kind: lab.Late, DelayMS: 50, Count: 1}))
	assert.Panics(t, func() { b.put("556/root", other) }, "the connection is cut")
	require.Eventually(t, func() bool { return b.api.Credential("556/root").Accepted == 1 }, 20*time.Second, 5*time.Millisecond)
	assert.True(t, b.api.Admits("556", "root", good))
	b.lab.Clock.Advance(time.Minute)
	assert.True(t, b.api.Admits("556", "root", other))
}

func TestHeldLateChangeIsNotQueued(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "556/root", Kind: lab.Late, Variant: "held", Count: 1}))
	assert.Panics(t, func() { b.put("556/root", other) }, "the connection is cut")
	b.lab.Clock.Advance(time.Minute)
	assert.True(t, b.api.Admits("556", "root", good))
	assert.Equal(t, "Accepted", b.put("556/root", third), "no operation is pending")
	b.lab.Clock.Advance(time.Minute)
	b.lab.Faults.Clear(Name, "556/root")
	require.Eventually(t, func() bool { return b.api.Credential("556/root").Accepted == 2 }, 20*time.Second, 5*time.Millisecond)
	assert.True(t, b.api.Admits("556", "root", third))
	b.lab.Clock.Advance(time.Minute)
	assert.True(t, b.api.Admits("556", "root", other))
}

func TestFaultsDoNotBypassAuthentication(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: Name, Target: "*", Kind: lab.Empty200}))
	assert.Equal(t, "Forbidden AuthError", code(b.send(http.MethodPut, "/api/v1/services/556/rootPassword", `{"password":"`+other+`"}`, "Authorization: ")))
	assert.Equal(t, "Bad Request InvalidPassword", b.put("556/root", ""))
	assert.Zero(t, b.lab.Faults.List()[0].Used)
}

func TestPleskPasswordLogsInAtPanel(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(b.api.Panel("556"))
	t.Cleanup(server.Close)
	try := func(password string) error {
		return login.Plesk(t.Context(), server.URL, nil, plesk.AdminLogin, password)
	}
	var refused *login.RefusedError
	require.Nil(t, b.api.Panel("557"))
	require.Nil(t, b.api.Panel("1"))
	require.NoError(t, try(good))
	assert.Equal(t, "Accepted", b.put("556/plesk", other))
	require.NoError(t, try(good))
	require.ErrorAs(t, try(other), &refused)
	assert.Equal(t, "1001", refused.Code)
	b.lab.Clock.Advance(time.Minute)
	require.NoError(t, try(other))
	require.ErrorAs(t, try(good), &refused)
	assert.True(t, b.api.Admits("556", "root", good), "the root password does not change")

	// Panels and the Plesk server that the engine manages have separate faults.
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: plesk.Name, Target: "*", Kind: lab.Err500, Operations: []string{lab.OpCheck}}))
	require.NoError(t, try(other))
	require.NoError(t, b.lab.Faults.Set(lab.Fault{System: PanelName, Target: "556", Kind: lab.Err500, Count: 1, Operations: []string{lab.OpCheck}}))
	require.ErrorContains(t, try(other), "500")
	require.NoError(t, try(other))
	entries := b.lab.Journal.List("", "556")
	require.Len(t, entries, 8)
	for _, e := range entries {
		assert.Equal(t, PanelName, e.System)
	}
	assert.Empty(t, b.lab.Journal.List(plesk.Name, ""))

	// A password changed in the panel itself is the service's Plesk password too.
	packet := `<?xml version="1.0" encoding="UTF-8"?><packet><server><set><password>` + third + `</password></set></server></packet>`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+plesk.Path, strings.NewReader(packet))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "text/xml")
	request.Header["HTTP_AUTH_LOGIN"], request.Header["HTTP_AUTH_PASSWD"] = []string{"admin"}, []string{other}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, try(third))
	http.DefaultClient.CloseIdleConnections()
}

func TestPanelLocksItsAdministrator(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(b.api.Panel("556"))
	t.Cleanup(server.Close)
	var refused *login.RefusedError
	for range 6 {
		require.ErrorAs(t, login.Plesk(t.Context(), server.URL, nil, plesk.AdminLogin, "wrong"), &refused)
	}
	assert.Equal(t, "1012", refused.Code)
	assert.Equal(t, 1, b.api.Panel("556").Account(plesk.AdminLogin).Locks)
}

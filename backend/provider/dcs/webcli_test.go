package dcs

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// prove makes one proof and verifies what holds for each.
func (c *cloud) prove(t *testing.T) (provider.Result, provider.Proof) {
	t.Helper()
	return c.proveBy(t.Context(), t, c.open(t), newPassword)
}

func (c *cloud) proveBy(ctx context.Context, t *testing.T, client provider.Client, password string) (provider.Result, provider.Proof) {
	t.Helper()
	prover, ok := client.(provider.Prover)
	require.True(t, ok)
	before := len(c.logins())
	result, proof := prover.Prove(ctx, c.request(t, methodModify).Target, password)
	providertest.RequireSecretFree(t, result)
	providertest.RequireSecretFree(t, proof)
	require.NotEmpty(t, proof.Reason)
	require.Equal(t, proof.Verdict != provider.CannotTell, result.Outcome == provider.Applied)
	sent := 0
	for _, request := range c.logins()[before:] {
		if request.RequestURI == "/v2/p1/instances/inst-1/webcli/auth" {
			sent++
		}
	}
	require.LessOrEqual(t, sent, 1, "a wrong password must not be sent twice")
	require.Equal(t, proof.Unsent, sent == 0)
	return result, proof
}

func TestProofLogsInAndOut(t *testing.T) {
	c := newCloud(t)
	result, proof := c.prove(t)
	require.Equal(t, want{provider.Applied, target, "", 0, -1}, got(result))
	require.Equal(t, provider.Works, proof.Verdict)
	require.Equal(t, 1, c.lists())
	require.Empty(t, c.sent(), "nothing is changed")
	requests := c.logins()
	require.Len(t, requests, 2)
	require.Equal(t, "/v2/p1/instances/inst-1/webcli/auth", requests[0].RequestURI)
	require.Equal(t, `{"password":"app:`+newPassword+`"}`, requests[0].body)
	require.Equal(t, "/v2/p1/instances/inst-1/webcli/logout", requests[1].RequestURI)
	require.Equal(t, `{"client_id":"c-4711"}`, requests[1].body)
	for _, request := range requests {
		require.Equal(t, "application/json;charset=UTF-8", request.Header.Get("Content-Type"))
	}
}

func TestFailedLogoutChangesNoProof(t *testing.T) {
	for name, logout := range map[string]http.HandlerFunc{
		"broken":       says(500, ""),
		"cut":          cut,
		"no session":   says(401, `{"error_code":"DCS.4061"}`),
		"no such path": says(404, `{"error_code":"APIGW.0101"}`),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.logout = logout
			client := c.open(t)
			for range 2 {
				_, proof := c.proveBy(t.Context(), t, client, newPassword)
				require.Equal(t, provider.Works, proof.Verdict)
			}
			require.Len(t, c.logins(), 4)
		})
	}
}

func TestLoginOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code, 0, -1} }
	for name, test := range map[string]struct {
		status  int
		body    string
		verdict provider.Verdict
		want    want
		reason  string
	}{
		"session":               {200, loggedIn, provider.Works, want{provider.Applied, target, "", 0, -1}, "accepted"},
		"numeric session":       {200, `{"client_id":4711}`, provider.Works, want{provider.Applied, target, "", 0, -1}, "accepted"},
		"wrong password":        {400, `{"error_code":"DCS.4080","error_msg":"` + newPassword + `"}`, provider.Refused, want{provider.Applied, target, "DCS.4080", 0, -1}, "refused the password"},
		"no session":            {200, `{"databases":256}`, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"empty session":         {200, `{"client_id":""}`, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"null session":          {200, `{"client_id":null}`, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"session and an error":  {200, `{"client_id":"c","error_code":"DCS.4080"}`, provider.CannotTell, unknown("DCS.4080"), "does not tell"},
		"result of a change":    {200, `{"result":"passwordFailed"}`, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"a page":                {200, `<html>`, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"empty":                 {200, ``, provider.CannotTell, unknown("HTTP 200"), "does not tell"},
		"session with 201":      {201, loggedIn, provider.CannotTell, unknown("HTTP 201"), "does not tell"},
		"redirect":              {302, loggedIn, provider.CannotTell, unknown("HTTP 302"), "does not tell"},
		"wrong parameter":       {400, `{"error_code":"DCS.4845"}`, provider.CannotTell, want{provider.Rejected, target, "DCS.4845", 0, -1}, "rejected"},
		"ACL parameter":         {400, `{"error_code":"DCS.4961"}`, provider.CannotTell, want{provider.Rejected, target, "DCS.4961", 0, -1}, "rejected"},
		"password-free":         {400, `{"error_code":"DCS.4850"}`, provider.CannotTell, want{provider.Rejected, target, "DCS.4850", 0, -1}, "password-free"},
		"not running":           {400, `{"error_code":"DCS.4049"}`, provider.CannotTell, want{provider.Busy, target, "DCS.4049", 0, -1}, "not running"},
		"locked?":               {400, `{"error_code":"DCS.4115"}`, provider.CannotTell, want{provider.Busy, target, "DCS.4115", 0, -1}, "busy"},
		"gateway":               {400, `{"error_code":"APIGW.0201"}`, provider.CannotTell, want{provider.Rejected, target, "APIGW.0201", 0, -1}, "gateway"},
		"400 without a code":    {400, `{"error":{"code":400,"message":"wrong password"}}`, provider.CannotTell, unknown("HTTP 400"), "does not tell"},
		"refused key":           {401, `{"error_code":"APIGW.0301"}`, provider.CannotTell, want{provider.Denied, connection, "APIGW.0301", 0, -1}, "access key"},
		"old gateway":           {401, `{"error_code":"APIG.0301"}`, provider.CannotTell, want{provider.Denied, connection, "APIG.0301", 0, -1}, "access key"},
		"token of other":        {401, `{"error_code":"DCS.1004"}`, provider.CannotTell, want{provider.Denied, connection, "DCS.1004", 0, -1}, "access key"},
		"wrong, as 401":         {401, `{"error_code":"DCS.4080"}`, provider.CannotTell, unknown("DCS.4080"), "not with the code"},
		"unknown 401":           {401, `{"error_code":"DCS.9999"}`, provider.CannotTell, unknown("DCS.9999"), "not with the code"},
		"401 without a code":    {401, `{"error":{"code":401,"message":"m"}}`, provider.CannotTell, unknown("HTTP 401"), "not with the code"},
		"401 of a proxy":        {401, `<html>`, provider.CannotTell, unknown("HTTP 401"), "not with the code"},
		"no permission":         {403, `{"error_code":"DCS.3003"}`, provider.CannotTell, want{provider.Denied, target, "DCS.3003", 0, -1}, "dcs:instance:webcli"},
		"no permission, policy": {403, `{"error_code":"APIGW.0302"}`, provider.CannotTell, want{provider.Denied, target, "APIGW.0302", 0, -1}, "dcs:instance:webcli"},
		"wrong, as 403":         {403, `{"error_code":"DCS.4080"}`, provider.CannotTell, want{provider.Denied, target, "DCS.4080", 0, -1}, "dcs:instance:webcli"},
		"403 of a proxy":        {403, `<html>`, provider.CannotTell, unknown("HTTP 403"), "does not tell"},
		"no such API":           {404, `{"error_code":"APIGW.0101"}`, provider.CannotTell, want{provider.Rejected, target, "APIGW.0101", 0, -1}, "no such"},
		"throttled":             {429, ``, provider.CannotTell, want{provider.Busy, connection, "HTTP 429", 0, -1}, "throttled"},
		"broken":                {500, `{"error_code":"DCS.5000"}`, provider.CannotTell, unknown("DCS.5000"), "does not tell"},
		"wrong, as 500":         {500, `{"error_code":"DCS.4080"}`, provider.CannotTell, unknown("DCS.4080"), "does not tell"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.login = says(test.status, test.body)
			client := c.open(t)
			result, proof := c.proveBy(t.Context(), t, client, newPassword)
			require.Equal(t, test.verdict, proof.Verdict)
			require.Equal(t, test.want, got(result))
			require.Contains(t, proof.Reason, test.reason)
			logouts := 0
			if test.verdict == provider.Works {
				logouts = 1
			}
			require.Len(t, c.logins(), 1+logouts)
			// A wrong password of the account, however it is reported, does not count against the credential of the connection.
			aboutConnection := test.want.outcome == provider.Denied && test.want.scope == connection
			require.Equal(t, test.status == 401 && !aboutConnection, result.Accepted)
			again, _ := c.proveBy(t.Context(), t, client, newPassword)
			require.Equal(t, aboutConnection, again.Unsent, "a refused key pauses")
		})
	}
}

func TestLookupBeforeProofSendsNoPassword(t *testing.T) {
	for name, test := range map[string]struct {
		list, show http.HandlerFunc
		outcome    provider.Outcome
		scope      provider.Scope
		reason     string
	}{
		"being changed":      {updating, nil, provider.Busy, target, "being created or changed"},
		"deleted":            {says(200, `{"accounts":[]}`), nil, provider.Rejected, target, "no account with this account_id"},
		"default account":    {says(200, account1(`"normal"`, `"default"`)), nil, provider.Rejected, target, "default account"},
		"another name":       {says(200, account1(`"app"`, `"other"`)), nil, provider.Rejected, target, "another name"},
		"unknown status":     {says(200, account1("AVAILABLE", "MOVING")), nil, provider.Rejected, target, "not documented"},
		"list broken":        {says(500, ""), nil, provider.Unreachable, connection, "the password was not sent"},
		"list cut":           {cut, nil, provider.Unreachable, connection, "the password was not sent"},
		"refused key":        {says(401, `{"error_code":"APIGW.0301"}`), nil, provider.Denied, connection, "access key"},
		"throttled":          {says(429, ""), nil, provider.Busy, connection, "throttled"},
		"password-free":      {nil, says(200, `{"no_password_access":"true"}`), provider.Rejected, target, "password-free"},
		"password-free bool": {nil, says(200, `{"no_password_access":true}`), provider.Rejected, target, "password-free"},
		"unknown access":     {nil, says(200, `{"no_password_access":null}`), provider.Unreachable, connection, "the password was not sent"},
		"a page":             {nil, says(200, `<html>`), provider.Unreachable, connection, "the password was not sent"},
		"access and error":   {nil, says(200, `{"no_password_access":"false","error_code":"x"}`), provider.Unreachable, connection, "the password was not sent"},
		"show cut":           {nil, cut, provider.Unreachable, connection, "the password was not sent"},
		"no permission":      {nil, says(403, `{"error_code":"DCS.2007"}`), provider.Denied, target, "dcs:instance:get"},
		"no instance":        {nil, says(404, `{"error_code":"DCS.3022"}`), provider.Rejected, target, "no such"},
		"busy":               {nil, says(400, `{"error_code":"DCS.4111"}`), provider.Busy, target, "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if test.list != nil {
				c.list = test.list
			}
			if test.show != nil {
				c.show = test.show
			}
			result, proof := c.prove(t)
			require.Equal(t, provider.CannotTell, proof.Verdict)
			require.True(t, proof.Unsent)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, test.scope, result.Scope)
			require.Contains(t, proof.Reason, test.reason)
			require.Empty(t, c.logins())
		})
	}
}

// After a failed change, a login shows which password the account has.
func TestAccountInErrorCanBeProved(t *testing.T) {
	c := newCloud(t)
	c.list = failed
	c.show = says(200, `{"no_password_access":false}`)
	_, proof := c.prove(t)
	require.Equal(t, provider.Works, proof.Verdict)
}

func TestUnusablePasswordIsNotProved(t *testing.T) {
	c := newCloud(t)
	client := c.open(t)
	for _, password := range []string{"", "bad\xff"} {
		result, proof := c.proveBy(t.Context(), t, client, password)
		require.True(t, proof.Unsent)
		require.Equal(t, provider.Rejected, result.Outcome)
		require.Equal(t, provider.ScopePassword, result.Scope)
	}
	prover, ok := client.(provider.Prover)
	require.True(t, ok)
	result, proof := prover.Prove(t.Context(), provider.Target{Settings: provider.Settings{"instance_id": "../x"}}, newPassword)
	require.True(t, proof.Unsent)
	require.Equal(t, provider.Rejected, result.Outcome)
	require.Zero(t, c.lists())
}

func TestLostLoginProvesNothing(t *testing.T) {
	c := newCloud(t)
	c.login = cut
	result, proof := c.prove(t)
	require.Equal(t, provider.Unknown, result.Outcome)
	require.Equal(t, provider.CannotTell, proof.Verdict)
	require.False(t, proof.Unsent)

	ctx, cancel := context.WithCancel(t.Context())
	c = newCloud(t)
	c.login = func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}
	client := c.open(t)
	result, proof = c.proveBy(ctx, t, client, newPassword)
	require.Equal(t, provider.Unknown, result.Outcome)
	require.False(t, proof.Unsent)
	result, proof = c.proveBy(ctx, t, client, newPassword)
	require.Equal(t, provider.Unreachable, result.Outcome, "the context has ended")
	require.True(t, proof.Unsent)
}

package dcs

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// want is the expected result; tries is -1 if the response does not say.
type want struct {
	outcome provider.Outcome
	scope   provider.Scope
	code    string
	retry   time.Duration
	tries   int
}

func got(result provider.Result) want {
	w := want{result.Outcome, result.Scope, result.Code, result.RetryAfter, -1}
	if result.TriesLeft != nil {
		w.tries = *result.TriesLeft
	}
	return w
}

const (
	target     = provider.ScopeTarget
	connection = provider.ScopeConnection
)

func TestModifyOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code, 0, -1} }
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
	}{
		"success":                {200, `{"lock_time":"0","result":"success","lock_time_left":"0","retry_times_left":"5","message":"` + newPassword + `"}`, want{provider.Applied, target, "", 0, -1}},
		"success, capitalized":   {200, `{"result":"Success"}`, want{provider.Applied, target, "", 0, -1}},
		"success and nulls":      {200, `{"lock_time":null,"result":"success","lock_time_left":null,"retry_times_left":null,"error_code":null}`, want{provider.Applied, target, "", 0, -1}},
		"wrong":                  {200, `{"result":"passwordFailed","lock_time_left":"0","retry_times_left":"4"}`, want{provider.Mismatch, target, "passwordFailed", 0, 4}},
		"wrong, numbers":         {200, `{"result":"passwordFailed","lock_time_left":0,"retry_times_left":2}`, want{provider.Mismatch, target, "passwordFailed", 0, 2}},
		"wrong, nulls":           {200, `{"result":"PasswordFailed","lock_time_left":null,"retry_times_left":null}`, want{provider.Mismatch, target, "passwordFailed", 0, -1}},
		"wrong, nonsense":        {200, `{"result":"passwordFailed","lock_time_left":"soon","retry_times_left":"-1"}`, want{provider.Mismatch, target, "passwordFailed", 0, -1}},
		"wrong and now locked":   {200, `{"result":"passwordFailed","lock_time":"5","lock_time_left":"5","retry_times_left":"0"}`, want{provider.Mismatch, target, "passwordFailed", 5 * time.Minute, 0}},
		"locked":                 {200, `{"result":"locked","lock_time":"5","lock_time_left":"3","retry_times_left":"0"}`, want{provider.Busy, target, "locked", 3 * time.Minute, 0}},
		"locked, capitalized":    {200, `{"result":"Locked","lock_time_left":4}`, want{provider.Busy, target, "locked", 4 * time.Minute, -1}},
		"locked, time unknown":   {200, `{"result":"locked"}`, want{provider.Busy, target, "locked", 5 * time.Minute, -1}},
		"locked, time null":      {200, `{"result":"locked","lock_time_left":null}`, want{provider.Busy, target, "locked", 5 * time.Minute, -1}},
		"locked, nearly over":    {200, `{"result":"locked","lock_time_left":"0"}`, want{provider.Busy, target, "locked", time.Minute, -1}},
		"locked for seconds?":    {200, `{"result":"locked","lock_time_left":"300"}`, want{provider.Busy, target, "locked", 15 * time.Minute, -1}},
		"locked forever":         {200, `{"result":"locked","lock_time_left":"18446744073709551615"}`, want{provider.Busy, target, "locked", 15 * time.Minute, -1}},
		"failed":                 {200, `{"result":"failed"}`, unknown("failed")},
		"unknown result":         {200, `{"result":"` + newPassword + `"}`, unknown("HTTP 200")},
		"result missing":         {200, `{"message":"success"}`, unknown("HTTP 200")},
		"result null":            {200, `{"result":null}`, unknown("HTTP 200")},
		"result a list":          {200, `{"result":["success"]}`, unknown("HTTP 200")},
		"result true":            {200, `{"result":true}`, unknown("HTTP 200")},
		"result elsewhere":       {200, `{"data":{"result":"success"}}`, unknown("HTTP 200")},
		"success and an error":   {200, `{"result":"success","error_code":"DCS.5000"}`, unknown("DCS.5000")},
		"empty":                  {200, ``, unknown("HTTP 200")},
		"null":                   {200, `null`, unknown("HTTP 200")},
		"list":                   {200, `["success"]`, unknown("HTTP 200")},
		"HTML page":              {200, `<html>success</html>`, unknown("HTTP 200")},
		"truncated":              {200, `{"result":"success"`, unknown("HTTP 200")},
		"trailing":               {200, `{"result":"success"} x`, unknown("HTTP 200")},
		"too long":               {200, `{"result":"success","x":"` + strings.Repeat("x", 1<<20) + `"}`, unknown("")},
		"accepted":               {202, `{"result":"success"}`, unknown("HTTP 202")},
		"no content":             {204, ``, unknown("HTTP 204")},
		"redirect":               {302, `{"result":"success"}`, unknown("HTTP 302")},
		"password too simple":    {400, `{"error_code":"DCS.4019","error_msg":"` + newPassword + `"}`, want{provider.Rejected, provider.ScopePassword, "DCS.4019", 0, -1}},
		"parameter":              {400, `{"error_code":"DCS.4961","error_msg":"Acl account request param invalid.","error_ext_msg":null}`, want{provider.Rejected, provider.ScopePassword, "DCS.4961", 0, -1}},
		"password parameter":     {400, `{"error_code":"DCS.4845"}`, want{provider.Rejected, provider.ScopePassword, "DCS.4845", 0, -1}},
		"wrong, by error code":   {400, `{"error_code":"DCS.4080"}`, want{provider.Mismatch, target, "DCS.4080", 0, -1}},
		"job running":            {400, `{"error_code":"DCS.4017"}`, want{provider.Busy, target, "DCS.4017", 0, -1}},
		"instance not running":   {400, `{"error_code":"DCS.4049"}`, want{provider.Busy, target, "DCS.4049", 0, -1}},
		"recovering":             {400, `{"error_code":"DCS.4104"}`, want{provider.Busy, target, "DCS.4104", 0, -1}},
		"being changed":          {400, `{"error_code":"DCS.4115"}`, want{provider.Busy, target, "DCS.4115", 0, -1}},
		"password-free":          {400, `{"error_code":"DCS.4850"}`, want{provider.Rejected, target, "DCS.4850", 0, -1}},
		"other DCS code":         {400, `{"error_code":"DCS.4002"}`, want{provider.Rejected, target, "DCS.4002", 0, -1}},
		"other gateway code":     {400, `{"error_code":"APIGW.0201"}`, want{provider.Rejected, target, "APIGW.0201", 0, -1}},
		"other old gateway code": {400, `{"error_code":"APIG.0201"}`, want{provider.Rejected, target, "APIG.0201", 0, -1}},
		"code of other service":  {400, `{"error_code":"WAF.4019"}`, unknown("WAF.4019")},
		"400 without a code":     {400, `{"error":{"code":400,"message":"m"}}`, unknown("HTTP 400")},
		"400 of a proxy":         {400, `<html>`, unknown("HTTP 400")},
		"refused key":            {401, `{"error_code":"APIGW.0301","error_msg":"ak:AK1 ` + secretKey + `"}`, want{provider.Denied, connection, "APIGW.0301", 0, -1}},
		"refused by a proxy":     {401, ``, unknown("HTTP 401")},
		"no permission":          {403, `{"error_code":"DCS.3003"}`, want{provider.Denied, target, "DCS.3003", 0, -1}},
		"forbidden by a proxy":   {403, `<html>`, unknown("HTTP 403")},
		"no instance":            {404, `{"error_code":"DCS.3022"}`, want{provider.Rejected, target, "DCS.3022", 0, -1}},
		"not found by a proxy":   {404, `not found`, unknown("HTTP 404")},
		"throttled":              {429, ``, want{provider.Busy, connection, "HTTP 429", 0, -1}},
		"throttled in JSON":      {429, `{"error_code":"APIGW.0308"}`, want{provider.Busy, connection, "APIGW.0308", 0, -1}},
		"internal error":         {500, `{"error_code":"DCS.5000"}`, unknown("DCS.5000")},
		"4019 with another 5xx":  {500, `{"error_code":"DCS.4019"}`, unknown("DCS.4019")},
		"echo by a proxy":        {502, `{"new_password":"` + newPassword + `"}`, unknown("HTTP 502")},
		"gateway timeout":        {504, `{"error_code":"APIGW.0201"}`, unknown("APIGW.0201")},
		"unavailable with code":  {503, `{"error_code":"DCS.4017"}`, unknown("DCS.4017")},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.change = says(test.status, test.body)
			result := c.open(t).Change(t.Context(), c.request(t, methodModify))
			require.Equal(t, test.want, got(result))
			require.Equal(t, result.Outcome == provider.Applied, result.Exclusive)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
			require.Len(t, c.sent(), 1, "a wrong old password must not be sent twice")
			if name != "too long" {
				require.Equal(t, "req-5f0c1d2e3b4a59687766554433221100", result.RequestID)
			}
		})
	}
}

// The codes that Huawei's own Terraform provider waits for: nothing was changed, and the same password is sent later.
func TestBusyInstanceIsNoRefusal(t *testing.T) {
	for code := range strings.FieldsSeq(`DCS.4017 DCS.4104 DCS.4026 DCS.4049 DCS.4096 DCS.4097 DCS.4111 DCS.4113 DCS.4114 DCS.4115 DCS.4116
		DCS.4117 DCS.4118 DCS.4120 DCS.4121 DCS.4231 DCS.4975 CBC.99003651`) {
		busy := says(400, `{"error_code":"`+code+`"}`)
		for _, method := range []string{methodModify, methodReset} {
			c := newCloud(t)
			c.change = busy
			result := c.open(t).Change(t.Context(), c.request(t, method))
			require.Equal(t, provider.Busy, result.Outcome, code)
			require.Equal(t, target, result.Scope, code)
			require.Equal(t, code, result.Code)
		}
		c := newCloud(t)
		c.list = busy
		result := c.open(t).CheckTarget(t.Context(), c.request(t, methodModify).Target)
		require.Equal(t, provider.Busy, result.Outcome, code)
		require.Equal(t, provider.Busy, c.open(t).Change(t.Context(), c.request(t, methodModify)).Outcome, code)
		require.Empty(t, c.sent())
	}
}

func TestResetOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code, 0, -1} }
	applied := want{provider.Applied, target, "", 0, -1}
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
	}{
		"a code and a message": {200, `{"code":"success","message":"m","lock_time":null}`, applied},
		"an empty object":      {200, `{}`, applied},
		"a success":            {200, `{"result":"success"}`, applied},
		"error_code null":      {200, `{"error_code":null,"code":"0"}`, applied},
		"an error":             {200, `{"error_code":"DCS.5000"}`, unknown("DCS.5000")},
		"a nested error":       {200, `{"error":{"code":500,"message":"m"}}`, unknown("HTTP 200")},
		"a success code":       {200, `{"code":"DCS.0000","message":"m"}`, applied},
		"an error as a code":   {200, `{"code":"DCS.5000"}`, unknown("HTTP 200")},
		"failed":               {200, `{"result":"failed"}`, unknown("HTTP 200")},
		"passwordFailed":       {200, `{"result":"passwordFailed"}`, unknown("HTTP 200")},
		"locked":               {200, `{"result":"locked","lock_time_left":"2"}`, want{provider.Busy, target, "locked", 2 * time.Minute, -1}},
		"nothing":              {200, ``, unknown("HTTP 200")},
		"null":                 {200, `null`, unknown("HTTP 200")},
		"a page":               {200, `<html>`, unknown("HTTP 200")},
		"no content":           {204, ``, unknown("HTTP 204")},
		"too simple":           {400, `{"error_code":"DCS.4019"}`, want{provider.Rejected, provider.ScopePassword, "DCS.4019", 0, -1}},
		"throttled":            {429, ``, want{provider.Busy, connection, "HTTP 429", 0, -1}},
		"internal error":       {500, ``, unknown("HTTP 500")},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.change = says(test.status, test.body)
			result := c.open(t).Change(t.Context(), c.request(t, methodReset))
			require.Equal(t, test.want, got(result))
			require.False(t, result.Exclusive, "reset does not verify the old password")
			providertest.RequireSecretFree(t, result)
			require.Len(t, c.sent(), 1)
		})
	}
}

func TestChangeRequestsMatchDocs(t *testing.T) {
	c := newCloud(t)
	c.change = says(200, `{"result":"success"}`)
	client := c.open(t)
	client.Change(t.Context(), c.request(t, methodModify))
	client.Change(t.Context(), c.request(t, methodReset))
	sent := c.sent()
	require.Len(t, sent, 2)
	require.Equal(t, "/v2/p1/instances/inst-1/accounts/acc-1/password/modify", sent[0].RequestURI)
	require.Equal(t, `{"old_password":"cAnArY-Old1<&>\"\\ü","new_password":"cAnArY-New1<&>"}`, sent[0].body)
	require.Equal(t, "/v2/p1/instances/inst-1/accounts/acc-1/password/reset", sent[1].RequestURI)
	require.Equal(t, `{"new_password":"cAnArY-New1<&>"}`, sent[1].body)
	for _, request := range sent {
		require.Equal(t, "application/json;charset=UTF-8", request.Header.Get("Content-Type"))
		require.Equal(t, int64(len(request.body)), request.ContentLength)
	}
}

func TestFailureBeforeSendingIsNeverUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		list    http.HandlerFunc
		outcome provider.Outcome
		scope   provider.Scope
	}{
		"internal error":   {says(500, ""), provider.Unreachable, connection},
		"a page":           {says(200, "<html>"), provider.Unreachable, connection},
		"no list":          {says(200, `{"accounts":null}`), provider.Unreachable, connection},
		"list of nulls":    {says(200, `{"accounts":[null]}`), provider.Unreachable, connection},
		"redirect":         {says(302, ""), provider.Unreachable, connection},
		"cut":              {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, provider.Unreachable, connection},
		"no permission":    {says(403, `{"error_code":"DCS.3003"}`), provider.Denied, target},
		"refused key":      {says(401, `{"error_code":"APIGW.0301"}`), provider.Denied, connection},
		"throttled":        {says(429, ""), provider.Busy, connection},
		"no instance":      {says(404, `{"error_code":"DCS.3022"}`), provider.Rejected, target},
		"parameter":        {says(400, `{"error_code":"DCS.4961"}`), provider.Rejected, target},
		"instance is busy": {says(400, `{"error_code":"DCS.4049"}`), provider.Busy, target},
		"another name":     {says(200, account1(`"app"`, `"other"`)), provider.Rejected, target},
		"being updated":    {says(200, account1("AVAILABLE", "UPDATING")), provider.Busy, target},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.list = test.list
			result := c.open(t).Change(t.Context(), c.request(t, methodModify))
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, test.scope, result.Scope)
			require.True(t, result.Outcome.Unchanged())
			require.Empty(t, c.sent())
		})
	}
}

func TestInvalidChangeIsNotSent(t *testing.T) {
	c := newCloud(t)
	client := c.open(t)
	for _, password := range []string{"", "Ab1", "lowercaseonly1", "with:Colon1", "with space1A", "quote\"Aa1bb", "has-app-In1t", "has-ppa-In1t", "Ünicode-12345", "bracket[1]Aa", "semi;colon1A", "back\\slash1A", strings.Repeat("Aa1-", 17)} {
		change := c.request(t, methodModify)
		change.NewPassword = password
		result := client.Change(t.Context(), change)
		require.Equal(t, provider.Rejected, result.Outcome, password)
		require.Equal(t, provider.ScopePassword, result.Scope, password)
	}
	for _, old := range []string{"", "bad\xff"} {
		change := c.request(t, methodModify)
		change.OldPassword = old
		result := client.Change(t.Context(), change)
		require.Equal(t, provider.Rejected, result.Outcome)
		require.Equal(t, target, result.Scope)
		require.Contains(t, result.Reason, "nothing was sent")
	}
	change := c.request(t, methodModify)
	change.Target.Settings = provider.Settings{"instance_id": "../x", "account_id": "a", "username": "b"}
	require.Equal(t, provider.Rejected, client.Change(t.Context(), change).Outcome)
	require.Equal(t, provider.Rejected, client.CheckTarget(t.Context(), change.Target).Outcome)
	require.Zero(t, c.lists())
	require.Empty(t, c.sent())
}

func TestBrokenConnectionIsUnknownOnlyAfterSending(t *testing.T) {
	c := newCloud(t)
	c.change = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	result := c.open(t).Change(t.Context(), c.request(t, methodModify))
	require.Equal(t, provider.Unknown, result.Outcome)
	providertest.RequireSecretFree(t, result)

	ctx, cancel := context.WithCancel(t.Context())
	c = newCloud(t)
	c.change = func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}
	require.Equal(t, provider.Unknown, c.open(t).Change(ctx, c.request(t, methodModify)).Outcome)
	require.Equal(t, provider.Unreachable, c.open(t).Change(ctx, c.request(t, methodModify)).Outcome)
	require.Len(t, c.sent(), 1)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := c.connection()
	gone.URL = "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	client, err := Type{}.Open(gone)
	require.NoError(t, err)
	require.Equal(t, provider.Unreachable, client.Change(t.Context(), c.request(t, methodModify)).Outcome)
}

func TestRedirectGetsNoPassword(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	c := newCloud(t)
	c.change = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}
	require.Equal(t, provider.Unknown, c.open(t).Change(t.Context(), c.request(t, methodModify)).Outcome)
	require.Zero(t, stolen.Load())
}

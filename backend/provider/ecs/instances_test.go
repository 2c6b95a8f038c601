package ecs

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

const bothInstances = `{"instances":[{"id":"a-1"},{"id":"b-2"}]}`

func TestCloudDCChangeOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code} }
	staged := want{provider.Staged, target, ""}
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
		reason string
	}{
		"both":                   {200, bothInstances, staged, "restarted"},
		"in another order":       {200, `{"instances":[{"id":"b-2"},{"id":"a-1"}]}`, staged, ""},
		"upper case":             {200, `{"instances":[{"id":"A-1"},{"id":"B-2"}],"x":"` + newPassword + `"}`, staged, ""},
		"one of them twice":      {200, `{"instances":[{"id":"a-1"},{"id":"b-2"},{"id":"a-1"}]}`, staged, ""},
		"error_code null":        {200, `{"error_code":null,"instances":[{"id":"a-1"},{"id":"b-2"}]}`, staged, ""},
		"one missing":            {200, `{"instances":[{"id":"b-2"}]}`, unknown("HTTP 200"), "missing: a-1"},
		"all missing":            {200, `{"instances":[]}`, unknown("HTTP 200"), "missing: a-1, b-2"},
		"one more":               {200, `{"instances":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("HTTP 200"), "not requested"},
		"another instead":        {200, `{"instances":[{"id":"a-1"},{"id":"` + newPassword + `"}]}`, unknown("HTTP 200"), "not requested"},
		"one without an id":      {200, `{"instances":[{"id":"a-1"},{"id":"b-2"},{}]}`, unknown("HTTP 200"), "not requested"},
		"ids as texts":           {200, `{"instances":["a-1","b-2"]}`, unknown("HTTP 200"), ""},
		"null":                   {200, `{"instances":null}`, unknown("HTTP 200"), ""},
		"list elsewhere":         {200, `{"response":[{"id":"a-1"},{"id":"b-2"}]}`, unknown("HTTP 200"), ""},
		"both and an error":      {200, `{"error_code":"CloudDC.1","instances":[{"id":"a-1"},{"id":"b-2"}]}`, unknown("CloudDC.1"), ""},
		"both and another error": {200, `{"error":{"code":"x"},"instances":[{"id":"a-1"},{"id":"b-2"}]}`, unknown("HTTP 200"), ""},
		"empty":                  {200, ``, unknown("HTTP 200"), ""},
		"an empty object":        {200, `{}`, unknown("HTTP 200"), ""},
		"a page":                 {200, `<html>` + newPassword, unknown("HTTP 200"), ""},
		"truncated":              {200, bothInstances[:20], unknown("HTTP 200"), ""},
		"trailing":               {200, bothInstances + "x", unknown("HTTP 200"), ""},
		"accepted":               {202, bothInstances, unknown("HTTP 202"), ""},
		"no content":             {204, ``, unknown("HTTP 204"), ""},
		"redirect":               {302, bothInstances, unknown("HTTP 302"), ""},
		"refused":                {400, `{"error_code":"CloudDC.0001","error_msg":"` + newPassword + `"}`, want{provider.Rejected, target, "CloudDC.0001"}, "changed nothing"},
		"refused, odd code":      {400, `{"error_code":"` + newPassword + `","error_msg":"m"}`, want{provider.Rejected, target, "HTTP 400"}, ""},
		"refused by the gateway": {400, `{"error_code":"APIG.0201","error_msg":"m"}`, want{provider.Rejected, target, "APIG.0201"}, "gateway"},
		"400 in another form":    {400, `{"error":{"code":400,"message":"m"}}`, unknown("HTTP 400"), ""},
		"400 of a proxy":         {400, `<html>`, unknown("HTTP 400"), ""},
		"refused key":            {401, `{"error_code":"APIGW.0301","error_msg":"ak:AK1 ` + secretKey + `"}`, want{provider.Denied, connection, "APIGW.0301"}, ""},
		"401 of a proxy":         {401, ``, unknown("HTTP 401"), ""},
		"403 of the gateway":     {403, `{"error_code":"APIGW.0302"}`, want{provider.Denied, target, "APIGW.0302"}, ""},
		"403 of the service":     {403, `{"error_code":"CloudDC.0403"}`, want{provider.Denied, target, "CloudDC.0403"}, ""},
		"403 of a proxy":         {403, `<html>`, unknown("HTTP 403"), ""},
		"404":                    {404, `{"error_code":"CloudDC.0404"}`, want{provider.Rejected, target, "CloudDC.0404"}, ""},
		"404 of a proxy":         {404, `not found`, unknown("HTTP 404"), ""},
		"not ready":              {400, `{"error_code":"iMetal.0101","error_msg":"` + newPassword + `"}`, want{provider.Busy, target, "iMetal.0101"}, "busy"},
		"not ready, in a 500":    {500, `{"error_code":"iMetal.0101"}`, unknown("iMetal.0101"), ""},
		"conflict":               {409, `{"error_code":"CloudDC.0409"}`, want{provider.Busy, target, "CloudDC.0409"}, "busy"},
		"409 of a proxy":         {409, `<html>`, unknown("HTTP 409"), ""},
		"429, empty":             {429, ``, want{provider.Busy, connection, "HTTP 429"}, ""},
		"429, JSON":              {429, `{"error_code":"APIGW.0308"}`, want{provider.Busy, connection, "APIGW.0308"}, ""},
		"429, a page":            {429, `<html>`, want{provider.Busy, connection, "HTTP 429"}, ""},
		"500":                    {500, `{"error_code":"CloudDC.0500"}`, unknown("CloudDC.0500"), ""},
		"500 with a success":     {500, bothInstances, unknown("HTTP 500"), ""},
		"502 with an echo":       {502, `{"new_password":"` + newPassword + `"}`, unknown("HTTP 502"), ""},
		"504":                    {504, `{"error_code":"APIGW.0201"}`, unknown("APIGW.0201"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, "instances")
			c.change = says(test.status, test.body)
			result := c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2"))
			require.Equal(t, test.want, got(result))
			require.Equal(t, result.Outcome == provider.Staged, result.Stage == provider.StageRestart)
			require.Contains(t, result.Reason, test.reason)
			require.NotEmpty(t, result.Reason)
			require.Empty(t, result.Taken, "all or none")
			require.Empty(t, result.Failures)
			require.Equal(t, "req-5f0c1d2e3b4a59687766554433221100", result.RequestID)
			providertest.RequireSecretFree(t, result)
			require.Len(t, c.sent(), 1)
		})
	}
}

func TestCloudDCRequestMatchesDocs(t *testing.T) {
	c := newCloud(t, "instances")
	c.change = says(200, bothInstances)
	require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2")).Outcome)
	require.Equal(t, []string{
		"GET /v1/p1/instances?instance_id=a-1%2Cb-2&limit=100",
		"PUT /v1/p1/instances/password",
	}, c.uris())
	sent := c.sent()[0]
	require.Equal(t, `{"new_password":"cAnArY-New1@_=%+:","instance_id_set":["a-1","b-2"]}`, sent.body)
	require.Equal(t, int64(len(sent.body)), sent.ContentLength)
	require.Equal(t, "application/json;charset=UTF-8", sent.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(sent.Header.Get("Authorization"), "SDK-HMAC-SHA256 Access=AK1, SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature="))
}

func TestTokenIsFetchedOnceAndReused(t *testing.T) {
	c := newCloud(t, "instances")
	c.change = says(200, bothInstances)
	iam := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", "cAnArY-token")
		w.WriteHeader(http.StatusCreated)
	}))
	defer iam.Close()
	of := c.connection()
	of.Settings = provider.Settings{"username": "u", "password": "cAnArY", "domain_name": "d", "iam_url": iam.URL, "project_id": "p1"}
	client, err := Type{}.Open(of)
	require.NoError(t, err)
	result := client.Change(t.Context(), c.request(t, "a-1", "b-2"))
	require.Equal(t, provider.Staged, result.Outcome)
	providertest.RequireSecretFree(t, client, result)
	require.Equal(t, "cAnArY-token", c.sent()[0].Header.Get("X-Auth-Token"))
}

func TestPartsAreSentInTargetOrder(t *testing.T) {
	c := newCloud(t, "instances")
	c.change = says(200, `{"instances":[{"id":"a-1"},{"id":"c-3"}]}`)
	client := c.open(t)
	change := c.request(t, "c-3", "b-2", "a-1")
	change.Parts = []string{"a-1", "c-3", "a-1"}
	require.Equal(t, provider.Staged, client.Change(t.Context(), change).Outcome)
	require.Contains(t, c.sent()[0].body, `"instance_id_set":["c-3","a-1"]`)
	require.Contains(t, c.uris()[0], "instance_id=c-3%2Ca-1&")

	change.Parts = nil
	client.Change(t.Context(), change)
	require.Contains(t, c.sent()[1].body, `"instance_id_set":["c-3","b-2","a-1"]`, "no parts: all")
}

func TestFiftyInstancesGoInOneRequest(t *testing.T) {
	c := newCloud(t, "instances")
	ids := series(50)
	c.list, c.change = says(200, running(ids...)), says(200, running(ids...))
	require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, ids...)).Outcome)
	require.Len(t, c.uris(), 2)

	c.change = says(200, running(ids[:25]...))
	result := c.open(t).Change(t.Context(), c.request(t, ids...))
	require.Equal(t, provider.Unknown, result.Outcome)
	require.Contains(t, result.Reason, "id-34 and 15 more")
	require.NotContains(t, result.Reason, "id-35")
}

func TestInvalidChangeIsNotSent(t *testing.T) {
	for _, api := range []string{"instances", "cloudservers"} {
		c := newCloud(t, api)
		client := c.open(t)
		for _, password := range []string{"", "Ab1", "lowercaseonly", "with space1A", "quote\"Aa1bb", "My-root-12", "My-rooT-12", "Ünicode-12345", "hash#1Aabc", strings.Repeat("Aa1-", 7)} {
			change := c.request(t, "a-1")
			change.NewPassword = password
			result := client.Change(t.Context(), change)
			require.Equal(t, want{provider.Rejected, provider.ScopePassword, ""}, got(result), password)
		}
		for name, spoil := range map[string]func(*provider.Change){
			"no servers":   func(change *provider.Change) { change.Target.Settings, change.Parts = nil, nil },
			"only parts":   func(change *provider.Change) { change.Target.Settings = nil },
			"51 servers":   func(change *provider.Change) { change.Target.Settings["instance_ids"] = series(51) },
			"a path":       func(change *provider.Change) { change.Target.Settings["instance_ids"] = []string{"../x"} },
			"another part": func(change *provider.Change) { change.Parts = []string{"a-1", "../x"} },
		} {
			change := c.request(t, "a-1")
			spoil(&change)
			result := client.Change(t.Context(), change)
			require.Equal(t, want{provider.Rejected, target, ""}, got(result), name)
			require.Contains(t, result.Reason, "nothing was sent")
		}
		require.Equal(t, provider.Rejected, client.CheckTarget(t.Context(), provider.Target{}).Outcome)
		require.Empty(t, c.uris(), api)
	}
	// Forbidden by Elastic Cloud Server only.
	c := newCloud(t, "cloudservers")
	change := c.request(t, "a-1")
	change.NewPassword = "My-Min-123"
	require.Equal(t, want{provider.Rejected, provider.ScopePassword, ""}, got(c.open(t).Change(t.Context(), change)))
}

func TestLookupStopsChangeOfUnfitInstances(t *testing.T) {
	page := strings.Replace(running(series(10)...), `"next_marker":null`, `"next_marker":"m"`, 1)
	for name, test := range map[string]struct {
		list   http.HandlerFunc
		want   want
		reason string
	}{
		"one unknown":        {says(200, running("b-2")), want{provider.Rejected, target, ""}, "ID a-1;"},
		"both unknown":       {says(200, `{"instances":[]}`), want{provider.Rejected, target, ""}, "ID a-1, b-2;"},
		"physical server ID": {says(200, running("s-a-1", "b-2")), want{provider.Rejected, target, ""}, "ID a-1;"},
		"reinstalling":       {says(200, listed("running", "reinstall-processing", "a-1", "b-2")), want{provider.Busy, target, ""}, "a-1, b-2"},
		"in capitals":        {says(200, listed("RUNNING", "MODIFY-IP-PROCESSING", "a-1", "b-2")), want{provider.Busy, target, ""}, "a-1, b-2"},
		"older edition":      {says(200, listed("reinstalling", "", "a-1", "b-2")), want{provider.Busy, target, ""}, "a-1, b-2"},
		"refused key":        {says(401, `{"error_code":"APIGW.0301"}`), want{provider.Denied, connection, "APIGW.0301"}, ""},
		"401 of a proxy":     {says(401, ``), want{provider.Unreachable, connection, "HTTP 401"}, "not sent"},
		"not ready":          {says(400, `{"error_code":"iMetal.0101"}`), want{provider.Busy, target, "iMetal.0101"}, "busy"},
		"conflict":           {says(409, `{"error_code":"iMetal.1"}`), want{provider.Busy, target, "iMetal.1"}, "busy"},
		"throttled":          {says(429, `x`), want{provider.Busy, connection, "HTTP 429"}, ""},
		"internal error":     {says(500, `{"error_code":"CloudDC.0500"}`), want{provider.Unreachable, connection, "CloudDC.0500"}, "not sent"},
		"gateway":            {says(502, running("a-1", "b-2")), want{provider.Unreachable, connection, "HTTP 502"}, "not sent"},
		"redirect":           {says(302, ``), want{provider.Unreachable, connection, "HTTP 302"}, "not sent"},
		"cut":                {cut, want{provider.Unreachable, connection, ""}, "not sent"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, "instances")
			c.list = test.list
			result := c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2"))
			require.Equal(t, test.want, got(result))
			require.Contains(t, result.Reason, test.reason)
			require.True(t, result.Outcome.Unchanged())
			providertest.RequireSecretFree(t, result)
			require.Empty(t, c.sent())
		})
	}
	for name, list := range map[string]http.HandlerFunc{
		"no permission":       says(403, `{"error_code":"APIGW.0302"}`),
		"403 of a proxy":      says(403, `<html>`),
		"no such call":        says(404, `{"error_code":"APIGW.0101"}`),
		"refused":             says(400, `{"error_code":"CloudDC.1"}`),
		"a page":              says(200, `<html>`),
		"not a list":          says(200, `{"instances":{}}`),
		"an error in a list":  says(200, `{"error_code":"x","instances":[]}`),
		"one page of several": says(200, page),
		"stopped":             says(200, listed("stopped", "", "a-1", "b-2")),
		"no states":           says(200, bothInstances),
		"failed":              says(200, listed("failed", "reinstall-failed", "a-1", "b-2")),
		"running, upper case": says(200, running("A-1", "B-2")),
	} {
		t.Run("sent anyway: "+name, func(t *testing.T) {
			c := newCloud(t, "instances")
			c.list, c.change = list, says(200, bothInstances)
			require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2")).Outcome)
		})
	}
}

func TestRefusalNamesStoppedServers(t *testing.T) {
	for state, reason := range map[string]string{
		"stopped":   "server a-1 is stopped, server b-2 is stopped: start the servers that are not running",
		"Stopped":   "server a-1 is stopped,",
		newPassword: "server a-1 is in an undocumented state",
	} {
		c := newCloud(t, "instances")
		c.list, c.change = says(200, listed(state, "", "a-1", "b-2")), says(400, `{"error_code":"CloudDC.1","error_msg":"m"}`)
		result := c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2"))
		require.Equal(t, want{provider.Rejected, target, "CloudDC.1"}, got(result))
		require.Contains(t, result.Reason, reason)
		providertest.RequireSecretFree(t, result)
	}
	c := newCloud(t, "instances")
	c.change = says(400, `{"error_code":"CloudDC.1","error_msg":"m"}`)
	require.NotContains(t, c.open(t).Change(t.Context(), c.request(t, "a-1")).Reason, "not running")
}

// The codes of such refusals are not published, but the state of the servers is.
func TestRefusalWhileServersMoveIsBusy(t *testing.T) {
	for _, state := range []string{"pending", "stopping", "Stopping"} {
		c := newCloud(t, "instances")
		c.list, c.change = says(200, listed(state, "", "a-1", "b-2")), says(400, `{"error_code":"CloudDC.1","error_msg":"m"}`)
		result := c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2"))
		require.Equal(t, want{provider.Busy, target, "CloudDC.1"}, got(result))
		require.Contains(t, result.Reason, "started or stopped: a-1, b-2")
		c.change = says(404, `{"error_code":"CloudDC.1","error_msg":"m"}`)
		require.Equal(t, provider.Rejected, c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2")).Outcome)
		c.change = says(200, bothInstances)
		require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2")).Outcome, "the service decides")
	}
}

func TestCheckTargetFindsInstances(t *testing.T) {
	for name, test := range map[string]struct {
		list   http.HandlerFunc
		want   want
		reason string
	}{
		"present":       {says(200, running("a-1", "b-2")), want{provider.Applied, target, ""}, ""},
		"stopped":       {says(200, listed("stopped", "", "a-1", "b-2")), want{provider.Applied, target, ""}, ""},
		"missing":       {says(200, running("b-2")), want{provider.Rejected, target, ""}, "ID a-1;"},
		"one page":      {says(200, strings.Replace(running(series(10)...), "null", `"m"`, 1)), want{provider.Unknown, target, "HTTP 200"}, "not a list"},
		"a page":        {says(200, `<html>`), want{provider.Unknown, target, "HTTP 200"}, "not a list"},
		"refused":       {says(400, `{"error_code":"CloudDC.1"}`), want{provider.Rejected, target, "CloudDC.1"}, ""},
		"no permission": {says(403, `{"error_code":"APIGW.0302"}`), want{provider.Denied, target, "APIGW.0302"}, ""},
		"refused key":   {says(401, `{"error_code":"APIGW.0301"}`), want{provider.Denied, connection, "APIGW.0301"}, ""},
		"not ready":     {says(400, `{"error_code":"iMetal.0101"}`), want{provider.Busy, target, "iMetal.0101"}, "busy"},
		"throttled":     {says(429, ``), want{provider.Busy, connection, "HTTP 429"}, ""},
		"broken":        {says(500, ``), want{provider.Unknown, target, "HTTP 500"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, "instances")
			c.list = test.list
			result := c.open(t).CheckTarget(t.Context(), c.request(t, "a-1", "b-2").Target)
			require.Equal(t, test.want, got(result))
			require.Contains(t, result.Reason, test.reason)
			require.Empty(t, c.sent())
		})
	}
}

func TestBrokenConnectionIsUnknownOnlyAfterSending(t *testing.T) {
	for _, api := range []string{"instances", "cloudservers"} {
		c := newCloud(t, api)
		c.change = cut
		result := c.open(t).Change(t.Context(), c.request(t, "a-1"))
		require.Equal(t, provider.Unknown, result.Outcome)
		providertest.RequireSecretFree(t, result)

		ctx, cancel := context.WithCancel(t.Context())
		c = newCloud(t, api)
		c.change = func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}
		require.Equal(t, provider.Unknown, c.open(t).Change(ctx, c.request(t, "a-1")).Outcome)
		require.Equal(t, provider.Unreachable, c.open(t).Change(ctx, c.request(t, "a-1")).Outcome)
		require.Len(t, c.sent(), 1)

		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		gone := c.connection()
		gone.URL = "http://" + listener.Addr().String()
		require.NoError(t, listener.Close())
		client, err := Type{}.Open(gone)
		require.NoError(t, err)
		require.Equal(t, provider.Unreachable, client.Change(t.Context(), c.request(t, "a-1")).Outcome)
		require.Equal(t, provider.Unreachable, client.Check(t.Context()).Outcome)
		require.Equal(t, provider.Unreachable, client.CheckTarget(t.Context(), c.request(t, "a-1").Target).Outcome)
	}
}

// Another call is refused between the lookup and the change, which is then not sent. The lookup was.
func TestUnreadableLookupCountsAsSent(t *testing.T) {
	for name, unreadable := range map[string]bool{"readable": false, "unreadable": true} {
		c := newCloud(t, "instances")
		client, change := c.open(t), c.request(t, "a-1")
		var lookups atomic.Int32
		c.list = func(w http.ResponseWriter, r *http.Request) {
			if lookups.Add(1) > 1 {
				says(401, `{"error_code":"APIGW.0301"}`)(w, r)
				return
			}
			if client.CheckTarget(r.Context(), change.Target).Outcome != provider.Denied {
				t.Error("not refused")
			}
			if unreadable {
				says(403, "<html>")(w, r)
			} else {
				says(200, running("a-1"))(w, r)
			}
		}
		result := client.Change(t.Context(), change)
		require.Equal(t, provider.Denied, result.Outcome, name)
		require.Equal(t, unreadable, !result.Unsent, name)
		require.Empty(t, c.sent(), name)
	}
}

func TestRedirectGetsNoPassword(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	for _, api := range []string{"instances", "cloudservers"} {
		c := newCloud(t, api)
		c.change = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		}
		require.Equal(t, provider.Unknown, c.open(t).Change(t.Context(), c.request(t, "a-1")).Outcome)
	}
	require.Zero(t, stolen.Load())
}

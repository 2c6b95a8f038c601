package ecs

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// ecsError is an error of the service with this code.
func ecsError(code string) string {
	return `{"error":{"code":"` + code + `","message":"` + newPassword + `"}}`
}

const errorOfECS = `"error":{"code":"Ecs.0219","message":"` + newPassword + `"}`

func failing(id, code string) string {
	return `{"id":"` + id + `","error_code":"` + code + `","error_message":"` + newPassword + `"}`
}

func TestElasticCloudServerChangeOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, target, code} }
	rejected := func(code string) want { return want{provider.Rejected, target, code} }
	busy := func(code string) want { return want{provider.Busy, target, code} }
	staged := want{provider.Staged, target, ""}
	none := []string(nil)
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
		taken  []string
		failed []string // part:code
	}{
		"all":                  {200, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, staged, none, none},
		"all, upper case":      {200, `{"response":[{"id":"C-3"},{"id":"B-2"},{"id":"A-1"}],"internalError":null}`, staged, none, none},
		"all, no failures":     {200, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}],"internalError":[]}`, staged, none, none},
		"all and an error":     {200, `{` + errorOfECS + `,"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("Ecs.0219"), none, none},
		"all, as an error":     {400, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("HTTP 400"), none, none},
		"all, as a refusal":    {403, `{` + errorOfECS + `,"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("Ecs.0219"), none, none},
		"all, internal error":  {500, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("HTTP 500"), none, none},
		"all, accepted":        {202, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("HTTP 202"), none, none},
		"all, redirect":        {302, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`, unknown("HTTP 302"), none, none},
		"some, others failed":  {200, `{"response":[{"id":"C-3"}],` + errorOfECS + `,"internalError":[` + failing("b-2", "Ecs.0205") + `,` + failing("A-1", "ECS.0206") + `]}`, rejected("Ecs.0219"), []string{"c-3"}, []string{"a-1:ECS.0206", "b-2:Ecs.0205"}},
		"some, with 400":       {400, `{"response":[{"id":"c-3"},{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0205") + `]}`, rejected("Ecs.0205"), []string{"a-1", "c-3"}, []string{"b-2:Ecs.0205"}},
		"some, with 403":       {403, `{` + errorOfECS + `,"response":[{"id":"c-3"},{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0205") + `]}`, rejected("Ecs.0219"), []string{"a-1", "c-3"}, []string{"b-2:Ecs.0205"}},
		"some, with 500":       {500, `{"response":[{"id":"c-3"},{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0205") + `]}`, unknown("HTTP 500"), none, none},
		"some, with 401":       {401, `{` + errorOfECS + `,"response":[{"id":"c-3"},{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0205") + `]}`, unknown("Ecs.0219"), none, none},
		"some, with 429":       {429, `{"response":[{"id":"c-3"}]}`, want{provider.Busy, connection, "HTTP 429"}, none, none},
		"some, two omitted":    {200, `{"response":[{"id":"c-3"},{"id":"a-1"}]}`, unknown("HTTP 200"), []string{"a-1", "c-3"}, none},
		"some, one omitted":    {200, `{"response":[{"id":"a-1"}],"internalError":[` + failing("b-2", "odd") + `]}`, unknown("HTTP 200"), []string{"a-1"}, []string{"b-2:"}},
		"one failed":           {400, `{` + errorOfECS + `,"internalError":[` + failing("b-2", "Ecs.0205") + `]}`, unknown("Ecs.0219"), none, []string{"b-2:Ecs.0205"}},
		"all failed":           {400, `{` + errorOfECS + `,"internalError":[` + failing("a-1", "Ecs.0205") + `,` + failing("b-2", newPassword) + `,{"id":"c-3"}]}`, rejected("Ecs.0219"), none, []string{"a-1:Ecs.0205", "b-2:", "c-3:"}},
		"all failed, with 200": {200, `{"response":[],"internalError":[` + failing("a-1", "Ecs.0205") + `,` + failing("b-2", "Ecs.1") + `,` + failing("c-3", "Ecs.1") + `]}`, rejected("Ecs.0205"), none, []string{"a-1:Ecs.0205", "b-2:Ecs.1", "c-3:Ecs.1"}},
		"all failed, with 503": {503, `{` + errorOfECS + `,"internalError":[` + failing("a-1", "Ecs.0205") + `,` + failing("b-2", "Ecs.1") + `,` + failing("c-3", "Ecs.1") + `]}`, unknown("Ecs.0219"), none, none},
		"in both lists":        {200, `{"response":[{"id":"a-1"},{"id":"b-2"}],"internalError":[` + failing("B-2", "Ecs.1") + `,` + failing("c-3", "Ecs.1") + `]}`, unknown("HTTP 200"), none, none},
		"one more":             {200, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"},{"id":"d-4"}]}`, unknown("HTTP 200"), none, none},
		"one more failed":      {400, `{"response":[{"id":"a-1"},{"id":"b-2"}],"internalError":[` + failing("c-3", "Ecs.1") + `,` + failing("d-4", "Ecs.1") + `]}`, unknown("HTTP 400"), none, none},
		"failure without ID":   {400, `{` + errorOfECS + `,"internalError":[{"error_code":"Ecs.1"}]}`, unknown("Ecs.0219"), none, none},
		"403 of other server":  {403, `{` + errorOfECS + `,"internalError":[` + failing("d-4", "Ecs.1") + `]}`, unknown("Ecs.0219"), none, none},
		"ids as texts":         {200, `{"response":["a-1","b-2","c-3"]}`, unknown("HTTP 200"), none, none},
		"not a list":           {400, `{` + errorOfECS + `,"response":"a-1"}`, unknown("Ecs.0219"), none, none},
		"failures not a list":  {200, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}],"internalError":{}}`, unknown("HTTP 200"), none, none},
		"list elsewhere":       {200, bothInstances, unknown("HTTP 200"), none, none},
		"empty lists":          {200, `{"response":[],"internalError":[]}`, unknown("HTTP 200"), none, none},
		"empty":                {200, ``, unknown("HTTP 200"), none, none},
		"an empty object":      {200, `{}`, unknown("HTTP 200"), none, none},
		"a page":               {200, `<html>` + newPassword, unknown("HTTP 200"), none, none},
		"no content":           {204, ``, unknown("HTTP 204"), none, none},
		"an error with 200":    {200, `{` + errorOfECS + `}`, unknown("Ecs.0219"), none, none},
		"refused":              {400, `{` + errorOfECS + `}`, rejected("Ecs.0219"), none, none},
		"refused, empty lists": {400, `{` + errorOfECS + `,"response":[],"internalError":[]}`, rejected("Ecs.0219"), none, none},
		"refused by a number":  {400, `{"error":{"code":400,"message":"m"}}`, rejected("HTTP 400"), none, none},
		"conflict":             {409, `{` + errorOfECS + `}`, busy("Ecs.0219"), none, none},
		"409 of a proxy":       {409, `<html>`, unknown("HTTP 409"), none, none},
		"server state":         {400, ecsError("Ecs.0100"), busy("Ecs.0100"), none, none},
		"another command":      {501, ecsError("Ecs.0603"), busy("Ecs.0603"), none, none},
		"another command, 400": {400, `{"error_code":"ECS.0603"}`, busy("ECS.0603"), none, none},
		"state, but a 503":     {503, ecsError("Ecs.0100"), unknown("Ecs.0100"), none, none},
		"other 501":            {501, ecsError("Ecs.0219"), unknown("Ecs.0219"), none, none},
		"501 of a proxy":       {501, `<html>`, unknown("HTTP 501"), none, none},
		"reset failed":         {400, ecsError("Ecs.0610"), unknown("Ecs.0610"), none, none},
		"task not submitted":   {400, ecsError("Ecs.0002"), unknown("Ecs.0002"), none, none},
		"batch failed":         {400, ecsError("Ecs.0611"), unknown("Ecs.0611"), none, none},
		"Nova failed":          {400, ecsError("Ecs.1000"), unknown("Ecs.1000"), none, none},
		"Nova timed out":       {409, ecsError("Ecs.1002"), unknown("Ecs.1002"), none, none},
		"all busy":             {400, `{` + errorOfECS + `,"internalError":[` + failing("a-1", "Ecs.0100") + `,` + failing("b-2", "Ecs.0603") + `,` + failing("c-3", "Ecs.0100") + `]}`, busy("Ecs.0219"), none, []string{"a-1:Ecs.0100", "b-2:Ecs.0603", "c-3:Ecs.0100"}},
		"one busy":             {400, `{"response":[{"id":"c-3"},{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0100") + `]}`, busy("Ecs.0100"), []string{"a-1", "c-3"}, []string{"b-2:Ecs.0100"}},
		"busy and refused":     {400, `{"response":[{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0100") + `,` + failing("c-3", "Ecs.0205") + `]}`, rejected("Ecs.0100"), []string{"a-1"}, []string{"b-2:Ecs.0100", "c-3:Ecs.0205"}},
		"refused and failed":   {400, `{"response":[{"id":"a-1"}],"internalError":[` + failing("b-2", "Ecs.0205") + `,` + failing("c-3", "Ecs.0610") + `]}`, unknown("Ecs.0205"), []string{"a-1"}, []string{"b-2:Ecs.0205", "c-3:Ecs.0610"}},
		"timed out":            {408, `{` + errorOfECS + `}`, unknown("Ecs.0219"), none, none},
		"gateway":              {400, `{"error_code":"APIGW.0201"}`, rejected("APIGW.0201"), none, none},
		"other service":        {400, `{"error_code":"WAF.0201"}`, unknown("WAF.0201"), none, none},
		"400 of a proxy":       {400, `<html>`, unknown("HTTP 400"), none, none},
		"refused key":          {401, `{"error_code":"APIGW.0301","error_msg":"` + secretKey + `"}`, want{provider.Denied, connection, "APIGW.0301"}, none, none},
		"no permission":        {403, `{` + errorOfECS + `}`, want{provider.Denied, target, "Ecs.0219"}, none, none},
		"403 of a proxy":       {403, ``, unknown("HTTP 403"), none, none},
		"not found":            {404, `{` + errorOfECS + `}`, rejected("Ecs.0219"), none, none},
		"not found, native":    {404, `{"itemNotFound":{"code":404,"message":"m"}}`, rejected("HTTP 404"), none, none},
		"throttled":            {429, ``, want{provider.Busy, connection, "HTTP 429"}, none, none},
		"internal error":       {500, `{` + errorOfECS + `}`, unknown("Ecs.0219"), none, none},
		"echo by a proxy":      {502, `{"new_password":"` + newPassword + `"}`, unknown("HTTP 502"), none, none},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, "cloudservers")
			c.change = says(test.status, test.body)
			result := c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2", "c-3"))
			require.Equal(t, test.want, got(result))
			require.Equal(t, test.taken, result.Taken)
			require.Equal(t, result.Outcome == provider.Staged || len(test.taken) > 0, result.Stage == provider.StageRestart)
			var failed []string
			for _, failure := range result.Failures {
				require.NotEmpty(t, failure.Reason)
				failed = append(failed, failure.Part+":"+failure.Code)
			}
			require.Equal(t, test.failed, failed)
			require.NotEmpty(t, result.Reason)
			require.Equal(t, "req-5f0c1d2e3b4a59687766554433221100", result.RequestID)
			providertest.RequireSecretFree(t, result)
			require.Len(t, c.sent(), 1)
		})
	}
}

func TestElasticCloudServerRequestMatchesDocs(t *testing.T) {
	c := newCloud(t, "cloudservers")
	c.change = says(200, `{"response":[{"id":"a-1"},{"id":"b-2"}]}`)
	require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, "b-2", "a-1")).Outcome)
	require.Equal(t, []string{
		"GET /v1/p1/cloudservers/b-2/os-resetpwd-flag",
		"GET /v1/p1/cloudservers/a-1/os-resetpwd-flag",
		"PUT /v1/p1/cloudservers/os-reset-passwords",
	}, c.uris())
	sent := c.sent()[0]
	require.Equal(t, `{"new_password":"cAnArY-New1@_=%+:","dry_run":false,"servers":[{"id":"b-2"},{"id":"a-1"}]}`, sent.body)
	require.Equal(t, int64(len(sent.body)), sent.ContentLength)
	require.NotEmpty(t, sent.Header.Get("Authorization"))
}

func TestRetrySkipsServersThatTookThePassword(t *testing.T) {
	c := newCloud(t, "cloudservers")
	c.change = says(200, `{"response":[{"id":"b-2"}]}`)
	change := c.request(t, "a-1", "b-2", "c-3")
	change.Parts = []string{"b-2"}
	require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), change).Outcome)
	require.Equal(t, []string{"GET /v1/p1/cloudservers/b-2/os-resetpwd-flag", "PUT /v1/p1/cloudservers/os-reset-passwords"}, c.uris())
	require.Contains(t, c.sent()[0].body, `"servers":[{"id":"b-2"}]`)

	c.change = says(200, `{"response":[{"id":"a-1"}]}`)
	result := c.open(t).Change(t.Context(), change)
	require.Equal(t, provider.Unknown, result.Outcome, "the response names a server of the role that was not requested")
	require.Empty(t, result.Taken)
}

func TestChangeRequiresResetPlugIn(t *testing.T) {
	only := func(id string, respond http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/"+id+"/") {
				respond(w, r)
				return
			}
			says(200, `{"resetpwd_flag":"True"}`)(w, r)
		}
	}
	for name, test := range map[string]struct {
		flag   http.HandlerFunc
		change want
		check  want
		reason string
		asked  int
	}{
		"present":           {says(200, `{"resetpwd_flag":"TRUE"}`), want{provider.Staged, target, ""}, want{provider.Applied, target, ""}, "", 3},
		"missing on one":    {only("b-2", says(200, `{"resetpwd_flag":"False"}`)), want{provider.Rejected, target, ""}, want{provider.Rejected, target, ""}, "plug-in is missing on b-2;", 3},
		"missing on all":    {says(200, `{"resetpwd_flag":"false"}`), want{provider.Rejected, target, ""}, want{provider.Rejected, target, ""}, "plug-in is missing on a-1, b-2, c-3;", 3},
		"a boolean":         {says(200, `{"resetpwd_flag":true}`), want{provider.Unreachable, connection, "HTTP 200"}, want{provider.Unknown, target, "HTTP 200"}, "", 1},
		"something else":    {says(200, `{"resetpwd_flag":"yes"}`), want{provider.Unreachable, connection, "HTTP 200"}, want{provider.Unknown, target, "HTTP 200"}, "", 1},
		"no flag":           {says(200, `{}`), want{provider.Unreachable, connection, "HTTP 200"}, want{provider.Unknown, target, "HTTP 200"}, "", 1},
		"a flag, an error":  {says(200, `{`+errorOfECS+`,"resetpwd_flag":"True"}`), want{provider.Unreachable, connection, "Ecs.0219"}, want{provider.Unknown, target, "Ecs.0219"}, "", 1},
		"a page":            {says(200, `<html>`), want{provider.Unreachable, connection, "HTTP 200"}, want{provider.Unknown, target, "HTTP 200"}, "", 1},
		"redirect":          {says(302, `{"resetpwd_flag":"True"}`), want{provider.Unreachable, connection, "HTTP 302"}, want{provider.Unknown, target, "HTTP 302"}, "", 1},
		"broken":            {says(500, ``), want{provider.Unreachable, connection, "HTTP 500"}, want{provider.Unknown, target, "HTTP 500"}, "", 1},
		"cut":               {cut, want{provider.Unreachable, connection, ""}, want{provider.Unknown, target, ""}, "", 1},
		"no such server":    {only("b-2", says(404, `{"itemNotFound":{"code":404,"message":"m"}}`)), want{provider.Rejected, target, "HTTP 404"}, want{provider.Rejected, target, "HTTP 404"}, "server b-2", 2},
		"no such server, 4": {only("c-3", says(400, `{`+errorOfECS+`}`)), want{provider.Rejected, target, "Ecs.0219"}, want{provider.Rejected, target, "Ecs.0219"}, "server c-3", 3},
		"no permission":     {says(403, `{`+errorOfECS+`}`), want{provider.Denied, target, "Ecs.0219"}, want{provider.Denied, target, "Ecs.0219"}, "permissions", 1},
		"refused key":       {says(401, `{"error_code":"APIGW.0301"}`), want{provider.Denied, connection, "APIGW.0301"}, want{provider.Denied, connection, "APIGW.0301"}, "", 1},
		"server state":      {says(400, ecsError("Ecs.0100")), want{provider.Busy, target, "Ecs.0100"}, want{provider.Busy, target, "Ecs.0100"}, "busy", 1},
		"another command":   {says(501, ecsError("Ecs.0603")), want{provider.Busy, target, "Ecs.0603"}, want{provider.Busy, target, "Ecs.0603"}, "busy", 1},
		"Nova timed out":    {says(400, ecsError("Ecs.1002")), want{provider.Unreachable, connection, "Ecs.1002"}, want{provider.Unknown, target, "Ecs.1002"}, "", 1},
		"throttled":         {only("c-3", says(429, ``)), want{provider.Busy, connection, "HTTP 429"}, want{provider.Busy, connection, "HTTP 429"}, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, "cloudservers")
			c.flag, c.change = test.flag, says(200, `{"response":[{"id":"a-1"},{"id":"b-2"},{"id":"c-3"}]}`)
			result := c.open(t).CheckTarget(t.Context(), c.request(t, "a-1", "b-2", "c-3").Target)
			require.Equal(t, test.check, got(result))
			require.Contains(t, result.Reason, test.reason)
			require.Len(t, c.uris(), test.asked)
			require.Empty(t, c.sent())

			result = c.open(t).Change(t.Context(), c.request(t, "a-1", "b-2", "c-3"))
			require.Equal(t, test.change, got(result))
			require.Contains(t, result.Reason, test.reason)
			providertest.RequireSecretFree(t, result)
			require.Equal(t, test.change.outcome == provider.Staged, len(c.sent()) == 1)
		})
	}
}

// With little time left, the response to the change would be lost.
func TestPlugInLookupLeavesTimeForTheChange(t *testing.T) {
	c := newCloud(t, "cloudservers")
	c.flag = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	result := c.open(t).Change(ctx, c.request(t, "a-1", "b-2"))
	require.NoError(t, ctx.Err(), "the lookup must end before the deadline")
	require.Equal(t, want{provider.Unreachable, target, ""}, got(result))
	require.Contains(t, result.Reason, "of 2 servers took too long")
	require.Contains(t, result.Reason, "raise request_timeout")
	require.Empty(t, c.sent())

	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	result = c.open(t).Change(ctx, c.request(t, "a-1"))
	require.Equal(t, provider.Unreachable, result.Outcome)
	require.NotContains(t, result.Reason, "fewer servers", "with one server, the cause is a missing response")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	result = c.open(t).Change(ctx, c.request(t, "a-1", "b-2"))
	require.NotContains(t, result.Reason, "fewer servers", "the engine is stopping")
}

func TestFiftyServersGoInOneRequest(t *testing.T) {
	c := newCloud(t, "cloudservers")
	ids := series(50)
	c.change = says(200, `{"response":[{"id":"`+strings.Join(ids, `"},{"id":"`)+`"}]}`)
	require.Equal(t, provider.Staged, c.open(t).Change(t.Context(), c.request(t, ids...)).Outcome)
	require.Len(t, c.uris(), 51)
	require.Len(t, c.sent(), 1)

	c.flag = says(200, `{"resetpwd_flag":"False"}`)
	result := c.open(t).Change(t.Context(), c.request(t, ids...))
	require.Contains(t, result.Reason, "id-09 and 40 more;")
	require.NotContains(t, result.Reason, "id-10")
}

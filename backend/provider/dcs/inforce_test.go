package dcs

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// after responds to the first n requests with first, and to the others with rest.
func after(n int, first, rest http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if n--; n >= 0 {
			first(w, r)
			return
		}
		rest(w, r)
	}
}

var (
	available = says(200, oneAccount)
	updating  = says(200, account1("AVAILABLE", "UPDATING"))
	failed    = says(200, account1(`"instance_id":"inst-1","status":"AVAILABLE"`, `"status":"ERROR"`))
	success   = says(200, `{"result":"success"}`)
)

// inTime makes a change in fake time with the engine's default request_timeout, and returns its result and how long it took.
func inTime(t *testing.T, client provider.Client, change provider.Change) (result provider.Result, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		result = client.Change(ctx, change)
		took = time.Since(began)
	})
	return result, took
}

func TestConfirmedChangeWaitsUntilAvailable(t *testing.T) {
	for _, method := range []string{methodModify, methodReset} {
		for name, test := range map[string]struct {
			list  http.HandlerFunc
			took  time.Duration
			lists int // after the change
		}{
			"at once":              {available, 0, 1},
			"after a while":        {after(6, updating, available), 12 * time.Second, 7},
			"while instances move": {after(2, says(400, `{"error_code":"DCS.4096"}`), available), 4 * time.Second, 3},
		} {
			t.Run(name+" "+method, func(t *testing.T) {
				c := newCloud(t)
				c.list, c.change = after(1, available, test.list), success
				result, took := inTime(t, c.open(t), c.request(t, method))
				require.Equal(t, provider.Applied, result.Outcome, result.Reason)
				require.Equal(t, method == methodModify, result.Exclusive)
				require.Equal(t, test.took, took)
				require.Equal(t, 1+test.lists, c.lists())
				require.Len(t, c.sent(), 1)
			})
		}
	}
}

func TestChangeNotInForceIsUnknown(t *testing.T) {
	for _, method := range []string{methodModify, methodReset} {
		for name, test := range map[string]struct {
			list   http.HandlerFunc
			took   time.Duration
			code   string
			reason string
		}{
			"still updating":   {updating, 28 * time.Second, "", "has not reported it in force: the account is being created or changed"},
			"failed":           {failed, 0, "", "the status of the account is ERROR"},
			"failed later":     {after(2, updating, failed), 4 * time.Second, "", "the status of the account is ERROR"},
			"deleted":          {says(200, `{"accounts":[]}`), 0, "", "no account with this account_id"},
			"list broken":      {says(500, ""), 0, "HTTP 500", "has not reported it in force"},
			"list cut":         {after(1, updating, cut), 2 * time.Second, "", "has not reported it in force"},
			"credential":       {says(401, `{"error_code":"APIGW.0301"}`), 0, "APIGW.0301", "refused the signature"},
			"permission":       {says(403, `{"error_code":"DCS.3003"}`), 0, "DCS.3003", "not permitted"},
			"throttled":        {says(429, ""), 0, "HTTP 429", "throttled"},
			"undocumented one": {says(200, account1(`"instance_id":"inst-1","status":"AVAILABLE"`, `"status":"`+newPassword+`"`)), 0, "", "not documented"},
		} {
			t.Run(name+" "+method, func(t *testing.T) {
				c := newCloud(t)
				c.list, c.change = after(1, available, test.list), success
				result, took := inTime(t, c.open(t), c.request(t, method))
				require.Equal(t, want{provider.Unknown, target, test.code, 0, -1}, got(result))
				require.Equal(t, !slices.Contains([]string{"failed", "failed later", "deleted", "undocumented one"}, name), result.Confirmed)
				require.Equal(t, method == methodModify, result.Exclusive)
				require.Equal(t, !slices.Contains([]string{"list broken", "list cut", "credential", "permission", "throttled"}, name), result.Accepted)
				require.Equal(t, name == "credential" || name == "permission", result.Unseen, "a refused login counts")
				require.Contains(t, result.Reason, "the remote system confirmed the new password, but")
				require.Contains(t, result.Reason, test.reason)
				require.Equal(t, test.took, took)
				require.Equal(t, 2+int(test.took/pollInterval), c.lists(), "a credential that may be refused is sent once")
				require.Len(t, c.sent(), 1)
				providertest.RequireSecretFree(t, result)
			})
		}
	}
}

// The engine then looks whether the change is in force, and sends nothing.
func TestCheckShowsWhetherConfirmedChangeIsInForce(t *testing.T) {
	for _, method := range []string{methodModify, methodReset} {
		c := newCloud(t)
		c.list, c.change = after(1, available, updating), success
		client, change := c.open(t), c.request(t, method)
		result, _ := inTime(t, client, change)
		require.True(t, result.Confirmed)
		result = client.CheckTarget(t.Context(), change.Target)
		require.Equal(t, want{provider.Busy, target, "", 0, -1}, got(result))
		c.list = available
		result = c.open(t).CheckTarget(t.Context(), change.Target)
		require.Equal(t, provider.Applied, result.Outcome)
		require.Len(t, c.sent(), 1)
	}
}

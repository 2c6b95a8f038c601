package backend

import (
	"bytes"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// Whoever may write a role and not read it cannot find out its password by repeating it.
func TestWrongPasswordOfRoleCostsASecond(t *testing.T) {
	inTheFuture(t, "guesses", func(t *testing.T) {
		m, log := openGolden(t, golden{}), &bytes.Buffer{}
		require.NoError(t, m.backend.Setup(t.Context(), &logical.BackendConfig{Logger: hclog.New(&hclog.LoggerOptions{Output: log}), System: m.view}))
		m.do(logical.UpdateOperation, "config/panel", map[string]any{
			"provider": "plesk", "url": "https://127.0.0.1:1", "username": "admin", "password": "Test-Admin.1", "allowed_roles": "*",
		})
		const right, wrong = "Test-Adopted.1", "Test-Guess.1"
		for name, login := range map[string]string{"web1": "ops1", "web2": "ops2"} {
			m.do(logical.UpdateOperation, "roles/"+name, map[string]any{"connection": "panel", "login": login, "skip_initial_rotation": true, "password": right})
		}
		entry, err := m.storage.Get(t.Context(), "role/web1")
		require.NoError(t, err)
		require.Contains(t, string(entry.Value), `"adopted":{}`, "no digest")
		update := func(name string, data map[string]any) (*logical.Response, error) {
			return m.backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.UpdateOperation, Path: "roles/" + name, Data: data, Storage: m.storage})
		}
		write := func(name, password string) (*logical.Response, error) {
			return update(name, map[string]any{"connection": "panel", "password": password})
		}
		accepts := func(name, password string) []string {
			t.Helper()
			resp, err := write(name, password)
			require.NoError(t, err)
			require.NoError(t, resp.Error())
			return resp.Warnings
		}
		for n := range 3 {
			require.Empty(t, accepts("web1", right))
			resp, err := write("web1", wrong)
			require.NoError(t, err)
			require.ErrorContains(t, resp.Error(), "password is accepted on create only")
			require.Contains(t, log.String(), "role=web1 wrong_passwords="+string(rune('1'+n)))
			for _, guess := range []string{right, wrong, "another"} { // none is compared
				_, err := write("web1", guess)
				require.Equal(t, logical.CodedError(http.StatusServiceUnavailable, `nothing was changed: a wrong password was written to role "web1" less than a second ago. Try again in a second`), err)
			}
			require.Empty(t, accepts("web2", right), "no other role waits")
			time.Sleep(time.Second) // of the bubble
		}
		require.NotContains(t, log.String(), "Test-")

		m.do(logical.UpdateOperation, "rotate-role/web1", nil)
		synctest.Wait()
		said := accepts("web1", right)
		require.Len(t, said, 1)
		require.Contains(t, said[0], "password was ignored")
		require.Equal(t, said, accepts("web1", wrong), "they can no longer be told apart")
		for _, password := range []string{right, wrong} {
			resp, err := update("web1", map[string]any{"password": password})
			require.NoError(t, err)
			require.ErrorContains(t, resp.Error(), "write set-password/web1")
		}
		require.Equal(t, 2, m.creds("web1").Version)
	})
}

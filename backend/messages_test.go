package backend

import (
	"errors"
	"net/http"
	"regexp"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Whoever reads the error of a write at night must know whether the password or the configuration is as before.
func TestRefusedWritesSayOnceThatNothingChanged(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	says := regexp.MustCompile(`(?i)nothing was changed|(was|has) not (been )?(changed|set|stored|created|deleted|confirmed)`)
	const update, remove = logical.UpdateOperation, logical.DeleteOperation
	for _, c := range []struct {
		operation logical.Operation
		path      string
		data      map[string]any
	}{
		{update, "config/panel", map[string]any{"max_in_flight": 0}},
		{update, "config/panel", map[string]any{"provider": "dcs"}},
		{update, "config/panel", map[string]any{"frobnicate": 1}},
		{update, "config/panel", map[string]any{"request_timeout": "soon"}},
		{update, "config/panel", map[string]any{"allowed_roles": "web["}},
		{update, "config/panel", map[string]any{"username": "admin", "password": "Wrong-Password.1"}},
		{logical.PatchOperation, "config/nope", map[string]any{"max_in_flight": 1}},
		{remove, "config/panel", nil},
		{logical.CreateOperation, "roles/web2", map[string]any{"connection": "nope"}},
		{logical.CreateOperation, "roles/web2", map[string]any{"connection": "panel", "login": "ops1"}},
		{logical.CreateOperation, "roles/web2", map[string]any{"connection": "panel", "login": "nobody"}},
		{update, "roles/web1", map[string]any{"login": "ops2"}},
		{update, "roles/web1", map[string]any{"rotation_period": 1}},
		{update, "set-password/web1", nil},
		{update, "set-password/web1", map[string]any{"password": "a\n"}},
		{update, "rotate-role/nope", nil},
		{update, "rotate-role/web1", map[string]any{"version": 0}},
		{update, "rotate-role/web1", map[string]any{"version": 7}},
		{update, "confirm-role/web1", nil},
		{update, "confirm-role/web1", map[string]any{"version": 7}},
		{update, "confirm-role/web1", map[string]any{"version": 1, "discard": true}},
		{update, "confirm-role/web1", map[string]any{"version": 1, "servers": "a"}},
		{update, "settings", map[string]any{"catch_up_limit": 1}},
		{update, "freeze", map[string]any{"duration": "1h"}},
		{update, "freeze", map[string]any{"duration": "1000d", "reason": "r"}},
	} {
		text := m.refusal(c.operation, c.path, c.data, http.StatusBadRequest)
		require.Len(t, says.FindAllString(text, -1), 1, "%s %v: %s", c.path, c.data, text)
	}
	for _, c := range []struct {
		kind lab.Kind
		code int
	}{{lab.Deny, http.StatusBadGateway}, {lab.Busy, http.StatusServiceUnavailable}} { // the second one holds the connection
		require.NoError(t, m.sim.SetFault(lab.Fault{System: "plesk", Target: "*", Kind: c.kind, Count: 1}))
		text := m.refusal(update, "rotate-role/web1", map[string]any{"force": true}, c.code)
		require.Len(t, says.FindAllString(text, -1), 1, text)
		m.do(logical.DeleteOperation, "roles/web1", map[string]any{"force": true})
		m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	}
}

// refusal makes a request that must fail with this status, and returns its error.
func (m *mounted) refusal(operation logical.Operation, path string, data map[string]any, code int) string {
	m.Helper()
	resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: operation, Path: path, Data: data, Storage: m.storage, MountPoint: "panels/"})
	if code == http.StatusBadRequest {
		require.NoError(m, err, path)
		require.True(m, resp.IsError(), "%s %v", path, data)
		return resp.Error().Error()
	}
	var coded logical.HTTPCodedError
	require.ErrorAs(m, err, &coded, path)
	require.Equal(m, code, coded.Code(), path)
	return coded.Error()
}

// A check is read-only, so it does not matter whether it was carried out.
func TestCheckWithoutAnswerRaisesNoDoubt(t *testing.T) {
	m := mount(t)
	require.NoError(t, m.sim.SetFault(lab.Fault{System: "plesk", Target: "*", Kind: lab.Cut, Operations: []string{lab.OpCheck}}))
	out := m.sim.Output()
	text := m.refusal(logical.CreateOperation, "config/panel", map[string]any{
		"provider": "plesk", "url": out.Plesk.URL, "username": "admin", "password": out.Plesk.AdminPassword, "ca_cert": out.CAPEM,
	}, http.StatusBadGateway)
	require.Contains(t, text, "was not stored, because its check failed: the connection broke before a readable response arrived. To store")
}

func TestMessagesNameTheMount(t *testing.T) {
	m := mount(t)
	require.Contains(t, m.refusal(logical.UpdateOperation, "rotate-role/nope", nil, http.StatusBadRequest), "vault list panels/roles lists")
	require.Contains(t, m.refusal(logical.ReadOperation, "creds/nope", nil, http.StatusBadRequest), `role "nope" does not exist: vault list panels/roles`)
	require.Contains(t, m.refusal(logical.CreateOperation, "roles/nope", nil, http.StatusBadRequest), "vault list panels/config lists")
	require.Contains(t, m.refusal(logical.UpdateOperation, "freeze", map[string]any{"until": "now"}, http.StatusBadRequest), `"until": vault path-help panels/freeze lists`)
	require.Contains(t, m.refuses("roles/nope", nil), "vault list MOUNT/config", "the mount is not known")

	_, err := complete(&logical.Request{MountPoint: "panels/"}, nil, logical.CodedError(http.StatusServiceUnavailable, "vault delete MOUNT/freeze"))
	require.Equal(t, logical.CodedError(http.StatusServiceUnavailable, "vault delete panels/freeze"), err)
	_, err = complete(&logical.Request{MountPoint: "panels/"}, nil, errors.New("vault delete MOUNT/settings"))
	require.EqualError(t, err, "vault delete panels/settings")
	resp := &logical.Response{}
	resp.AddWarning("vault delete MOUNT/freeze")
	resp, err = complete(&logical.Request{MountPoint: "panels/"}, resp, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"vault delete panels/freeze"}, resp.Warnings)
}

package backend

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/rotation"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this one when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// mounted is the backend as Vault calls it, without Vault.
type mounted struct {
	*testing.T
	backend *Backend
	storage logical.Storage
	view    *logical.StaticSystemView
	sim     *simulator.Simulator
}

func mount(t *testing.T) *mounted {
	t.Helper()
	sim, err := simulator.Start(context.Background(), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	storage := &logical.InmemStorage{}
	view := &logical.StaticSystemView{}
	made, err := Factory("v0.0.1")(t.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(), System: view, StorageView: storage,
	})
	require.NoError(t, err)
	b, ok := made.(*Backend)
	require.True(t, ok)
	require.NoError(t, b.Initialize(t.Context(), &logical.InitializationRequest{Storage: storage}))
	t.Cleanup(func() { b.Cleanup(context.Background()) })
	return &mounted{T: t, backend: b, storage: storage, view: view, sim: sim}
}

// connect makes the connection "panel", to Plesk.
func (m *mounted) connect() {
	m.Helper()
	out := m.sim.Output()
	m.do(logical.UpdateOperation, "config/panel", map[string]any{
		"provider": "plesk", "url": out.Plesk.URL, "username": "admin", "password": out.Plesk.AdminPassword,
		"ca_cert": out.CAPEM, "allowed_roles": "*",
	})
}

// do makes a request, and checks the answer against the path's own description of it.
func (m *mounted) do(operation logical.Operation, path string, data map[string]any) *logical.Response {
	m.Helper()
	req := &logical.Request{Operation: operation, Path: path, Data: data, Storage: m.storage}
	if operation == logical.UpdateOperation {
		checked, exists, err := m.backend.HandleExistenceCheck(m.Context(), req)
		require.NoError(m, err)
		if checked && !exists {
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := m.backend.HandleRequest(m.Context(), req)
	require.NoError(m, err, "%s %s", operation, path)
	if resp != nil && resp.IsError() {
		m.Fatalf("%s %s: %v", operation, path, resp.Error())
	}
	schema.ValidateResponse(m.T, schema.GetResponseSchema(m.T, m.backend.Route(path), req.Operation), jsonOf(m.T, resp), true)
	return resp
}

// jsonOf is the answer as it leaves Vault.
func jsonOf(t *testing.T, resp *logical.Response) *logical.Response {
	t.Helper()
	if resp == nil {
		return nil
	}
	encoded, err := json.Marshal(resp.Data)
	require.NoError(t, err)
	out := *resp
	out.Data = nil
	require.NoError(t, json.Unmarshal(encoded, &out.Data))
	for name, value := range out.Data {
		require.NotNil(t, value, "%s is null", name)
	}
	return &out
}

func TestAnswersAreAsTheirPathsDescribeThem(t *testing.T) {
	m := mount(t)
	out := m.sim.Output()
	key, instance := out.HuaweiCloud.AccessKeys[0], out.DCS.Instances[0]
	m.connect()
	m.do(logical.UpdateOperation, "config/cloud", map[string]any{
		"provider": "dcs", "url": out.DCS.URL, "project_id": instance.ProjectID,
		"access_key": key.AccessKey, "secret_key": key.SecretKey, "ca_cert": out.CAPEM, "allowed_roles": "*",
	})
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1", "return_last_password": true})
	account := instance.Accounts[1]
	m.do(logical.UpdateOperation, "roles/cache", map[string]any{
		"connection": "cloud", "instance_id": instance.ID, "account_id": account.ID, "username": account.Name,
		"password": account.Password, "rotation_period": "24h",
	})
	m.do(logical.UpdateOperation, "config/mt", map[string]any{
		"provider": "mediatemple", "url": out.MediaTemple.URL, "api_key": out.MediaTemple.Accounts[0].APIKeys[0], "settle_after": 1,
		"ca_cert": out.CAPEM, "allowed_roles": "*",
	})
	m.do(logical.UpdateOperation, "config/metal", map[string]any{
		"provider": "ecs", "url": out.ECS.CloudDCURL, "project_id": instance.ProjectID,
		"access_key": key.AccessKey, "secret_key": key.SecretKey, "ca_cert": out.CAPEM, "allowed_roles": "*",
	})
	servers := []string{out.ECS.Instances[0].ID, out.ECS.Instances[1].ID}
	m.do(logical.UpdateOperation, "roles/root", map[string]any{"connection": "mt", "service_id": "557", "account": "root"})
	m.do(logical.UpdateOperation, "roles/servers", map[string]any{"connection": "metal", "instance_ids": servers})
	m.do(logical.UpdateOperation, "confirm-role/servers", map[string]any{"version": 1})
	m.do(logical.UpdateOperation, "set-password/cache", map[string]any{"password": "Chosen-by-Hand.4713"})
	m.do(logical.UpdateOperation, "rotate-role/servers", nil)
	m.do(logical.UpdateOperation, "confirm-role/servers", map[string]any{"version": 2, "servers": servers[:1]})
	for _, name := range []string{"web1", "cache", "root", "servers"} {
		m.do(logical.UpdateOperation, "rotate-role/"+name, nil)
		m.do(logical.UpdateOperation, "roles/"+name, map[string]any{"max_read_ttl": 60})
		m.do(logical.ReadOperation, "roles/"+name, nil)
		m.do(logical.ReadOperation, "creds/"+name, nil)
		m.do(logical.ReadOperation, "status/"+name, nil)
		m.do(logical.ReadOperation, "history/"+name, nil)
		m.do(logical.UpdateOperation, "confirm-role/"+name, map[string]any{"password": "what-somebody-Said.1"})
		m.do(logical.ReadOperation, "creds/"+name, nil)
	}
	m.do(logical.ReadOperation, "config/panel", nil)
	m.do(logical.ReadOperation, "config/cloud", nil)
	m.do(logical.ReadOperation, "config/mt", nil)
	m.do(logical.ReadOperation, "config/metal", nil)
	m.do(logical.ListOperation, "config/", nil)
	m.do(logical.ListOperation, "roles/", nil)
	m.do(logical.ReadOperation, "settings", nil)
	m.do(logical.UpdateOperation, "settings", map[string]any{"catch_up_limit": "48h"})
	m.do(logical.ReadOperation, "status", nil)
	m.do(logical.ReadOperation, "freeze", nil)
	m.do(logical.UpdateOperation, "freeze", map[string]any{"duration": "1h", "reason": "a release"})
	m.do(logical.ReadOperation, "freeze", nil)
	m.do(logical.DeleteOperation, "freeze", nil)
	m.do(logical.DeleteOperation, "roles/web1", nil)
	m.do(logical.DeleteOperation, "config/panel", nil)
}

func TestEveryWritingOperationIsForwarded(t *testing.T) {
	m := mount(t)
	for _, path := range m.backend.Paths {
		for operation, handler := range path.Operations {
			properties := handler.Properties()
			writing := operation == logical.CreateOperation || operation == logical.UpdateOperation || operation == logical.DeleteOperation ||
				path.Pattern == "freeze" || path.Pattern == "status/?" // the node that rotates knows
			require.Equal(t, writing, properties.ForwardPerformanceStandby, "%s %s", operation, path.Pattern)
			require.Equal(t, writing, properties.ForwardPerformanceSecondary, "%s %s", operation, path.Pattern)
			require.NotEmpty(t, properties.Responses, "%s %s", operation, path.Pattern)
			require.NotEmpty(t, properties.Summary, "%s %s", operation, path.Pattern)
		}
		for name, field := range path.Fields {
			require.NotEmpty(t, field.Description, "%s of %s", name, path.Pattern)
		}
	}
}

func TestSuggestionsNameTheFieldThatWasMeant(t *testing.T) {
	t.Parallel()
	fields := mount(t).backend.Route("roles/x").Fields
	for typed, meant := range map[string]string{
		"rotation-period": "rotation_period", "rotationPeriod": "rotation_period", "rotation_perio": "rotation_period",
		"logn": "login", "policy": "password_policy", "maxreadttl": "max_read_ttl",
	} {
		require.Contains(t, suggest(typed, fields), `"`+meant+`"`, typed)
	}
	require.Empty(t, suggest("frobnicate", fields))
	require.Empty(t, suggest("", fields))
}

// refuses makes a request that has to be answered with a sentence, and returns that.
func (m *mounted) refuses(path string, data map[string]any) string {
	m.Helper()
	resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: logical.CreateOperation, Path: path, Data: data, Storage: m.storage})
	require.NoError(m, err)
	require.True(m, resp.IsError())
	return resp.Error().Error()
}

func TestUnknownFieldsAreRefusedByName(t *testing.T) {
	m := mount(t)
	require.Contains(t, m.refuses("config/panel", map[string]any{"provider": "plesk", "alowed_roles": "*"}), `"alowed_roles" (did you mean "allowed_roles"?)`)
	require.Contains(t, m.refuses("rotate-role/web1", map[string]any{"frobnicate": true}), `"frobnicate"`)
}

func TestASecretOfAWrongTypeIsNotPrinted(t *testing.T) {
	m := mount(t)
	for path, field := range map[string]string{
		"config/panel": "password", "config/cloud": "secret_key", "roles/web1": "password", "set-password/web1": "password", "confirm-role/web1": "password",
	} {
		for _, value := range []any{map[string]any{"a": "Canary-Secret.1"}, []any{"Canary-Secret.1", map[string]any{}}} {
			said := m.refuses(path, map[string]any{field: value})
			require.NotContains(t, said, "Canary", path)
			require.Contains(t, said, field, path)
		}
	}
}

// Vault looks at the type of an error and does not unwrap it, and so does the way from a plugin to Vault.
func TestErrorsCrossToVaultWithTheirCode(t *testing.T) {
	t.Parallel()
	for kind, code := range map[rotation.Kind]int{rotation.KindUnreachable: http.StatusBadGateway, rotation.KindBusy: http.StatusServiceUnavailable} {
		_, err := fail("web1", &rotation.Error{Kind: kind, Message: "say why"})
		require.Implements(t, (*logical.HTTPCodedError)(nil), err)
		require.Equal(t, logical.CodedError(code, "say why"), err)
	}
	resp, err := fail("web1", rotation.Mistake("say why"))
	require.NoError(t, err, "400")
	require.EqualError(t, resp.Error(), "say why")
}

func TestAStandbyForwardsWhatItMustNotDoItself(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	m.do(logical.UpdateOperation, "roles/web2", map[string]any{"connection": "panel", "login": "ops2", "skip_initial_rotation": true})
	m.view.ReplicationStateVal = consts.ReplicationPerformanceStandby
	changes := len(m.sim.Journal("plesk", "ops2"))

	m.do(logical.ReadOperation, "creds/web1", nil) // reads are answered here
	for path, operation := range map[string]logical.Operation{
		"creds/web2": logical.ReadOperation, "rotate-role/web1": logical.UpdateOperation, "roles/web1": logical.DeleteOperation,
	} {
		_, err := m.backend.HandleRequest(t.Context(), &logical.Request{Operation: operation, Path: path, Storage: m.storage})
		require.Equal(t, logical.ErrReadOnly, err, "%s: Vault compares without unwrapping", path)
	}
	require.Len(t, m.sim.Journal("plesk", "ops2"), changes)
}

// Vault repeats a request whose plugin has ended, and does not ask again whether there is such a role.
func TestTheCreationOfARoleThatComesAgainChangesNothing(t *testing.T) {
	m := mount(t)
	m.connect()
	create := func(data map[string]any) *logical.Response {
		resp, err := m.backend.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.CreateOperation, Path: "roles/web1", Data: data, Storage: m.storage,
		})
		require.NoError(t, err)
		return resp
	}
	role := map[string]any{"connection": "panel", "login": "ops1", "max_read_ttl": 60}
	require.Equal(t, "active", create(role).Data["state"])
	changes := len(m.sim.Journal("plesk", "ops1"))

	again := create(role)
	require.False(t, again.IsError(), "%v", again)
	require.Equal(t, "active", again.Data["state"])
	require.Len(t, m.sim.Journal("plesk", "ops1"), changes)
	require.ErrorContains(t, create(map[string]any{"connection": "panel", "login": "ops2"}).Error(), "login", "another account is another role")
}

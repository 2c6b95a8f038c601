package backend

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// mounted is a mounted backend, without Vault.
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

// connect creates the connection "panel" to Plesk.
func (m *mounted) connect() {
	m.Helper()
	out := m.sim.Output()
	m.do(logical.UpdateOperation, "config/panel", map[string]any{
		"provider": "plesk", "url": out.Plesk.URL, "username": "admin", "password": out.Plesk.AdminPassword,
		"ca_cert": out.CAPEM, "allowed_roles": "*",
	})
}

// do makes a request and validates the response against the schema of the path.
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

// jsonOf returns the response as it leaves Vault.
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

func TestResponsesMatchTheirSchemas(t *testing.T) {
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
		m.do(logical.UpdateOperation, "confirm-role/"+name, map[string]any{"password": "what-an-Operator-Stated.1"})
		m.do(logical.ReadOperation, "creds/"+name, nil)
	}
	m.do(logical.ReadOperation, "config/panel", nil)
	m.do(logical.ReadOperation, "config/cloud", nil)
	m.do(logical.ReadOperation, "config/mt", nil)
	m.do(logical.ReadOperation, "config/metal", nil)
	m.do(logical.ListOperation, "config/", nil)
	m.do(logical.ListOperation, "roles/", nil)
	m.do(logical.ListOperation, "status/", nil)
	m.do(logical.PatchOperation, "config/panel", map[string]any{"max_in_flight": 2})
	m.do(logical.PatchOperation, "roles/web1", map[string]any{"max_read_ttl": 60})
	m.do(logical.ReadOperation, "settings", nil)
	m.do(logical.UpdateOperation, "settings", map[string]any{"catch_up_limit": "48h"})
	m.do(logical.DeleteOperation, "settings", nil)
	m.do(logical.ReadOperation, "status", nil)
	m.do(logical.ReadOperation, "freeze", nil)
	m.do(logical.UpdateOperation, "freeze", map[string]any{"duration": "1h", "reason": "a release"})
	m.do(logical.ReadOperation, "freeze", nil)
	m.do(logical.DeleteOperation, "freeze", nil)
	m.do(logical.DeleteOperation, "roles/web1", nil)
	m.do(logical.DeleteOperation, "config/panel", nil)
}

// A duration that Go cannot hold is refused, and does not become a short one.
func TestHugeDurationsAreRefused(t *testing.T) {
	m := mount(t)
	for value, want := range map[any]string{
		json.Number("7776001"): "90 days", json.Number("9223372036"): "90 days",
		json.Number("9223372037"): "292 years", json.Number("18446744074"): "292 years", "99999999999999999999": "292 years",
		"106752d": "292 years", "2562048h": "292 years", math.MaxInt: "292 years", 1e300: "292 years",
	} {
		resp, err := m.backend.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.UpdateOperation, Path: "freeze", Storage: m.storage, Data: map[string]any{"duration": value, "reason": "a release"},
		})
		require.NoError(t, err)
		require.ErrorContains(t, resp.Error(), want, "%v", value)
	}
	require.Equal(t, false, m.do(logical.ReadOperation, "freeze", nil).Data["frozen"])
	m.do(logical.UpdateOperation, "settings", map[string]any{"catch_up_limit": json.Number("9223372036")})
	require.Equal(t, 9223372036, m.do(logical.ReadOperation, "settings", nil).Data["catch_up_limit"])
}

func TestWritesAreForwarded(t *testing.T) {
	m := mount(t)
	for _, path := range m.backend.Paths {
		for operation, handler := range path.Operations {
			properties := handler.Properties()
			writing := operation == logical.CreateOperation || operation == logical.UpdateOperation || operation == logical.PatchOperation || operation == logical.DeleteOperation ||
				(path.Pattern == "freeze" || path.Pattern == "status/?") && operation == logical.ReadOperation // only the node that rotates knows these
			require.Equal(t, writing, properties.ForwardPerformanceStandby, "%s %s", operation, path.Pattern)
			require.Equal(t, writing, properties.ForwardPerformanceSecondary, "%s %s", operation, path.Pattern)
			require.NotEmpty(t, properties.Responses, "%s %s", operation, path.Pattern)
			require.NotEmpty(t, properties.Summary, "%s %s", operation, path.Pattern)
			for _, answer := range properties.Responses[http.StatusOK] {
				for name, field := range answer.Fields { // OpenAPI has a string for a duration, and the answer has a number
					require.NotEqual(t, framework.TypeDurationSecond, field.Type, "%s of %s %s", name, operation, path.Pattern)
				}
			}
		}
		for name, field := range path.Fields {
			require.NotEmpty(t, field.Description, "%s of %s", name, path.Pattern)
		}
	}
}

// A field that several providers have is not named after what one of them does with it.
func TestSharedFieldsHaveNeutralNames(t *testing.T) {
	t.Parallel()
	fields := mount(t).backend.Route("config/x").Fields
	for name, want := range map[string]string{"username": "Username", "password": "Password", "secret_key": "Secret key", "region": "Region", "domain_name": "Account name"} {
		require.Equal(t, want, fields[name].DisplayAttrs.Name, name)
	}
}

// Whoever may not read a password can see when it was changed.
func TestRoleAndStatusShowLastRotation(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/adopted", map[string]any{"connection": "panel", "login": "ops2", "skip_initial_rotation": true})
	require.NotContains(t, m.do(logical.ReadOperation, "roles/adopted", nil).Data, "last_vault_rotation")
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	for version := 1; version <= 2; version++ {
		creds := m.do(logical.ReadOperation, "creds/web1", nil).Data
		require.Equal(t, version, creds["version"])
		for _, path := range []string{"roles/web1", "status/web1"} {
			got := m.do(logical.ReadOperation, path, nil).Data
			require.Equal(t, creds["version"], got["version"], path)
			require.Equal(t, creds["last_vault_rotation"], got["last_vault_rotation"], path)
			require.NotContains(t, got, "password", path)
		}
		role := m.do(logical.ReadOperation, "roles/web1", nil).Data
		m.do(logical.UpdateOperation, "rotate-role/web1", nil)
		m.do(logical.UpdateOperation, "roles/web1", role) // it can be written back, although it is older now
	}
	require.Equal(t, []string{"adopted", "web1"}, m.do(logical.ListOperation, "status/", nil).Data["keys"])
}

func TestConnectionShowsFieldsOfItsCredential(t *testing.T) {
	m := mount(t)
	m.connect()
	require.Equal(t, []string{"username", "password"}, m.do(logical.ReadOperation, "config/panel", nil).Data["credential_fields"])
	m.do(logical.UpdateOperation, "config/panel", map[string]any{"secret_key": "a-Key.1", "verify_connection": false})
	require.Equal(t, []string{"secret_key"}, m.do(logical.ReadOperation, "config/panel", nil).Data["credential_fields"])
}

func TestPatchUpdatesWhatExists(t *testing.T) {
	m := mount(t)
	patch := func(path string, data map[string]any) *logical.Response {
		resp, err := m.backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.PatchOperation, Path: path, Data: data, Storage: m.storage})
		require.NoError(t, err)
		return resp
	}
	require.ErrorContains(t, patch("config/panel", map[string]any{"provider": "plesk"}).Error(), `connection "panel" does not exist`)
	m.connect()
	require.ErrorContains(t, patch("roles/web1", map[string]any{"connection": "panel", "login": "ops1"}).Error(), `role "web1" does not exist`)
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1", "history_size": 3})
	require.Nil(t, patch("config/panel", map[string]any{"max_in_flight": 7}))
	require.Equal(t, 7, m.do(logical.ReadOperation, "config/panel", nil).Data["max_in_flight"])
	require.Equal(t, "active", patch("roles/web1", map[string]any{"max_read_ttl": 60}).Data["state"])
	role := m.do(logical.ReadOperation, "roles/web1", nil).Data
	require.Equal(t, 60, role["max_read_ttl"])
	require.Equal(t, 3, role["history_size"])
	require.Nil(t, patch("settings", map[string]any{"catch_up_limit": "2h"}))
	require.Equal(t, 7200, m.do(logical.ReadOperation, "settings", nil).Data["catch_up_limit"])
	require.ErrorContains(t, patch("roles/web1", map[string]any{"max_read_ttl": nil}).Error(), `max_read_ttl must not be null`)
	require.ErrorContains(t, patch("roles/web1", map[string]any{"frobnicate": 1}).Error(), "unknown field")
}

// An error names the field and says what is wrong with its value.
func TestBadValuesAreExplained(t *testing.T) {
	m := mount(t)
	for want, c := range map[string]struct {
		path, field string
		value       any
	}{
		`rotation_period is too large: at most 292 years`:               {"roles/x", "rotation_period", "99999999999"},
		`rotation_period must not be negative`:                          {"roles/x", "rotation_period", "-1h"},
		`max_read_ttl must not be negative`:                             {"roles/x", "max_read_ttl", json.Number("-5")},
		`duration must not be negative`:                                 {"freeze", "duration", "-1h"},
		`duration must be a duration in whole seconds: a number`:        {"freeze", "duration", "soon"},
		`request_timeout must be a duration in whole seconds: a number`: {"config/x", "request_timeout", "1500ms"},
		`rotate_after_read must be a duration in whole seconds: a numb`: {"roles/x", "rotate_after_read", true},
		`disable_automated_rotation must be true or false`:              {"roles/x", "disable_automated_rotation", "maybe"},
		`verify_connection must be true or false`:                       {"config/x", "verify_connection", []any{1, 2}},
		`force must be true or false`:                                   {"rotate-role/x", "force", "now"},
		`version must be a whole number`:                                {"rotate-role/x", "version", "two"},
	} {
		require.Contains(t, m.refuses(c.path, map[string]any{c.field: c.value}), want)
	}
}

func TestUnknownFieldSuggestsSimilarOne(t *testing.T) {
	t.Parallel()
	fields := mount(t).backend.Route("roles/x").Fields
	for typed, meant := range map[string]string{
		"rotation-period": "rotation_period", "rotationPeriod": "rotation_period", "rotation_perio": "rotation_period",
		"logn": "login", "vesrion": "version", "policy": "password_policy", "maxreadttl": "max_read_ttl", "verify_adress": "verify_address",
	} {
		require.Contains(t, suggest(typed, fields), `"`+meant+`"`, typed)
	}
	require.Empty(t, suggest("frobnicate", fields))
	require.Empty(t, suggest("", fields))
}

// refuses makes a request that must fail with status 400, and returns the error.
func (m *mounted) refuses(path string, data map[string]any) string {
	m.Helper()
	resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: logical.CreateOperation, Path: path, Data: data, Storage: m.storage})
	require.NoError(m, err)
	require.True(m, resp.IsError())
	return resp.Error().Error()
}

func TestUnknownFieldsAreRejected(t *testing.T) {
	m := mount(t)
	require.Contains(t, m.refuses("config/panel", map[string]any{"provider": "plesk", "alowed_roles": "*"}), `"alowed_roles" (did you mean "allowed_roles"?)`)
	require.Contains(t, m.refuses("rotate-role/web1", map[string]any{"frobnicate": true}), `"frobnicate"`)
}

// The API gives the warnings of a write to the user.
func TestWriteOfStoredSecretWarns(t *testing.T) {
	m := mount(t)
	m.connect()
	same := map[string]any{"password": m.sim.Output().Plesk.AdminPassword}
	require.Equal(t, []string{explain.SecretUnchanged}, m.do(logical.UpdateOperation, "config/panel", same).Warnings)
	same["force"] = true
	require.Nil(t, m.do(logical.UpdateOperation, "config/panel", same))
}

func TestSecretOfWrongTypeIsNotPrinted(t *testing.T) {
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

// Vault, and gRPC between Vault and the plugin, look at the type of an error and do not unwrap it.
func TestErrorsKeepTheirStatusCode(t *testing.T) {
	t.Parallel()
	for kind, code := range map[problem.Kind]int{problem.KindUnreachable: http.StatusBadGateway, problem.KindBusy: http.StatusServiceUnavailable} {
		_, err := fail("web1", &problem.Error{Kind: kind, Message: "say why"})
		require.Implements(t, (*logical.HTTPCodedError)(nil), err)
		require.Equal(t, logical.CodedError(code, "say why"), err)
	}
	resp, err := fail("web1", problem.Mistake("say why"))
	require.NoError(t, err, "400")
	require.EqualError(t, resp.Error(), "say why")
}

func TestStandbyForwards(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	m.do(logical.UpdateOperation, "roles/web2", map[string]any{"connection": "panel", "login": "ops2", "skip_initial_rotation": true})
	m.view.ReplicationStateVal = consts.ReplicationPerformanceStandby
	changes := len(m.sim.Journal("plesk", "ops2"))

	m.do(logical.ReadOperation, "creds/web1", nil) // a standby serves reads itself
	for path, operation := range map[string]logical.Operation{
		"creds/web2": logical.ReadOperation, "rotate-role/web1": logical.UpdateOperation, "roles/web1": logical.DeleteOperation,
	} {
		_, err := m.backend.HandleRequest(t.Context(), &logical.Request{Operation: operation, Path: path, Storage: m.storage})
		require.Equal(t, logical.ErrReadOnly, err, "%s: Vault compares without unwrapping", path)
	}
	require.Len(t, m.sim.Journal("plesk", "ops2"), changes)
}

// Vault repeats a request during which the plugin ended, without another existence check.
func TestRepeatedCreateChangesNothing(t *testing.T) {
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
	require.ErrorContains(t, create(map[string]any{"connection": "panel", "login": "ops2"}).Error(), "login", "another account needs another role")
}

package backend

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// Fingerprints of host keys.
const (
	oneKey   = "SHA256:ezX23TUbUAzF3HVBsFGE2OV1EksrNnAP66BPEubCSZI"
	otherKey = "SHA256:KrcIwYvDIPEexa5kaZjg1GnRG7Qjg5jQ1TG/Sf2FWV4"
)

// verifying has connections to remote systems that only count calls. They allow some addresses.
func verifying(t *testing.T, test func(m *opened)) {
	t.Helper()
	inTheFuture(t, "verify", func(t *testing.T) {
		m := openGolden(t, golden{})
		for name, config := range map[string]map[string]any{
			"panel": {"provider": "plesk", "url": "https://panel.example:8443", "username": "admin", "password": "Test-Admin.1"},
			"cloud": {"provider": "dcs", "url": "https://dcs.example", "project_id": "p1", "access_key": "A", "secret_key": "S"},
			"metal": {"provider": "ecs", "url": "https://ecs.example", "project_id": "p1", "access_key": "A", "secret_key": "S"},
			"mt":    {"provider": "mediatemple", "api_key": "Test-Key.1"},
		} {
			config["allowed_roles"], config["allowed_verify_addresses"] = "*", "10.0.0.0/8,cache.example:6379,[2001:db8::1]:22"
			m.do(logical.UpdateOperation, "config/"+name, config)
		}
		test(m)
	})
}

// adopted returns the fields of a role that is created without a change.
func adopted(fields map[string]any) map[string]any {
	fields["skip_initial_rotation"] = true
	return fields
}

func cacheRole() map[string]any {
	return adopted(map[string]any{"connection": "cloud", "instance_id": "i1", "account_id": "a1", "username": "app", "password": "What-Is.There-1"})
}

func serversRole() map[string]any {
	return adopted(map[string]any{"connection": "metal", "instance_ids": []string{"a-1", "b-2"}})
}

// What was written reads back, and can be written again as it reads.
func TestVerifyOptionsReadBack(t *testing.T) {
	verifying(t, func(m *opened) {
		for name, c := range map[string]struct {
			role, written, read map[string]any
		}{
			"lists": {serversRole(), map[string]any{
				"verify": "ssh", "verify_address": []any{"b-2=10.0.0.2:22", "A-1=10.0.0.1:22"}, "verify_host_key": []any{"a-1=" + oneKey, "b-2=" + otherKey},
				"verify_period": "2h", "on_drift": "rotate",
			}, map[string]any{
				"verify": "ssh", "verify_address": []string{"b-2=10.0.0.2:22", "A-1=10.0.0.1:22"}, "verify_host_key": []string{"a-1=" + oneKey, "b-2=" + otherKey},
				"verify_period": 7200, "on_drift": "rotate", "verify_tls": true, "verify_ca_cert": "",
			}},
			"text": {serversRole(), map[string]any{
				"verify": "ssh", "verify_address": "a-1=10.0.0.1:22, b-2=[2001:DB8::1]:22", "verify_host_key": "a-1=" + oneKey + "\n\nb-2=" + otherKey + "\n",
			}, map[string]any{
				"verify": "ssh", "verify_address": []string{"a-1=10.0.0.1:22", "b-2=[2001:DB8::1]:22"}, "verify_host_key": []string{"a-1=" + oneKey, "b-2=" + otherKey},
				"verify_period": 0, "on_drift": "report",
			}},
			"redis": {cacheRole(), map[string]any{"verify": "redis", "verify_address": "CACHE.example:6379", "verify_tls": false}, map[string]any{
				"verify": "redis", "verify_address": []string{"CACHE.example:6379"}, "verify_tls": false, "verify_host_key": []string{},
			}},
			"webcli":      {cacheRole(), map[string]any{"verify": "webcli"}, map[string]any{"verify": "webcli", "verify_address": []string{}}},
			"own plesk":   {adopted(map[string]any{"connection": "panel", "login": "ops1"}), map[string]any{"verify": "plesk"}, map[string]any{"verify": "plesk", "verify_address": []string{}}},
			"none":        {cacheRole(), map[string]any{"verify": "none"}, map[string]any{"verify": "none"}},
			"false":       {cacheRole(), map[string]any{"verify": false}, map[string]any{"verify": "none"}},
			"false text":  {cacheRole(), map[string]any{"verify": "false"}, map[string]any{"verify": "none"}},
			"empty":       {cacheRole(), map[string]any{"verify": ""}, map[string]any{"verify": "none"}},
			"not written": {cacheRole(), nil, map[string]any{"verify": "none", "verify_tls": true, "on_drift": "report"}},
		} {
			for field, value := range c.written {
				c.role[field] = value
			}
			m.do(logical.UpdateOperation, "roles/r", c.role)
			read := m.do(logical.ReadOperation, "roles/r", nil).Data
			for field, want := range c.read {
				require.Equal(m, want, read[field], "%s: %s", name, field)
			}
			delete(read, "version")
			delete(read, "last_vault_rotation")
			m.do(logical.UpdateOperation, "roles/r", read)
			again := m.do(logical.ReadOperation, "roles/r", nil).Data
			for field, want := range read {
				require.Equal(m, want, again[field], "%s: %s", name, field)
			}
			m.do(logical.DeleteOperation, "roles/r", map[string]any{"force": true})
		}
	})
}

func TestBadVerifyOptionsAreRefused(t *testing.T) {
	verifying(t, func(m *opened) {
		m.do(logical.UpdateOperation, "roles/servers", serversRole())
		m.do(logical.UpdateOperation, "roles/cache", cacheRole())
		m.do(logical.UpdateOperation, "roles/ops", adopted(map[string]any{"connection": "panel", "login": "ops1"}))
		m.do(logical.UpdateOperation, "roles/root", adopted(map[string]any{"connection": "mt", "service_id": "556", "account": "root"}))
		m.do(logical.UpdateOperation, "roles/plesk", adopted(map[string]any{"connection": "mt", "service_id": "556", "account": "plesk"}))
		addresses, keys := "a-1=10.0.0.1:22,b-2=10.0.0.2:22", "a-1="+oneKey+"\nb-2="+otherKey
		for want, c := range map[string]struct {
			role   string
			fields map[string]any
		}{
			`verify must be "none" or "ssh" for this account`:                    {"servers", map[string]any{"verify": "redis"}},
			`verify must be "none", "redis" or "webcli" for this account`:        {"cache", map[string]any{"verify": true}},
			`verify must be "none" or "plesk" for this account`:                  {"ops", map[string]any{"verify": "true"}},
			`verify must be a string`:                                            {"ops", map[string]any{"verify": []any{"ssh"}}},
			`verify_address is missing. verify=redis requires the host:port`:     {"cache", map[string]any{"verify": "redis"}},
			`verify_address is missing. verify=plesk requires the host:port`:     {"plesk", map[string]any{"verify": "plesk"}},
			`verify_address is missing. verify=ssh requires the host:port`:       {"root", map[string]any{"verify": "ssh"}},
			`verify_host_key is missing. The server's public key is required`:    {"root", map[string]any{"verify": "ssh", "verify_address": "10.0.0.1:22"}},
			`verify_address is missing for b-2`:                                  {"servers", map[string]any{"verify": "ssh", "verify_address": "a-1=10.0.0.1:22"}},
			`verify_address has 2 entries for server a-1`:                        {"servers", map[string]any{"verify": "ssh", "verify_address": addresses + ",a-1=10.0.0.3:22"}},
			`verify_address: entry 3 begins with an ID that is not one of the r`: {"servers", map[string]any{"verify": "ssh", "verify_address": addresses + ",c=10.0.0.3:22"}},
			`verify_host_key is missing for b-2`:                                 {"servers", map[string]any{"verify": "ssh", "verify_address": addresses, "verify_host_key": []any{"a-1=" + oneKey}}},
			`verify_host_key contains a private key, which was not stored`:       {"servers", map[string]any{"verify_host_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}},
			`verify_ca_cert contains a private key, which was not stored`:        {"cache", map[string]any{"verify_ca_cert": "-----BEGIN PRIVATE KEY-----"}},
			`does not allow the verify_address "192.0.2.1:6379"`:                 {"cache", map[string]any{"verify": "redis", "verify_address": "192.0.2.1:6379"}},
			`does not allow the verify_address "192.0.2.1:8443"`:                 {"ops", map[string]any{"verify": "plesk", "verify_address": "192.0.2.1:8443"}},
			`is link-local, multicast, unspecified or a metadata service`:        {"cache", map[string]any{"verify": "redis", "verify_address": "169.254.169.254:80"}},
			`verify_address has no effect with verify=webcli`:                    {"cache", map[string]any{"verify": "webcli", "verify_address": "10.0.0.1:6379"}},
			`verify_host_key has no effect with verify=plesk`:                    {"ops", map[string]any{"verify": "plesk", "verify_host_key": oneKey}},
			`verify_ca_cert has no effect with verify=ssh`:                       {"servers", map[string]any{"verify": "ssh", "verify_address": addresses, "verify_host_key": keys, "verify_ca_cert": "a CA"}},
			`verify_tls=false has no effect with verify=ssh`:                     {"servers", map[string]any{"verify": "ssh", "verify_address": addresses, "verify_host_key": keys, "verify_tls": false}},
			`verify_period must be at least 3600 seconds`:                        {"ops", map[string]any{"verify": "plesk", "verify_period": "59m"}},
			`verify_period requires verify`:                                      {"ops", map[string]any{"verify_period": "1h"}},
			`on_drift must be "report", "recover" or "rotate"`:                   {"ops", map[string]any{"verify": "plesk", "on_drift": "ignore"}},
			`on_drift=recover requires verify`:                                   {"ops", map[string]any{"on_drift": "recover"}},
			`use on_drift=recover, or set rotation_method=reset on the role`:     {"cache", map[string]any{"verify": "webcli", "on_drift": "rotate"}},
		} {
			require.Contains(m, m.refusesUpdate("roles/"+c.role, c.fields), want)
			require.Equal(m, "none", m.do(logical.ReadOperation, "roles/"+c.role, nil).Data["verify"], want)
		}
		created := serversRole()
		created["instance_ids"], created["verify"] = "c-3", "webcli"
		require.Contains(m, m.refuses("roles/new", created), `verify must be "none" or "ssh" for this account`)
		require.NotContains(m, m.list("roles/"), "new")
		m.do(logical.UpdateOperation, "roles/cache", map[string]any{"verify": "webcli", "rotation_method": "reset", "on_drift": "rotate"})
		require.Contains(m, m.refusesUpdate("roles/cache", map[string]any{"rotation_method": "modify"}), "on_drift=rotate is not possible")
		m.do(logical.UpdateOperation, "settings", map[string]any{"forbid_insecure_tls": true, "allowed_hosts": "*.example"})
		insecure := map[string]any{"verify": "redis", "verify_address": "cache.example:6379", "verify_tls": false}
		require.Contains(m, m.refusesUpdate("roles/cache", insecure), "forbids verify_tls=false")
		insecure["verify_address"], insecure["verify_tls"] = "10.0.0.1:6379", true
		require.Contains(m, m.refusesUpdate("roles/cache", insecure), "allowed_hosts in the mount's settings does not allow the host in verify_address")
	})
}

// The engine asks before each login. Until then, the role can be read and written as before.
func TestAddressNoLongerAllowedDoesNotBlockRole(t *testing.T) {
	verifying(t, func(m *opened) {
		role := cacheRole()
		role["verify"], role["verify_address"] = "redis", "cache.example:6379"
		m.do(logical.UpdateOperation, "roles/cache", role)
		m.do(logical.UpdateOperation, "config/cloud", map[string]any{"allowed_verify_addresses": "10.0.0.0/8"})
		m.do(logical.UpdateOperation, "roles/cache", map[string]any{"max_read_ttl": 77, "verify_address": "cache.example:6379"})
		require.Contains(m, m.refusesUpdate("roles/cache", map[string]any{"verify_address": "cache.example:6380"}), "add it to allowed_verify_addresses of config/cloud")
		require.Contains(m, m.refusesUpdate("roles/cache", map[string]any{"verify_tls": false}), "add it to allowed_verify_addresses of config/cloud")
	})
}

func TestUselessVerifyOptionsWarn(t *testing.T) {
	verifying(t, func(m *opened) {
		role := cacheRole()
		role["verify_address"] = "10.0.0.1:6379"
		require.Contains(m, m.do(logical.UpdateOperation, "roles/cache", role).Warnings[0], "no effect until verify is set")
		require.Empty(m, m.do(logical.UpdateOperation, "roles/cache", map[string]any{"verify": "redis"}).Warnings)
		require.Contains(m, m.do(logical.UpdateOperation, "roles/cache", map[string]any{"verify_tls": false}).Warnings[0], "can read the passwords")
	})
}

func TestVerifyPathsNeedVerify(t *testing.T) {
	verifying(t, func(m *opened) {
		m.do(logical.UpdateOperation, "roles/cache", cacheRole())
		for _, path := range []string{"verify-role/", "recover-role/"} {
			require.Contains(m, m.refusesUpdate(path+"cache", nil), "write the kind of login to verify in roles/cache")
			require.Contains(m, m.refusesUpdate(path+"absent", nil), `role "absent" does not exist`)
		}
	})
}

// refusesUpdate is refuses for what exists.
func (m *mounted) refusesUpdate(path string, data map[string]any) string {
	m.Helper()
	resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: logical.UpdateOperation, Path: path, Data: data, Storage: m.storage})
	require.NoError(m, err)
	require.True(m, resp.IsError())
	return resp.Error().Error()
}

// The response says what is known of each password, and never which it is.
func TestProofsAreReturnedWithoutPasswords(t *testing.T) {
	verifying(t, func(m *opened) {
		role := cacheRole()
		role["verify"] = "webcli"
		m.do(logical.UpdateOperation, "roles/cache", role)
		until := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
		proved := &rotation.Proved{
			Report: &roles.Report{View: credential.View{State: credential.StateActive, Password: &credential.Password{Version: 2, Value: "Canary-Secret.1"}}, TTL: time.Minute},
			Tried:  []proof.Tried{{Version: 2, Verdict: "works", Reason: "the login succeeded"}, {Version: 1, Server: "a-1", Verdict: "not_tried"}},
			Until:  until,
		}
		answer := func(proved *rotation.Proved, err error) (*logical.Response, error) {
			path := m.backend.Route("verify-role/cache")
			path.Operations[logical.UpdateOperation] = writes(prover(func(*rotation.Engine, context.Context, logical.Storage, string) (*rotation.Proved, error) {
				return proved, err
			}).handler(m.backend), "", path.Operations[logical.UpdateOperation].Properties().Responses)
			resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: logical.UpdateOperation, Path: "verify-role/cache", Storage: m.storage})
			if err == nil && !resp.IsError() {
				schema.ValidateResponse(m.T, schema.GetResponseSchema(m.T, path, logical.UpdateOperation), jsonOf(m.T, resp), true)
			}
			return resp, err
		}
		resp, err := answer(proved, nil)
		require.NoError(m, err)
		require.Equal(m, map[string]any{
			"state": "active", "version": 2, "ttl": int64(60), "next_attempt_time": until.Format(time.RFC3339),
			"proofs": []map[string]any{
				{"version": 2, "result": "works", "reason": "the login succeeded"},
				{"version": 1, "server": "a-1", "result": "not_tried", "reason": ""},
			},
		}, resp.Data)
		proved.Until, proved.Tried = time.Time{}, nil
		resp, err = answer(proved, nil)
		require.NoError(m, err)
		require.Equal(m, []map[string]any{}, resp.Data["proofs"])
		require.NotContains(m, resp.Data, "next_attempt_time")
		_, err = answer(nil, problem.Busy("nothing was changed, because of a test"))
		require.Equal(m, logical.CodedError(503, "nothing was changed, because of a test"), err)
	})
}

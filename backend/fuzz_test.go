package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/canary"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/backend/rotation"
	"vault-plugin-secrets-hosting/backend/store"
)

// obliging is a provider whose remote system accepts every change.
type obliging struct {
	provider.Type
	remote *obligingRemote
}

func (o obliging) Open(c provider.Connection) (provider.Client, error) {
	if _, err := o.Type.Open(c); err != nil {
		return nil, err
	}
	return o.remote, nil
}

type obligingRemote struct {
	mu  sync.Mutex
	set []string // passwords
}

func (*obligingRemote) Check(context.Context) provider.Result {
	return provider.Result{Outcome: provider.Applied}
}
func (*obligingRemote) CheckTarget(context.Context, provider.Target) provider.Result {
	return provider.Result{Outcome: provider.Applied}
}

func (r *obligingRemote) Change(_ context.Context, c provider.Change) provider.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set = append(r.set, c.NewPassword)
	return provider.Result{Outcome: provider.Applied}
}

// planted is appended to every secret of a request.
const planted = "Canary-Secret.4711"

// fieldSeeds are pairs of a connection and a role.
var fieldSeeds = [][2]string{
	{`{"provider":"plesk","url":"https://panel.example.com:8443","username":"admin","password":"Test-","allowed_roles":"*"}`, `{"login":"ops1","rotation_period":"24h"}`},
	{`{"provider":"plesk","url":"https://[::1]:8443/","secret_key":"f4f2b8ad-","insecure_tls":true,"allowed_roles":["r*"],"max_in_flight":"7"}`, `{"login":"OPS 1","history_size":50}`},
	{`{"provider":"dcs","region":"ap-southeast-3","project_id":"p1","access_key":"AK1","secret_key":"Test-","allowed_roles":"*"}`,
		`{"instance_id":"i1","account_id":"a1","username":"app","password":"Test-","rotation_schedule":"0 3 * * *","rotation_window":3600}`},
	{`{"provider":"dcs","url":"https://dcs.example.com","project_id":"p1","username":"u","password":"Test-","domain_name":"acme","iam_url":"https://iam.example.com/v3","allowed_roles":"*","allowed_targets":"i1/*"}`,
		`{"instance_id":"i1","account_id":"a1","username":"app","rotation_method":"reset","rotation_mode":"on_read"}`},
	{`{"provider":"ecs","region":"eu-west-101","project_id":"p1","access_key":"AK1","secret_key":"Test-","security_token":"Test-","api":"cloudservers","allowed_roles":"*"}`,
		`{"instance_ids":["0197f36d-d83b-7258-b177-3784b7887a17","616fb98f-46ca-475e-917e-2563e5a8cd19"],"username":"Administrator","restart":"soft"}`},
	{`{"provider":"mediatemple","api_key":"Test-","settle_after":"90s","allowed_roles":"*","request_timeout":60}`, `{"service_id":556,"account":"plesk","skip_initial_rotation":true}`},
	{`{"provider":"mediatemple","url":"http://127.0.0.1:80/api/v1","insecure_tls":true,"api_key":"Test-","allowed_roles":"*","ca_cert":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"}`, `{"service_id":"556","account":"root","password":"Test-"}`},
	{`{"provider":"ecs","region":"eu-west-101","project_id":"p1","access_key":"AK1","secret_key":"Test-","allowed_roles":"*","allowed_verify_addresses":"10.0.0.0/8,h:22"}`,
		`{"instance_ids":"a,b","verify":"ssh","verify_address":"a=10.0.0.1:22,B=H:022","verify_host_key":["a=SHA256:ezX23TUbUAzF3HVBsFGE2OV1EksrNnAP66BPEubCSZI\n","b=SHA256:KrcIwYvDIPEexa5kaZjg1GnRG7Qjg5jQ1TG/Sf2FWV4"],"verify_period":"1h","on_drift":"rotate"}`},
	{`{"provider":"dcs","region":"ap-southeast-3","project_id":"p1","access_key":"AK1","secret_key":"Test-","allowed_roles":"*","allowed_verify_addresses":["[::1]:6379"]}`,
		`{"instance_id":"i1","account_id":"a1","username":"app","password":"Test-","verify":"redis","verify_address":[" [::1]:6379 "],"verify_tls":false,"on_drift":"recover"}`},
	{`{"provider":"gone","url":7,"settle_after":-1,"max_in_flight":1e99,"request_timeout":"99999999999h"}`, `{"login":["a"],"service_id":-1,"instance_ids":{"a":[null]},"verify":true,"verify_address":"::","verify_host_key":"="}`},
	{`{"provider":null,"allowed_roles":[[[]]],"allowed_targets":[""],"verify_connection":"maybe"}`, `{"rotation_schedule":"TZ=","rotation_period":-1,"rotate_after_read":"x"}`},
	{`{"provider":"plesk","url":"https://user:pw@panel.example.com/?x#y","username":"a\nb","password":"\u0000"}`, `{"login":"\ud800","max_read_ttl":9223372036854775807}`},
}

// Any fields of a connection and a role are handled without a panic. If they are rejected, the error contains no secret. If
// they are accepted, they are returned without secrets, can be written back as they were read, and produce passwords that
// follow the rules.
func FuzzFields(f *testing.F) {
	for _, seed := range fieldSeeds {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	remote := &obligingRemote{}
	var types []provider.Type
	for _, kind := range registry.All() {
		types = append(types, obliging{kind, remote})
	}
	var log bytes.Buffer
	b := newBackend("v0.0.1", types)
	require.NoError(f, b.Setup(f.Context(), &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}), System: &logical.StaticSystemView{}, StorageView: &logical.InmemStorage{},
	}))
	b.engine = rotation.New(rotation.Config{Types: b.types, Policies: b.System(), Logger: b.Logger(), Login: unreachable})
	require.NoError(f, b.engine.Gate.Load(f.Context(), store.Store{Storage: &logical.InmemStorage{}})) // a read may set a first password
	f.Cleanup(func() { b.Cleanup(context.Background()) })
	var secrets canary.Set
	secrets.Add("a secret of the request", planted)

	f.Fuzz(func(t *testing.T, connection, role []byte) {
		config, fields := providertest.Decoded(connection), providertest.Decoded(role)
		if config == nil || fields == nil {
			return // Vault accepts only objects
		}
		log.Reset()
		u := user{T: t, backend: b, storage: &logical.InmemStorage{}, secrets: &secrets}
		given := plant(config)
		providertest.Bounded(t, len(connection)+len(role), func() {
			if !u.write("config/c", config) {
				return
			}
			u.rewrite("config/c", given)
			fields["connection"] = "c"
			plant(fields)
			if u.write("roles/r", fields) {
				u.rewrite("roles/r", nil)
				u.rotates(remote)
			}
		})
		if strings.Contains(log.String(), "panic") || len(secrets.Find(log.Bytes())) > 0 {
			t.Fatalf("the log has a panic or a secret after %q %q", connection, role)
		}
		u.write("roles/r?", map[string]any{}) // no such path
		_, _ = b.HandleRequest(t.Context(), &logical.Request{Operation: logical.DeleteOperation, Path: "roles/r", Storage: u.storage, Data: map[string]any{"force": true}})
		_, _ = b.HandleRequest(t.Context(), &logical.Request{Operation: logical.DeleteOperation, Path: "config/c", Storage: u.storage})
		b.engine.Invalidate("config/c")
	})
}

// plant appends the canary to every secret, and returns the secrets.
func plant(data map[string]any) map[string]any {
	given := map[string]any{}
	for _, name := range []string{"password", "secret_key", "security_token", "api_key"} {
		if value, ok := data[name].(string); ok && value != "" {
			data[name] = value + planted
			given[name] = data[name]
		}
	}
	return given
}

// user makes requests and checks the responses for secrets.
type user struct {
	*testing.T
	backend *Backend
	storage logical.Storage
	secrets *canary.Set
}

func (u user) do(operation logical.Operation, path string, data map[string]any) (*logical.Response, bool) {
	u.Helper()
	req := &logical.Request{Operation: operation, Path: path, Data: data, Storage: u.storage}
	if _, exists, err := u.backend.HandleExistenceCheck(u.Context(), req); operation == logical.UpdateOperation && err == nil && !exists {
		req.Operation = logical.CreateOperation
	}
	resp, err := u.backend.HandleRequest(u.Context(), req)
	said, problem := json.Marshal(resp)
	switch {
	case err != nil:
		said = []byte(err.Error())
	case problem != nil:
		u.Fatal("the response is not JSON")
	}
	if !strings.HasPrefix(path, "creds/") && len(u.secrets.Find(said)) > 0 {
		u.Fatalf("the response to %s %s has a secret", req.Operation, path)
	}
	if err != nil && strings.Contains(err.Error(), "the plugin has a fault") {
		u.Fatalf("%s %s panicked", req.Operation, path)
	}
	return resp, err == nil && !resp.IsError()
}

func (u user) write(path string, data map[string]any) bool {
	u.Helper()
	_, ok := u.do(logical.UpdateOperation, path, data)
	return ok
}

// rewrite writes back what it reads, with the secrets that are not returned, and asserts that a read returns the same.
func (u user) rewrite(path string, secrets map[string]any) {
	u.Helper()
	before, ok := u.do(logical.ReadOperation, path, nil)
	if !ok || before == nil {
		u.Fatalf("%s was written but cannot be read", path)
	}
	text, err := json.Marshal(before.Data)
	require.NoError(u, err)
	again := providertest.Decoded(text)
	for name, value := range secrets {
		again[name] = value
	}
	if resp, ok := u.do(logical.UpdateOperation, path, again); !ok {
		u.Fatalf("%s cannot be written as it was read: %v of %s", path, resp, text)
	}
	after, _ := u.do(logical.ReadOperation, path, nil)
	if now, err := json.Marshal(after.Data); err != nil || !bytes.Equal(now, text) {
		u.Fatalf("%s reads differently after it was written as it was read: %s, then %s", path, text, now)
	}
}

// rotates rotates the password, and asserts that creds returns the one that was set.
func (u user) rotates(remote *obligingRemote) {
	u.Helper()
	u.do(logical.UpdateOperation, "rotate-role/r", map[string]any{})
	creds, ok := u.do(logical.ReadOperation, "creds/r", nil)
	if !ok || creds == nil {
		u.Fatal("there are no credentials")
	}
	remote.mu.Lock()
	defer remote.mu.Unlock()
	value, _ := creds.Data["password"].(string)
	if len(remote.set) == 0 || remote.set[len(remote.set)-1] != value {
		u.Fatalf("creds does not return the password of the remote system, in the state %v", creds.Data["state"])
	}
	remote.set = nil
}

package backend

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/backend/rotation"
	"vault-plugin-secrets-hosting/backend/verify"
)

// testdata/storage has the storage of a mount as each version wrote it. Every later version must be able to open all of
// them. Before a release, add the storage of the new version:
//
//	go test ./backend -run TestStorageOfEveryVersion -golden v0.2.0
var goldenVersion = flag.String("golden", "", "write the storage of this version into testdata/storage")

// golden is the storage of a mount, and the expected results.
type golden struct {
	About string `json:"about"`
	// Creds are the expected responses of creds for each role.
	Creds map[string]goldenCreds `json:"creds"`
	// Gone is a deleted role that left limits for the next role on its account.
	Gone map[string]any `json:"gone"`
	// Storage maps keys to entries.
	Storage map[string]json.RawMessage `json:"storage"`
}

// goldenCreds are the fields of creds that do not change with time.
type goldenCreds struct {
	State    string `json:"state"`
	Username string `json:"username"`
	Password string `json:"password"`
	Version  int    `json:"version"`
	Next     string `json:"next_password,omitempty"`
}

// Every version serves the right passwords from the storage of earlier versions, and sends nothing to a remote system,
// regardless of the time that has passed. If that is more than catch_up_limit, due passwords are rotated only after an
// operator ends the freeze.
func TestStorageOfEveryVersion(t *testing.T) {
	if *goldenVersion != "" {
		writeGolden(t, *goldenVersion)
	}
	for version, g := range goldens(t) {
		inTheFuture(t, version, func(t *testing.T) {
			m := openGolden(t, g)
			time.Sleep(24 * time.Hour) // of the bubble
			synctest.Wait()
			for role, want := range g.Creds {
				require.Equal(t, want, m.creds(role), role)
			}
			for _, path := range []string{"config/", "roles/"} {
				for _, name := range m.list(path) {
					require.NotEmpty(t, m.do(logical.ReadOperation, path+name, nil).Data)
				}
			}
			for role := range g.Creds {
				require.NotEmpty(t, m.do(logical.ReadOperation, "history/"+role, nil).Data["passwords"])
				require.NotEmpty(t, m.do(logical.ReadOperation, "status/"+role, nil).Data["reason"])
			}
			require.Zero(t, m.calls.Load(), "nothing should be sent")

			m.do(logical.DeleteOperation, "freeze", nil)
			time.Sleep(2 * time.Minute) // of the bubble
			for role, want := range g.Creds {
				changed := m.creds(role).Version - want.Version
				if role == "modified" { // another one is due too, but its window has passed
					require.Equal(t, 1, changed, "%s should be rotated once", role)
					continue
				}
				require.Zero(t, changed, "%s should not be rotated", role)
			}
		})
	}
}

// The identities of roles that v0.1.0 stored hold no address: another server's account may have the same. Each role keeps its
// account all the same, through updates and writes of its connection, and loses it when it is deleted.
func TestRolesOfEarlierVersionKeepAccounts(t *testing.T) {
	inTheFuture(t, "v0.1.0", func(t *testing.T) {
		m := openGolden(t, goldens(t)["v0.1.0"])
		synctest.Wait()
		try := func(path string, data map[string]any) string {
			resp, err := m.backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.CreateOperation, Path: path, Data: data, Storage: m.storage})
			if err != nil {
				return err.Error()
			}
			if resp.IsError() {
				return resp.Error().Error()
			}
			return ""
		}
		const taken = "another role of this mount already manages the target"
		shared := map[string]any{"allowed_roles": "*", "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "access_key": "A", "secret_key": "S"}
		for name, connection := range map[string]string{"modified": "cloud", "waiting": "metal"} {
			stored := m.do(logical.ReadOperation, "roles/"+name, nil).Data
			role := map[string]any{"skip_initial_rotation": true, "password": "What-Is.There-1"}
			for _, field := range []string{"instance_id", "account_id", "username", "instance_ids"} {
				if stored[field] != nil {
					role[field] = stored[field]
				}
			}
			at := func(connection string) map[string]any {
				role := maps.Clone(role)
				role["connection"] = connection
				return role
			}
			config := m.do(logical.ReadOperation, "config/"+connection, nil).Data
			for other, url := range map[string]any{"same": config["url"], "elsewhere": "https://elsewhere.example"} {
				data := maps.Clone(shared)
				data["provider"], data["url"] = config["provider"], url
				require.Empty(t, try("config/"+connection+"-"+other, data))
			}
			same, elsewhere := at(connection+"-same"), at(connection+"-elsewhere")
			require.Contains(t, try("roles/second-"+name, same), taken)
			require.Empty(t, try("roles/theirs", elsewhere))
			require.Contains(t, try("roles/second-"+name, same), taken)
			m.do(logical.DeleteOperation, "roles/theirs", nil)
			require.Contains(t, try("roles/second-"+name, same), taken)

			m.do(logical.UpdateOperation, "config/"+connection, map[string]any{"request_timeout": 7})
			m.do(logical.UpdateOperation, "roles/"+name, map[string]any{"max_read_ttl": 77}) // it has its address now
			require.Contains(t, try("roles/second-"+name, same), taken)
			m.do(logical.UpdateOperation, "config/"+connection, map[string]any{"request_timeout": 8})

			m.do(logical.DeleteOperation, "roles/"+name, map[string]any{"force": true})
			require.Empty(t, try("roles/second-"+name, same))
			require.Contains(t, try("roles/"+name, at(connection)), taken)
		}
	})
}

// An entry that a newer version wrote is rejected, and no request changes it: a downgrade destroys nothing.
func TestEntryOfNewerVersionIsKept(t *testing.T) {
	for version, g := range goldens(t) {
		kinds := map[string]bool{}
		for _, key := range slices.Sorted(maps.Keys(g.Storage)) {
			kind, _, _ := strings.Cut(key, "/")
			kinds[kind] = true
			inTheFuture(t, version+" "+key, func(t *testing.T) {
				changed := golden{Storage: maps.Clone(g.Storage)}
				changed.Storage[key] = ofNewerVersion(t, g.Storage[key])
				m := openGolden(t, changed)
				synctest.Wait()
				require.Contains(t, m.everything(g.Gone), "newer version", "an operator should be told")
				entry, err := m.storage.Get(t.Context(), key)
				require.NoError(t, err)
				require.NotNil(t, entry, "the entry should still exist")
				require.JSONEq(t, string(changed.Storage[key]), string(entry.Value))
			})
		}
		require.Len(t, kinds, 9, "connections, roles, pauses, targets, guards, first reads, the settings, the freeze and the heartbeat: %v", kinds)
	}
}

// inTheFuture runs a test in a synctest bubble, years after the storage was written.
func inTheFuture(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)))
			test(t)
		})
	})
}

// ofNewerVersion returns an entry with a future schema and an unknown field.
func ofNewerVersion(t *testing.T, entry json.RawMessage) json.RawMessage {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(entry, &fields))
	require.Contains(t, fields, "schema", "every entry has a schema")
	fields["schema"], fields["to_come"] = 4711, "unknown here"
	out, err := json.Marshal(fields)
	require.NoError(t, err)
	return out
}

// opened is a mount with the storage of an earlier version. Calls to its remote systems are counted, and succeed.
type opened struct {
	*mounted
	calls *atomic.Int32
}

func openGolden(t *testing.T, g golden) *opened {
	t.Helper()
	storage := &logical.InmemStorage{}
	for key, value := range g.Storage {
		require.NoError(t, storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: value}))
	}
	calls := &atomic.Int32{}
	var types []provider.Type
	for _, kind := range registry.All() {
		types = append(types, absent{kind, calls})
	}
	view := &logical.StaticSystemView{}
	b := newBackend("v0.0.1", types)
	require.NoError(t, b.Setup(t.Context(), &logical.BackendConfig{Logger: hclog.NewNullLogger(), System: view, StorageView: storage}))
	b.engine = rotation.New(rotation.Config{Types: types, Policies: view, Logger: hclog.NewNullLogger(), Login: unreachable})
	require.NoError(t, b.Initialize(t.Context(), &logical.InitializationRequest{Storage: storage}))
	t.Cleanup(func() { b.Cleanup(context.Background()) })
	return &opened{&mounted{T: t, backend: b, storage: storage, view: view}, calls}
}

// unreachable is a login at an address where nothing answers.
func unreachable(context.Context, verify.Login) provider.Proof {
	return provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "nothing answers"}
}

// absent is a provider whose remote systems only count calls.
type absent struct {
	provider.Type
	calls *atomic.Int32
}

func (a absent) Open(provider.Connection) (provider.Client, error) { return a, nil }

func (a absent) Check(context.Context) provider.Result { return a.called() }

func (a absent) CheckTarget(context.Context, provider.Target) provider.Result { return a.called() }

func (a absent) Change(context.Context, provider.Change) provider.Result { return a.called() }

func (a absent) called() provider.Result {
	a.calls.Add(1)
	return provider.Result{Outcome: provider.Applied}
}

// creds reads the credentials of a role.
func (m *mounted) creds(role string) goldenCreds {
	m.Helper()
	encoded, err := json.Marshal(m.do(logical.ReadOperation, "creds/"+role, nil).Data)
	require.NoError(m, err)
	var out goldenCreds
	require.NoError(m, json.Unmarshal(encoded, &out))
	return out
}

func (m *mounted) list(path string) []string {
	m.Helper()
	names, _ := m.do(logical.ListOperation, path, nil).Data["keys"].([]string)
	return names
}

// everything makes every kind of request, destructive ones last, and returns the errors.
func (m *mounted) everything(gone map[string]any) string {
	m.Helper()
	var errs []string
	ask := func(operation logical.Operation, path string, data map[string]any) {
		resp, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: operation, Path: path, Data: data, Storage: m.storage})
		switch {
		case err != nil:
			errs = append(errs, err.Error())
		case resp != nil && resp.IsError():
			errs = append(errs, resp.Error().Error())
		}
	}
	roles, connections := m.list("roles/"), m.list("config/")
	for _, role := range roles {
		ask(logical.ReadOperation, "creds/"+role, nil)
		ask(logical.UpdateOperation, "roles/"+role, map[string]any{"max_read_ttl": 77})
		ask(logical.UpdateOperation, "rotate-role/"+role, nil)
		ask(logical.UpdateOperation, "confirm-role/"+role, map[string]any{"password": "what-an-Operator-Stated.1"})
	}
	ask(logical.CreateOperation, "roles/again", gone)
	ask(logical.ReadOperation, "freeze", nil)
	ask(logical.UpdateOperation, "freeze", map[string]any{"duration": "1h", "reason": "to see"})
	ask(logical.DeleteOperation, "freeze", nil)
	ask(logical.UpdateOperation, "settings", map[string]any{"catch_up_limit": "30h"})
	for _, name := range connections {
		ask(logical.UpdateOperation, "config/"+name, map[string]any{"max_in_flight": 3, "verify_connection": true})
	}
	for _, role := range roles {
		ask(logical.DeleteOperation, "roles/"+role, map[string]any{"force": true})
	}
	for _, name := range connections {
		ask(logical.DeleteOperation, "config/"+name, nil)
	}
	return strings.Join(errs, "\n")
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "storage", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string]golden{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var g golden
		require.NoError(t, json.Unmarshal(text, &g))
		require.NotEmpty(t, g.Creds)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = g
	}
	return all
}

package backend

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// subscriber records the events that a mount sends.
type subscriber struct {
	mu   sync.Mutex
	seen []event
}

// event has the fields by which subscribers select.
type event struct{ kind, path, dataPath, name string }

func (s *subscriber) SendEvent(_ context.Context, kind logical.EventType, sent *logical.EventData) error {
	text := func(key string) string { return sent.GetMetadata().GetFields()[key].GetStringValue() }
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, event{
		kind: strings.TrimPrefix(string(kind), operationPrefix+"/"), path: text(logical.EventMetadataPath),
		dataPath: text(logical.EventMetadataDataPath), name: text("name"),
	})
	return nil
}

// taken returns the events since the last call.
func (s *subscriber) taken() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// subscribed mounts a backend whose events are recorded.
func subscribed(t *testing.T) (*mounted, *subscriber) {
	t.Helper()
	sim, err := simulator.Start(context.Background(), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	s, storage, view := &subscriber{}, &logical.InmemStorage{}, &logical.StaticSystemView{}
	made, err := Factory("v0.0.1")(t.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(), System: view, StorageView: storage, EventsSender: s,
	})
	require.NoError(t, err)
	b, ok := made.(*Backend)
	require.True(t, ok)
	require.NoError(t, b.Initialize(t.Context(), &logical.InitializationRequest{Storage: storage}))
	t.Cleanup(func() { b.Cleanup(context.Background()) })
	return &mounted{T: t, backend: b, storage: storage, view: view, sim: sim}, s
}

// Each operation sends its event once, and no other events.
func TestEventsAreSentOnce(t *testing.T) {
	m, s := subscribed(t)
	ask := func(operation logical.Operation, path string, data map[string]any) *logical.Response {
		resp, err := m.backend.HandleRequest(t.Context(), &logical.Request{Operation: operation, Path: path, Data: data, Storage: m.storage})
		require.NoError(t, err)
		return resp
	}
	written := event{"config-write", "config/panel", "config/panel", "panel"}
	rotated := event{"rotate", "creds/web1", "creds/web1", "web1"}
	steps := []struct {
		name string
		do   func()
		want []event
	}{
		{"a missing connection is read", func() { require.Nil(t, ask(logical.ReadOperation, "config/panel", nil)) }, nil},
		{"a connection is created", m.connect, []event{written}},
		{"it is changed", func() { m.do(logical.UpdateOperation, "config/panel", map[string]any{"max_in_flight": 2}) }, []event{written}},
		{"a change of it is refused", func() {
			require.True(t, ask(logical.UpdateOperation, "config/panel", map[string]any{"max_in_flight": 0}).IsError())
		}, nil},
		{"connections are read", func() {
			m.do(logical.ReadOperation, "config/panel", nil)
			m.do(logical.ListOperation, "config/", nil)
		}, nil},
		{"a role is created, with its first password", func() {
			m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
		}, []event{rotated, {"role-create", "roles/web1", "roles/web1", "web1"}}},
		{"it is changed", func() { m.do(logical.UpdateOperation, "roles/web1", map[string]any{"max_read_ttl": 60}) },
			[]event{{"role-update", "roles/web1", "roles/web1", "web1"}}},
		{"it is rotated", func() { m.do(logical.UpdateOperation, "rotate-role/web1", nil) }, []event{rotated}},
		{"its rotation fails", func() {
			require.NoError(t, m.sim.SetFault(lab.Fault{System: "plesk", Target: "ops1", Kind: lab.RejectTarget, Count: 1}))
			require.True(t, ask(logical.UpdateOperation, "rotate-role/web1", nil).IsError())
		}, []event{{"rotate-fail", "creds/web1", "", "web1"}}},
		{"roles are read", func() {
			m.do(logical.ReadOperation, "creds/web1", nil)
			m.do(logical.ReadOperation, "status/web1", nil)
			m.do(logical.ReadOperation, "roles/web1", nil)
			require.Nil(t, ask(logical.ReadOperation, "roles/none", nil))
		}, nil},
		{"a connection in use cannot be deleted", func() { require.True(t, ask(logical.DeleteOperation, "config/panel", nil).IsError()) }, nil},
		{"the role is deleted", func() { m.do(logical.DeleteOperation, "roles/web1", nil) }, []event{{"role-delete", "roles/web1", "roles/web1", "web1"}}},
		{"the connection is deleted", func() { m.do(logical.DeleteOperation, "config/panel", nil) },
			[]event{{"config-delete", "config/panel", "config/panel", "panel"}}},
	}
	for _, step := range steps {
		step.do()
		require.Equal(t, step.want, s.taken(), step.name)
	}
}

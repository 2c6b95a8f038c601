package backend

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/canary"
)

// faulty is a storage that panics with a secret.
type faulty struct{ logical.Storage }

const panicked = "Test-Passw0rd-In-A-Panic.1"

func (faulty) Get(context.Context, string) (*logical.StorageEntry, error) { panic(panicked) }
func (faulty) List(context.Context, string) ([]string, error)             { panic(panicked) }

func TestPanicIsRecoveredAndNotShown(t *testing.T) {
	var log bytes.Buffer
	made, err := Factory("v0.0.1")(t.Context(), &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}), System: &logical.StaticSystemView{}, StorageView: faulty{},
	})
	require.NoError(t, err)
	t.Cleanup(func() { made.Cleanup(context.Background()) })

	for path, operation := range map[string]logical.Operation{
		"config/": logical.ListOperation, "config/x": logical.ReadOperation, "roles/": logical.ListOperation,
		"roles/x": logical.ReadOperation, "creds/x": logical.ReadOperation, "status/x": logical.ReadOperation,
		"history/x": logical.ReadOperation, "settings": logical.ReadOperation, "confirm-role/x": logical.UpdateOperation,
	} {
		log.Reset()
		req := &logical.Request{Operation: operation, Path: path, Storage: faulty{}, Data: map[string]any{}}
		if operation == logical.UpdateOperation {
			req.Data["version"] = 1
		}
		requireFault(t, &log, func() error {
			_, err := made.HandleRequest(t.Context(), req)
			return err
		})
	}
	for _, path := range []string{"config/x", "roles/x"} {
		log.Reset()
		requireFault(t, &log, func() error {
			_, _, err := made.HandleExistenceCheck(t.Context(), &logical.Request{Operation: logical.UpdateOperation, Path: path, Storage: faulty{}})
			return err
		})
	}
}

func requireFault(t *testing.T, log *bytes.Buffer, request func() error) {
	t.Helper()
	err := request()
	var coded logical.HTTPCodedError
	require.ErrorAs(t, err, &coded)
	require.Equal(t, http.StatusInternalServerError, coded.Code())
	require.Contains(t, coded.Error(), "status/:name", "the error should say what to do")
	require.Contains(t, log.String(), "recovered from a panic")
	require.Contains(t, log.String(), "panic_test.go", "the log should have the stack")
	var secrets canary.Set
	secrets.Add("the value of the panic", panicked)
	require.Empty(t, secrets.Find(append(log.Bytes(), err.Error()...)))
}

// A lock that a panic leaves behind would block all later requests.
func TestPanicReleasesLocks(t *testing.T) {
	m := mount(t)
	working := m.storage
	for range 2 {
		for _, storage := range []logical.Storage{faulty{}, working} {
			for _, request := range []*logical.Request{
				{Operation: logical.CreateOperation, Path: "config/x", Data: map[string]any{"provider": "plesk", "url": "https://127.0.0.1:1", "secret_key": "Test-Key-1", "verify_connection": false}},
				{Operation: logical.UpdateOperation, Path: "rotate-role/x", Data: map[string]any{}},
				{Operation: logical.UpdateOperation, Path: "confirm-role/x", Data: map[string]any{"version": 1}},
				{Operation: logical.DeleteOperation, Path: "roles/x", Data: map[string]any{}},
				{Operation: logical.DeleteOperation, Path: "config/x", Data: map[string]any{}},
			} {
				request.Storage = storage
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, _ = m.backend.HandleRequest(t.Context(), request) // the test above asserts the error
				}()
				select {
				case <-ended:
				case <-time.After(30 * time.Second):
					t.Fatalf("%s %s waits for a lock that a panic left behind", request.Operation, request.Path)
				}
			}
		}
	}
}

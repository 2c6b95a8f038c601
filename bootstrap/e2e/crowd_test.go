package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// readAll reads a role many times at once, and returns the errors as they come.
func (m *mount) readAll(client *api.Client, name string, n int) <-chan error {
	errs := make(chan error, n)
	var started sync.WaitGroup
	for range n {
		started.Add(1)
		go func() {
			started.Done()
			_, err := client.Logical().Read(m.path + "/creds/" + name)
			errs <- err
		}()
	}
	started.Wait()
	return errs
}

// hold creates a role without a password, the first read of which does not end until release is called.
func (m *mount) hold(name string, role data) (release func()) {
	m.t.Helper()
	m.must("roles/"+name, with(role, data{"skip_initial_rotation": true}))
	m.fault(role, lab.Fault{Kind: lab.Hold})
	return sync.OnceFunc(m.clearFaults)
}

// Whoever may read one password only, and reads it many times while its remote system does not answer, waits for it with few
// requests. The others are refused at once, the role can still be rotated by whoever may, and other roles are not affected.
func TestCrowdOfReadersIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("config/panel", data{"request_timeout": 30})
	m.must("roles/victim", alias("ops2"))
	reader := m.as(`path "MOUNT/creds/team-b-1" { capabilities = ["read"] }`).client()
	release := m.hold("team-b-1", alias("ops1"))
	defer release()
	const readers, places = 400, 60
	began := time.Now()
	errs := m.readAll(reader, "team-b-1", readers)
	for range readers - places {
		err := <-errs
		require.Equal(t, http.StatusServiceUnavailable, statusCode(err), "%v", err)
		require.Contains(t, message(err), `too many requests are waiting for role "team-b-1" already (limit: 64)`)
	}
	require.Less(t, time.Since(began), 20*time.Second, "they do not wait")
	_, err := reader.Logical().Read(m.path + "/creds/victim")
	require.Equal(t, http.StatusForbidden, statusCode(err))
	rotated := m.writeAsync(t.Context(), "rotate-role/team-b-1", nil)
	m.must("rotate-role/victim", nil)
	m.workingCreds("victim", alias("ops2"))
	require.Empty(t, errs, "the others wait")
	release()
	for range places {
		require.NoError(t, <-errs)
	}
	require.NoError(t, <-rotated)
	m.workingCreds("team-b-1", alias("ops1"))
}

// Whoever may write roles of one connection only cannot create more than the settings allow, however many names he invents,
// and his roles keep only his own connection.
func TestRolesOfOneTeamAreLimited(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("config/team-b", m.panel())
	m.must("roles/victim", alias("ops1"))
	_, err := m.client().Logical().Write(m.path+"/settings", data{"max_roles_per_connection": 5})
	require.NoError(t, err)
	writer := m.as(`path "MOUNT/roles/team-b-*" { capabilities = ["create", "update", "delete"] }`).client()
	create := func(i int) error {
		name := fmt.Sprintf("team-b-%d", i)
		_, err := writer.Logical().Write(m.path+"/roles/"+name, data{"connection": "team-b", "login": name, "skip_initial_rotation": true})
		return err
	}
	errs := make(chan error, 20)
	for i := range cap(errs) {
		go func() { errs <- create(i) }()
	}
	created := 0
	for range cap(errs) {
		err := <-errs
		if err == nil {
			created++
			continue
		}
		require.Equal(t, http.StatusBadRequest, statusCode(err), "%v", err)
		require.Contains(t, message(err), "max_roles_per_connection is 5")
	}
	require.Equal(t, 5, created)
	_, err = writer.Logical().Write(m.path+"/settings", data{"max_roles_per_connection": 0})
	require.Equal(t, http.StatusForbidden, statusCode(err))
	m.must("roles/another", alias("ops2"))
	m.must("config/panel", data{"max_in_flight": 3})
	err = m.delete("config/team-b")
	require.Equal(t, http.StatusBadRequest, statusCode(err), "%v", err)
	require.Contains(t, message(err), "5 roles use it")
	m.workingCreds("victim", alias("ops1"))
}

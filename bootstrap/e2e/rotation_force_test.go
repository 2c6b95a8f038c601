package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// An operator who has ended a throttle does not have to wait for the time that it asked for.
func TestForcedRotationDoesNotWait(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	m.must("roles/web1", role)
	m.fault(role, lab.Fault{Kind: lab.Throttle, RetryAfter: 1800})
	_, err := m.write("rotate-role/web1", nil)
	require.Equal(t, 503, statusCode(err), message(err))
	m.clearFaults()
	calls := m.calls(role)
	_, err = m.write("rotate-role/web1", nil)
	require.Equal(t, 503, statusCode(err), message(err))
	require.Equal(t, calls, m.calls(role), "without force, no call is made")
	m.waitFor("web1", "the forced rotation is made", func() bool { // soon after the failure it would be a repeated request
		_, err := m.write("rotate-role/web1", data{"force": true, "version": 1})
		return err == nil
	})
	require.EqualValues(t, 2, versionOf(t, m.workingCreds("web1", role)))
	require.Equal(t, calls+1, m.calls(role))
}

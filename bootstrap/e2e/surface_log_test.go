package e2e

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server may write before it gets a request. Go's HTTP client logs that if it comes at a bad moment, which happens in one
// of about twenty connections. The search for secrets at the end of the run finds out whether it is in a record.
func TestUnsolicitedServerDataIsNotLogged(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	const unsolicited = "Test-Unasked-Passw0rd.1"
	secrets.Add("unsolicited data of a server", unsolicited)
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { require.NoError(t, listener.Close()); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("the password is " + unsolicited + "\r\n\r\n")) // the client may be gone
			_ = conn.Close()
		}
	}()
	for range 200 {
		_, err := m.write("config/hostile", data{
			"provider": "mediatemple", "url": "http://" + listener.Addr().String(), "insecure_tls": true, "api_key": "Test-Key-4711",
		})
		require.Equal(t, 502, statusCode(err), message(err))
	}
}

// What the plugin writes to stderr, a panic above all, gets into Vault's log, which is searched for secrets. Not parallel: it
// ends the plugin of the package's Vault.
func TestPluginStderrReachesVaultLog(t *testing.T) {
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	m.workingCreds("web1", alias("ops1"))
	require.NoError(t, vault.SignalPlugin(syscall.SIGQUIT), "Go's runtime writes all stacks and exits")
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(vault.LogFile())
		return err == nil && strings.Contains(string(log), "SIGQUIT: quit") && strings.Contains(string(log), "backend/queue.(*Queue")
	}, waitLong, tick)
	m.waitUntilServed("creds/web1")
	m.workingCreds("web1", alias("ops1"))
}

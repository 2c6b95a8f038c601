package transport

import (
	"context"
	"crypto/x509"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestDialChecksAddressThatIsDialed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	endpoint := Endpoint{Field: LoginField}

	conn, err := Dial(provider.WithHosts(t.Context(), provider.Hosts{"127.0.0.0/8"}), endpoint, address)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	for _, dial := range []func(context.Context, Endpoint, string) (net.Conn, error){Dial, DialTLS} {
		_, err = dial(provider.WithHosts(t.Context(), provider.Hosts{"192.0.2.0/24"}), endpoint, address)
		require.Equal(t, provider.Unreachable, Failure(err).Outcome)
		require.True(t, Failure(err).Misconfigured)
		require.EqualError(t, err, "allowed_hosts in the mount's settings does not allow the host in verify_address; nothing was sent")
		_, err = dial(t.Context(), endpoint, "169.254.169.254:22")
		require.ErrorContains(t, err, "metadata service of a cloud, which a connection may not use; correct verify_address; nothing was sent")
		_, err = dial(t.Context(), endpoint, "no port")
		require.Equal(t, provider.Unreachable, Failure(err).Outcome)
	}
}

// The fields of a login are the role's, which has none for another name in the certificate.
func TestConnectReasonsNameFieldsOfLogin(t *testing.T) {
	endpoint := Endpoint{Field: LoginField}
	for reason, err := range map[string]error{
		"not trusted; verify_ca_cert must contain":                  x509.UnknownAuthorityError{},
		"for another name; correct verify_address":                  x509.HostnameError{},
		"no such host; check the host in verify_address":            &net.DNSError{IsNotFound: true},
		"the name server did not respond in time; check":            &net.DNSError{IsTimeout: true},
		"timed out; check verify_address":                           context.DeadlineExceeded,
		"the host name could not be resolved; check that the Vault": &net.DNSError{},
	} {
		text := endpoint.connectReason(err)
		require.Contains(t, text, reason)
		require.NotContains(t, text, "server_name")
	}
}

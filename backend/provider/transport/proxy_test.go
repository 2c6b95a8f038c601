package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// proxied returns a client that uses a proxy. roots are the authorities of proxies.
func proxied(t *testing.T, settings provider.TLS, proxy string, roots ...string) *Client {
	t.Helper()
	via := loopback(t)
	address, err := url.Parse(proxy)
	require.NoError(t, err)
	via.proxy = func(*http.Request) (*url.URL, error) { return address, nil }
	via.roots = x509.NewCertPool()
	for _, one := range roots {
		require.True(t, one == "" || via.roots.AppendCertsFromPEM([]byte(one)))
	}
	c, err := newClient(urlWith(settings), via)
	require.NoError(t, err)
	return c
}

// hello serves a remote system with TLS.
func hello(t *testing.T, served *atomic.Int32) *httptest.Server {
	t.Helper()
	s := quiet(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, "hello")
	})
	s.StartTLS()
	return s
}

func TestFailingProxyIsNamedWithoutItsPassword(t *testing.T) {
	var served atomic.Int32
	remote := hello(t, &served)
	const login = "operator:" + canary
	answers := func(status int) string { return providertest.NewProxy(t, "", false).Answer(status).URL(login) }
	secure, locked := providertest.NewProxy(t, "", true), providertest.NewProxy(t, "operator:right", false)
	bare := func(serve func(net.Conn)) string { return login + "@" + strings.TrimPrefix(raw(t, serve), "http://") }
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	for name, test := range map[string]struct{ proxy, want string }{
		"no login":                {locked.URL(""), "requires a user and a password (407); add them to HTTPS_PROXY"},
		"wrong login":             {locked.URL(login), "refused the user or the password in HTTPS_PROXY (407)"},
		"not allowed":             {answers(403), "does not allow connections to the remote system (403); allow the host and port in url there, or add the host to NO_PROXY"},
		"bad gateway":             {answers(502), "could not connect to the remote system (502); check the host and port in url"},
		"another answer":          {answers(400), "answered 400"},
		"connection refused":      {"http://" + login + "@" + closed.Addr().String(), "could not be reached, because the connection was refused"},
		"certificate not trusted": {secure.URL(login), "is not trusted; add its issuer to the certificates of the Vault server's system (SSL_CERT_FILE)"},
		"https:// without TLS":    {strings.Replace(locked.URL(login), "http:", "https:", 1), "does not speak TLS on this port; begin HTTPS_PROXY with http://"},
		"http:// with TLS":        {strings.Replace(secure.URL(login), "https:", "http:", 1), "closed the connection; check the proxy, and whether HTTPS_PROXY must begin with https://"},
		"closed":                  {"http://" + bare(func(net.Conn) {}), "closed the connection"},
		"closed in the handshake": {"https://" + bare(func(net.Conn) {}), "closed the connection"},
		"silent":                  {"http://" + bare(func(net.Conn) { <-t.Context().Done() }), "did not respond in time"},
		"silent in the handshake": {"https://" + bare(func(net.Conn) { <-t.Context().Done() }), "did not respond in time"},
		"no name server":          {"http://" + login + "@proxy.example", "could not be reached, because its host name could not be resolved"},
		"link-local":              {"https://" + login + "@169.254.169.254", "is not used: the address 169.254.169.254 is link-local"},
		"SOCKS":                   {"socks5://" + bare(func(net.Conn) {}), "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if strings.HasPrefix(name, "silent") {
				deadline, stop := context.WithTimeout(ctx, 50*time.Millisecond)
				defer stop()
				ctx = deadline
			}
			address, err := url.Parse(test.proxy)
			require.NoError(t, err)
			_, err = send(ctx, proxied(t, provider.TLS{CACert: pemOf(remote)}, test.proxy), remote.URL)
			require.ErrorContains(t, err, "the proxy "+hostPort(address)+" (HTTPS_PROXY)")
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "; nothing was sent")
			require.Equal(t, provider.Unreachable, Failure(err).Outcome)
			require.Equal(t, provider.ScopeConnection, Failure(err).Scope)
			require.False(t, Failure(err).Misconfigured)
			require.NotContains(t, err.Error(), "operator")
			require.NotContains(t, err.Error(), providertest.Canary)
		})
	}
	require.Zero(t, served.Load())
}

func TestProxyAddressThatCannotBeParsedIsNotQuoted(t *testing.T) {
	via := loopback(t)
	via.proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("http://user:" + canary + "@[") }
	c, err := newClient(urlWith(provider.TLS{}), via)
	require.NoError(t, err)
	_, err = send(t.Context(), c, "https://remote.example")
	require.ErrorContains(t, err, "the address of the proxy in HTTPS_PROXY cannot be parsed")
	require.ErrorContains(t, err, "; nothing was sent")
	require.NotContains(t, err.Error(), canary)
}

// The connection's TLS settings are for the remote system. A proxy is verified with the system's authorities.
func TestProxyIsVerifiedWithoutSettingsOfConnection(t *testing.T) {
	var served atomic.Int32
	remote := hello(t, &served)
	host := strings.TrimPrefix(remote.URL, "https://")
	for _, withTLS := range []bool{false, true} {
		proxy := providertest.NewProxy(t, "user:p@ss", withTLS).Route("remote.example:8443", host)
		for name, settings := range map[string]provider.TLS{
			"authority":   {CACert: pemOf(remote), ServerName: "example.com"},
			"unverified":  {Insecure: true},
			"other roots": {CACert: pemOf(remote) + proxy.CA, ServerName: "example.com"},
		} {
			served.Store(0)
			response, err := send(t.Context(), proxied(t, settings, proxy.URL("user:p%40ss"), proxy.CA), "https://remote.example:8443")
			require.NoError(t, err, name)
			require.Equal(t, "hello", string(response.Body))
			require.Equal(t, int32(1), served.Load())
			if withTLS {
				_, err = send(t.Context(), proxied(t, settings, proxy.URL("user:p%40ss")), "https://remote.example:8443")
				require.ErrorContains(t, err, "the certificate of the proxy "+proxy.Address()+" (HTTPS_PROXY) is not trusted", name)
				require.Equal(t, int32(1), served.Load())
			}
		}
	}
}

// Behind a proxy that works, the remote system and its fields are named, and the way to it.
func TestRemoteSystemBehindProxyIsNamed(t *testing.T) {
	var served atomic.Int32
	remote := hello(t, &served)
	host := strings.TrimPrefix(remote.URL, "https://")
	hangup := strings.TrimPrefix(raw(t, func(net.Conn) {}), "http://")
	proxy := providertest.NewProxy(t, "", false).Route("example.com:443", host).Route("remote.example:443", host).Route("closed.example:443", hangup)
	for name, test := range map[string]struct {
		address, want string
		tls           provider.TLS
	}{
		"certificate not trusted": {"https://example.com", "the certificate of the remote system is not trusted; ca_cert must contain", provider.TLS{}},
		"certificate of another":  {"https://remote.example", "correct url, or set tls_server_name", provider.TLS{CACert: pemOf(remote)}},
		"closed":                  {"https://closed.example", "the connection was closed before the request; check the port in url", provider.TLS{}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := send(t.Context(), proxied(t, test.tls, proxy.URL("")), test.address)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "; the connection goes through the proxy "+proxy.Address()+" (HTTPS_PROXY); nothing was sent")
			require.Equal(t, provider.Unreachable, Failure(err).Outcome)
		})
	}
	require.Zero(t, served.Load())
}

func TestSOCKSProxyIsBlamedForItsOwnErrors(t *testing.T) {
	way := &route{proxy: &url.URL{Scheme: "socks5", Host: "127.0.0.1"}}
	require.Equal(t, "the proxy 127.0.0.1:1080 (HTTPS_PROXY)", way.proxyName())
	for _, op := range []string{"proxyconnect", "socks connect"} {
		require.True(t, way.blames(&url.Error{Err: &net.OpError{Op: op, Err: errors.New(canary)}}), op)
	}
	for _, err := range []error{x509.UnknownAuthorityError{}, tls.RecordHeaderError{}, io.EOF, &net.OpError{Op: "read", Err: io.EOF}} {
		require.False(t, way.blames(err), "%T", err)
	}
}

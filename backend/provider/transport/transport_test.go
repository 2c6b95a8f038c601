package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const canary = "cAnArY-53cr37"

// urlWith returns the endpoint of the field url.
func urlWith(settings provider.TLS) Endpoint { return Endpoint{TLS: settings, Field: "url"} }

// client returns a client that ignores the proxies of the test machine.
func client(t *testing.T, settings provider.TLS) *Client {
	t.Helper()
	c, err := newClient(urlWith(settings), loopback(t))
	require.NoError(t, err)
	return c
}

// loopback returns a network without a proxy and without a name server, which fails the test instead of leaving this machine.
func loopback(t *testing.T) network {
	t.Helper()
	dialer := newDialer()
	check := dialer.ControlContext
	dialer.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		err := check(ctx, network, address, c)
		if to, parseErr := netip.ParseAddrPort(address); err == nil && (parseErr != nil || !to.Addr().IsLoopback()) {
			t.Errorf("%s would have been dialed", address)
			return errors.New("not dialed")
		}
		return err
	}
	dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	return network{dialer: dialer, proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
}

// send sends a request that holds a secret in every part.
func send(ctx context.Context, c *Client, address string) (*Response, error) {
	return Do(ctx, c, http.MethodPut, address+"/"+canary+"?q="+canary, []byte(canary), func(req *http.Request) {
		req.Header.Set("X-Auth-Token", canary)
	})
}

func pemOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// quiet returns a server that does not log TLS errors to the test output.
func quiet(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// raw serves each connection with a function, and returns the address.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

func readRequest(conn net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

func requireSecretFree(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.NotContains(t, text, canary)
		require.NotContains(t, text, "://")
	}
}

func TestUnsentRequestIsReportedAsNotSent(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closedAddress := closed.Addr().String()
	require.NoError(t, closed.Close())

	var served atomic.Int32
	count := func(http.ResponseWriter, *http.Request) { served.Add(1) }
	secure := quiet(t, count)
	secure.StartTLS()
	plain := quiet(t, count)
	plain.Start()
	hangup := raw(t, func(net.Conn) {})
	old := quiet(t, count)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	old.StartTLS()

	ended, cancel := context.WithCancel(t.Context())
	cancel()

	for name, test := range map[string]struct {
		ctx    context.Context
		url    string
		tls    provider.TLS
		reason string
		cause  error
	}{
		"connection refused":       {url: "https://" + closedAddress, reason: "the connection was refused"},
		"no such host":             {url: "https://no..such", reason: "no such host"},
		"no name server":           {url: "https://host.invalid", reason: "the host name could not be resolved"},
		"certificate not trusted":  {url: secure.URL, reason: "ca_cert must contain"},
		"certificate of another":   {url: secure.URL, tls: provider.TLS{CACert: pemOf(secure), ServerName: "other.example"}, reason: "set tls_server_name"},
		"no TLS on this port":      {url: strings.Replace(plain.URL, "http:", "https:", 1), reason: "does not speak TLS"},
		"no TLS version in common": {url: old.URL, reason: "aborted the TLS handshake; check that it supports TLS 1.2"},
		"closed in the handshake":  {url: strings.Replace(hangup, "http:", "https:", 1), reason: "closed before the request"},
		"context already canceled": {ctx: ended, url: plain.URL, reason: "canceled", cause: context.Canceled},
		"cloud metadata":           {url: "http://169.254.169.254", reason: "the address 169.254.169.254 is link-local"},
		"link-local of IPv6":       {url: "http://[fe80::1]", reason: "link-local"},
		"mapped link-local":        {url: "http://[::ffff:169.254.169.254]", reason: "link-local"},
		"unspecified":              {url: "http://0.0.0.0:1", reason: "unspecified"},
		"multicast":                {url: "http://224.0.0.1", reason: "multicast"},
		"unknown scheme":           {url: "gopher://127.0.0.1", reason: "no connection could be made"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := send(ctx, client(t, test.tls), test.url)
			require.ErrorContains(t, err, test.reason)
			require.ErrorContains(t, err, "nothing was sent")
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
			result := Failure(err)
			require.Equal(t, provider.Unreachable, result.Outcome)
			require.Equal(t, provider.ScopeConnection, result.Scope)
			requireSecretFree(t, err.Error(), result.Reason)
		})
	}
	require.Zero(t, served.Load(), "a request reported as not sent has arrived")
}

func TestPossiblySentRequestIsUnknown(t *testing.T) {
	timeout, cancel := context.WithCancel(t.Context())
	defer cancel()

	for name, test := range map[string]struct {
		ctx    context.Context
		serve  func(net.Conn)
		reason string
		cause  error
	}{
		"closed after reading":     {serve: readRequest, reason: "the connection broke"},
		"closed before reading":    {serve: func(net.Conn) {}, reason: "the connection broke"},
		"cut in the body":          {serve: respond("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), reason: "the connection broke"},
		"cut in the chunks":        {serve: respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf"), reason: "the connection broke"},
		"no HTTP":                  {serve: respond(canary + "\r\n\r\n"), reason: "the connection broke"},
		"body too large":           {serve: respond(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", bodyLimit+1, long)), reason: "longer"},
		"headers too large":        {serve: respond("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headerLimit+1<<10) + "\r\n\r\n"), reason: "the connection broke"},
		"switching protocols":      {serve: respond("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), reason: "does not match the request"},
		"redirect to invalid URL":  {serve: respond("HTTP/1.1 302 Found\r\nLocation: http://[" + canary + "\r\nContent-Length: 0\r\n\r\n"), reason: "the connection broke"},
		"canceled while waiting":   {ctx: timeout, serve: func(c net.Conn) { readRequest(c); cancel(); _, _ = c.Read(make([]byte, 1)) }, reason: "canceled", cause: context.Canceled},
		"timeout in the body":      {serve: nil, reason: "in time", cause: context.DeadlineExceeded},
		"response before the body": {serve: respondAtOnce("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha"), reason: "the connection broke"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if test.serve == nil {
				deadline, stop := context.WithTimeout(ctx, 50*time.Millisecond)
				defer stop()
				ctx = deadline
				test.serve = func(c net.Conn) {
					readRequest(c)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
					_, _ = c.Read(make([]byte, 1)) // until the client hangs up
				}
			}
			_, err := send(ctx, client(t, provider.TLS{}), raw(t, test.serve))
			require.ErrorContains(t, err, test.reason)
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
			require.Equal(t, provider.Unknown, Failure(err).Outcome)
			requireSecretFree(t, err.Error(), Failure(err).Reason)
		})
	}
}

func TestEndlessResponseIsReadUpToLimit(t *testing.T) {
	address := raw(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+fmt.Sprintf("%x\r\n%s\r\n", len(long), long))
		_, _ = c.Read(make([]byte, 1)) // until the client hangs up
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := send(ctx, client(t, provider.TLS{}), address)
	require.ErrorContains(t, err, "longer")
}

// long is a body that is too long by one byte.
var long = strings.Repeat("0", bodyLimit+1)

func respond(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	}
}

func respondAtOnce(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

func TestUnexpectedErrorIsUnknown(t *testing.T) {
	require.Equal(t, provider.Unknown, Failure(errors.New("x")).Outcome)
}

func TestRequestsArriveOnceWithLengthAndUserAgent(t *testing.T) {
	var requests atomic.Int32
	s := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		assert.Equal(t, int64(len(canary)), r.ContentLength)
		assert.Equal(t, UserAgent, r.UserAgent())
		assert.Equal(t, 1, r.ProtoMajor)
		assert.True(t, r.Close, "the connection must not be reused")
		assert.Empty(t, r.Header.Get("Accept-Encoding"))
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "body")
	})
	s.EnableHTTP2 = true
	s.StartTLS()
	c := client(t, provider.TLS{CACert: pemOf(s)})
	for range 2 {
		response, err := send(t.Context(), c, s.URL)
		require.NoError(t, err)
		require.Equal(t, http.StatusTeapot, response.Status)
		require.Equal(t, "yes", response.Header.Get("X-Answer"))
		require.Equal(t, "body", string(response.Body))
	}
	require.Equal(t, int32(2), requests.Load())
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var stolen atomic.Int32
	thief := quiet(t, func(http.ResponseWriter, *http.Request) { stolen.Add(1) })
	thief.Start()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := quiet(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
		s.Start()
		response, err := send(t.Context(), client(t, provider.TLS{}), s.URL)
		require.NoError(t, err)
		require.Equal(t, status, response.Status)
	}
	require.Zero(t, stolen.Load())
}

func TestTLSSettingsAreApplied(t *testing.T) {
	s := quiet(t, func(http.ResponseWriter, *http.Request) {})
	s.StartTLS()

	for name, settings := range map[string]provider.TLS{
		"its own certificate": {CACert: pemOf(s)},
		"another server name": {CACert: pemOf(s), ServerName: "example.com"},
		"no verification":     {Insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := send(t.Context(), client(t, settings), s.URL)
			require.NoError(t, err)
		})
	}

	for name, bundle := range map[string]string{
		"no PEM":        canary,
		"a private key": "-----BEGIN PRIVATE KEY-----\n" + "AAAA\n" + "-----END PRIVATE KEY-----\n",
		"broken":        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"cert and key":  pemOf(s) + "-----BEGIN PRIVATE KEY-----\n" + "AAAA\n" + "-----END PRIVATE KEY-----\n",
		"white space":   " \n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(urlWith(provider.TLS{CACert: bundle}))
			require.ErrorContains(t, err, "ca_cert")
			requireSecretFree(t, err.Error())
		})
	}
}

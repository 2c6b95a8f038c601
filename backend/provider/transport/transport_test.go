package transport

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestMain(m *testing.M) {
	// Vault's sdk starts this one when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const canary = "cAnArY-53cr37"

// client returns a client that ignores the proxies of the machine that the tests run on.
func client(t *testing.T, settings provider.TLS) *http.Client {
	t.Helper()
	c, err := New(settings)
	require.NoError(t, err)
	c.Transport.(*http.Transport).Proxy = nil
	return c
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, url+"/"+canary+"?q="+canary, strings.NewReader(canary))
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", canary)
	return req
}

func pemOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// quiet is a handler's server that does not write TLS errors to the tests' output.
func quiet(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// raw serves each connection with a function, and returns its address.
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

func TestWhatWasNotSentIsProvedNotToBeSent(t *testing.T) {
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
		"no such host":             {url: "https://host.invalid", reason: "host"},
		"certificate not trusted":  {url: secure.URL, reason: "set ca_cert"},
		"certificate of another":   {url: secure.URL, tls: provider.TLS{CACert: pemOf(secure), ServerName: "other.example"}, reason: "set tls_server_name"},
		"no TLS at this port":      {url: strings.Replace(plain.URL, "http:", "https:", 1), reason: "does not speak TLS"},
		"closed in the handshake":  {url: strings.Replace(hangup, "http:", "https:", 1), reason: "closed before the request"},
		"context ended before":     {ctx: ended, url: plain.URL, reason: "given up", cause: context.Canceled},
		"metadata of the cloud":    {url: "http://169.254.169.254", reason: "link-local"},
		"link-local of IPv6":       {url: "http://[fe80::1]", reason: "link-local"},
		"mapped link-local":        {url: "http://[::ffff:169.254.169.254]", reason: "link-local"},
		"unspecified":              {url: "http://0.0.0.0:1", reason: "unspecified"},
		"multicast":                {url: "http://224.0.0.1", reason: "multicast"},
		"scheme that nobody knows": {url: "gopher://127.0.0.1", reason: "no connection could be made"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := Do(ctx, client(t, test.tls), request(t, test.url), 0)
			var unsent *NotSentError
			require.ErrorAs(t, err, &unsent)
			require.Contains(t, unsent.Reason, test.reason)
			require.Contains(t, unsent.Reason, "nothing was sent")
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
			result := Failure(err)
			require.Equal(t, provider.Unreachable, result.Outcome)
			require.Equal(t, provider.ScopeConnection, result.Scope)
			requireSecretFree(t, err.Error(), result.Reason)
		})
	}
	require.Zero(t, served.Load(), "a request arrived that is said not to be sent")
}

func TestForbiddenAddressIsATypedError(t *testing.T) {
	_, err := Do(t.Context(), client(t, provider.TLS{}), request(t, "http://169.254.169.254"), 0)
	var forbidden *ForbiddenAddressError
	require.ErrorAs(t, err, &forbidden)
	require.Equal(t, netip.MustParseAddr("169.254.169.254"), forbidden.Address)
}

func TestWhatMayHaveBeenSentIsUnknown(t *testing.T) {
	timeout, cancel := context.WithCancel(t.Context())
	defer cancel()

	for name, test := range map[string]struct {
		ctx    context.Context
		serve  func(net.Conn)
		limit  int64
		reason string
		cause  error
	}{
		"closed after reading":     {serve: readRequest, reason: "the connection broke"},
		"closed before reading":    {serve: func(net.Conn) {}, reason: "the connection broke"},
		"cut in the body":          {serve: answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), reason: "the connection broke"},
		"cut in the chunks":        {serve: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf"), reason: "the connection broke"},
		"no HTTP":                  {serve: answer(canary + "\r\n\r\n"), reason: "the connection broke"},
		"too long":                 {serve: answer("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890"), limit: 10, reason: "longer", cause: ErrTooLarge},
		"headers without end":      {serve: answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headerLimit+1<<10) + "\r\n\r\n"), reason: "the connection broke"},
		"switching protocols":      {serve: answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), reason: "not one to this request"},
		"redirect to no address":   {serve: answer("HTTP/1.1 302 Found\r\nLocation: http://[" + canary + "\r\nContent-Length: 0\r\n\r\n"), reason: "the connection broke"},
		"given up while it waits":  {ctx: timeout, serve: func(c net.Conn) { readRequest(c); cancel(); _, _ = c.Read(make([]byte, 1)) }, reason: "given up", cause: context.Canceled},
		"out of time in the body":  {serve: nil, reason: "in time", cause: context.DeadlineExceeded},
		"answered before the body": {serve: answerAtOnce("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha"), reason: "the connection broke"},
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
			_, err := Do(ctx, client(t, provider.TLS{}), request(t, raw(t, test.serve)), test.limit)
			var sent *AnswerError
			require.ErrorAs(t, err, &sent)
			require.Contains(t, sent.Reason, test.reason)
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
			require.Equal(t, provider.Unknown, Failure(err).Outcome)
			requireSecretFree(t, err.Error(), Failure(err).Reason)
		})
	}
}

func TestAnAnswerWithoutEndIsReadUpToTheLimit(t *testing.T) {
	address := raw(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n")
		_, _ = c.Read(make([]byte, 1)) // until the client hangs up
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := Do(ctx, client(t, provider.TLS{}), request(t, address), 10)
	require.ErrorIs(t, err, ErrTooLarge)
}

func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	}
}

func answerAtOnce(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

func TestAFailureOfAnotherKindIsUnknown(t *testing.T) {
	require.Equal(t, provider.Unknown, Failure(errors.New("x")).Outcome)
}

func TestRequestsArriveOnceWithLengthAndName(t *testing.T) {
	var requests atomic.Int32
	s := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		assert.Equal(t, int64(len(canary)), r.ContentLength)
		assert.Equal(t, UserAgent, r.UserAgent())
		assert.Equal(t, 1, r.ProtoMajor)
		assert.True(t, r.Close, "the connection must not be used again")
		assert.Empty(t, r.Header.Get("Accept-Encoding"))
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "body")
	})
	s.EnableHTTP2 = true
	s.StartTLS()
	c := client(t, provider.TLS{CACert: pemOf(s)})
	for range 2 {
		response, err := Do(t.Context(), c, request(t, s.URL), 0)
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
		response, err := Do(t.Context(), client(t, provider.TLS{}), request(t, s.URL), 0)
		require.NoError(t, err)
		require.Equal(t, status, response.Status)
	}
	require.Zero(t, stolen.Load())
}

func TestTLSSettings(t *testing.T) {
	s := quiet(t, func(http.ResponseWriter, *http.Request) {})
	s.StartTLS()

	for name, settings := range map[string]provider.TLS{
		"its own certificate": {CACert: pemOf(s)},
		"another server name": {CACert: pemOf(s), ServerName: "example.com"},
		"no check":            {Insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Do(t.Context(), client(t, settings), request(t, s.URL), 0)
			require.NoError(t, err)
		})
	}

	for name, bundle := range map[string]string{
		"no PEM":      canary,
		"a key":       "-----BEGIN PRIVATE KEY-----\n" + "AAAA\n" + "-----END PRIVATE KEY-----\n",
		"broken":      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"and a key":   pemOf(s) + "-----BEGIN PRIVATE KEY-----\n" + "AAAA\n" + "-----END PRIVATE KEY-----\n",
		"white space": " \n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(provider.TLS{CACert: bundle})
			require.ErrorContains(t, err, "ca_cert")
			requireSecretFree(t, err.Error())
		})
	}
}

func TestReasonsOfCertificatesAreWords(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
	}{
		{x509.CertificateInvalidError{Reason: x509.Expired, Detail: canary}, "expired"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: canary}, "no connection"},
		{&net.DNSError{Err: canary, Name: canary, IsTimeout: true}, "name server"},
		{&net.DNSError{Err: canary, Name: canary}, "resolved"},
		{&net.OpError{Op: "proxyconnect", Err: errors.New(canary)}, "HTTPS_PROXY"},
		{context.DeadlineExceeded, "timed out"},
	} {
		err := notSent(test.err)
		require.ErrorContains(t, err, test.reason)
		requireSecretFree(t, err.Error())
	}
}

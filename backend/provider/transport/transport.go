// Package transport is the HTTP that providers speak to remote systems.
//
// A provider opens one client with [New], builds each request itself, and sends it with [Do]. Nothing here knows what a
// request means; the package exists for three promises that a provider could not keep with net/http as it comes:
//
//   - A request goes out at most once, and to the address that the operator configured. Connections are not reused and
//     HTTP/2 is off, so that net/http has no occasion to send a request again by itself; redirects are handed back
//     instead of followed (net/http would take headers, and on a 307 the body, to any host that an answer names).
//   - It is known whether a request may have left. [Do] returns a [*NotSentError] only where the trace of the connection
//     proves that nothing was sent, and an [*AnswerError] in every other case. [Failure] makes the outcomes of these.
//   - No error holds what a request or an answer held. net/http's errors quote the URL, resolvers and certificate checks
//     quote names, proxies quote anything: all of them are replaced by sentences of this package.
//
// Clients are safe for concurrent use.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	cleanhttp "github.com/hashicorp/go-cleanhttp"

	"vault-plugin-secrets-hosting/backend/provider"
)

const (
	// UserAgent is the User-Agent header of every request.
	UserAgent = "vault-plugin-secrets-hosting"

	// DefaultLimit is how long the body of an answer may be where a provider sets no limit: 1 MiB.
	DefaultLimit = 1 << 20

	// headerLimit bounds the headers of an answer. IAM tokens come in a header and have up to 16 KiB.
	headerLimit = 128 << 10
)

// Response is an answer that was read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	// sent is what the request held, see Echoes.
	sent Secret
}

// Format prints the status alone: the rest could hold anything.
func (r *Response) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "answer %d (hidden)", r.Status) }

// New returns a client with the connection's TLS settings. An error is the user's mistake in these.
// Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY), as everywhere in Vault.
func New(settings provider.TLS) (*http.Client, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: settings.ServerName,
		// The operator's explicit choice, for panels with a certificate of their own making.
		InsecureSkipVerify: settings.Insecure, //nolint:gosec // see above
	}
	if settings.CACert != "" {
		roots, err := certificates(settings.CACert)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}

	t := cleanhttp.DefaultTransport()
	t.TLSClientConfig = config
	t.DialContext = (&net.Dialer{Timeout: 30 * time.Second, Control: control}).DialContext
	// HTTP/1.1 only: HTTP/2 resends requests that a server gave back, and lower-cases the header names.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	// A compressed answer that the remote system was not asked for is nonsense, and no compressed bomb is unpacked.
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = headerLimit

	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// certificates reads a PEM bundle. Unlike x509.CertPool it takes no bundle with a block that it does not understand:
// the operator would believe that the certificate is trusted.
func certificates(bundle string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := []byte(bundle); ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("ca_cert has a PEM block that is not a certificate; give certificates only")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("ca_cert has a certificate that cannot be read; give it as PEM, whole and unchanged")
		}
		pool.AddCert(certificate)
	}
	if n == 0 {
		return nil, errors.New("ca_cert has no certificate; give it as PEM, from -----BEGIN CERTIFICATE----- on")
	}
	return pool, nil
}

// Do sends the request once and reads the answer, whatever its status, up to limit bytes (0: [DefaultLimit]). The call
// ends with ctx. The error is a *NotSentError or an *AnswerError; see the package's comment.
func Do(ctx context.Context, client *http.Client, req *http.Request, limit int64) (*Response, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	// Set where a connection stands, TLS included, and net/http is about to write the request to it. Nothing before
	// that sends a byte of the request; from there on it may be anywhere.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req = req.WithContext(ctx)
	sent := sentBy(req)
	// Without GetBody net/http cannot send a body a second time, whatever reason it may see.
	req.GetBody = nil
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", UserAgent)
	}

	resp, err := client.Do(req)
	if err != nil {
		if !connected.Load() {
			return nil, notSent(err)
		}
		return nil, noAnswer(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < http.StatusOK {
		// 101 Switching Protocols: its body is the bare connection, which may never end.
		return nil, &AnswerError{Reason: "the answer is not one to this request; see whether url names the right service"}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, noAnswer(err)
	}
	if int64(len(body)) > limit {
		return nil, &AnswerError{
			Reason: "the answer is longer than any that this system gives; see whether url names the right service",
			cause:  ErrTooLarge,
		}
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body, sent: sent}, nil
}

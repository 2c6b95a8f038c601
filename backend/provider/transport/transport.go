// Package transport is the HTTP client that providers use to reach remote systems.
//
// A provider opens one client with [New] for each address, and makes each call with [Do]. This package does not know
// what a request means. It makes four guarantees that net/http alone does not:
//
//   - A request is sent at most once, and only to the address that the operator configured. Connections are not reused
//     and HTTP/2 is off, so that net/http never resends a request by itself. Redirects are returned, not followed
//     (net/http would send headers, and on a 307 the body, to any host that a response names).
//   - The caller learns whether a request may have been sent. The outcome of an [*Error] is Unreachable only if the trace
//     of the connection proves that nothing was sent, and Unknown in every other case. [Failure] returns it.
//   - No error contains text from a request or a response. Errors of net/http quote the URL, those of resolvers and
//     certificate verification quote names, and proxies quote anything: this package replaces all of them with its own
//     sentences.
//   - An error names what is to be corrected: the field that holds the address, or the proxy; see proxy.go. The connection's
//     TLS settings are for its remote system, never for a proxy on the way.
//
// Clients are safe for concurrent use.
package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	cleanhttp "github.com/hashicorp/go-cleanhttp"

	"vault-plugin-secrets-hosting/backend/provider"
)

const (
	// UserAgent is the User-Agent header of every request.
	UserAgent = "vault-plugin-secrets-hosting"

	// bodyLimit is the maximum size of a response body: 1 MiB.
	bodyLimit = 1 << 20

	// headerLimit is the maximum size of the response headers. IAM tokens come in a header and take up to 16 KiB.
	headerLimit = 128 << 10
)

// Response is a response whose body was read to the end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Key is the public key of the server, hashed, whose private part the server has: TLS proves that, whether or not the
	// certificate is trusted. It is empty without TLS.
	Key []byte

	// sent is the content of the request, see Echoes.
	sent Secret
}

// Format prints only the status: the rest could contain secrets.
func (r *Response) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "response %d (hidden)", r.Status)
}

// Endpoint is an address of a connection, and what errors call it.
type Endpoint struct {
	TLS provider.TLS
	// Field is the name of the field that holds the address: "url", or another name that ends in "url" ("iam_url"), or
	// [LoginField]. The field with the name to verify in its certificate is then "tls_server_name" ("iam_tls_server_name"),
	// or the same field.
	Field string
	// Plain is the setting that turns TLS off, "" if there is none.
	Plain string
	// Derived is set if the connection has no such field.
	Derived Derivation
}

// LoginField is the role's field that holds the address of a login.
const LoginField = "verify_address"

// Derivation is an address that the user did not write.
type Derivation struct {
	Address string
	// From says where the address comes from ("derived from region"), and Otherwise what to do if its host does not exist.
	From, Otherwise string
}

// name returns the field that holds the address, for use in a sentence.
func (e Endpoint) name() string {
	if e.Derived.Address == "" {
		return e.Field
	}
	return fmt.Sprintf("%s (%s, %s)", e.Field, e.Derived.Address, e.Derived.From)
}

// serverNameField returns the name of the field with the name to verify in the certificate.
func (e Endpoint) serverNameField() string {
	if e.Field == LoginField {
		return e.Field
	}
	return strings.TrimSuffix(e.Field, "url") + "tls_server_name"
}

// authorityField returns the name of the field with the certificates to trust.
func (e Endpoint) authorityField() string {
	if e.Field == LoginField {
		return "verify_ca_cert"
	}
	return "ca_cert"
}

// Client sends requests to one endpoint. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	endpoint Endpoint
}

// New returns a client. It returns an error only if the TLS settings are invalid. Proxies are taken from the environment
// (HTTPS_PROXY, NO_PROXY), as everywhere in Vault.
func New(endpoint Endpoint) (*Client, error) {
	return newClient(endpoint, network{dialer: newDialer(), proxy: http.ProxyFromEnvironment})
}

func newDialer() *net.Dialer { return &net.Dialer{Timeout: 30 * time.Second, ControlContext: control} }

// newClient is New with a network: tests stop requests before they leave the machine.
func newClient(endpoint Endpoint, via network) (*Client, error) {
	config, err := endpoint.config()
	if err != nil {
		return nil, err
	}
	t := cleanhttp.DefaultTransport()
	t.TLSClientConfig = config
	t.Proxy = via.choose
	t.DialContext = via.dial
	t.OnProxyConnectResponse = tunneled
	// HTTP/1.1 only: HTTP/2 resends requests that the server refused, and lower-cases the header names.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	// Do not request compression, so that no decompression bomb is unpacked.
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = headerLimit

	return &Client{endpoint: endpoint, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// orPlain says how to turn TLS off, for the end of a sentence; "" if that is not possible.
func (e Endpoint) orPlain() string {
	if e.Plain == "" {
		return ""
	}
	return ", or set " + e.Plain + " if it has no TLS"
}

// config returns the TLS settings. Its error is for the user who wrote them.
func (e Endpoint) config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: e.TLS.ServerName,
		// The operator's explicit choice, for panels with a self-signed certificate.
		InsecureSkipVerify: e.TLS.Insecure, //nolint:gosec // see above
	}
	if e.TLS.CACert == "" {
		return config, nil
	}
	roots, err := certificates(e.authorityField(), e.TLS.CACert)
	config.RootCAs = roots
	return config, err
}

// certificates parses a PEM bundle. Unlike x509.CertPool it rejects a bundle with a block that it cannot parse:
// otherwise the operator would believe that this certificate is trusted.
func certificates(field, bundle string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := []byte(bundle); ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New(field + " contains a PEM block that is not a certificate; give certificates only")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New(field + " contains a certificate that cannot be parsed; give it as PEM, complete and unchanged")
		}
		pool.AddCert(certificate)
	}
	if n == 0 {
		return nil, errors.New(field + " contains no certificate; give it as PEM, starting with -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// Do sends a request once and reads the response, whatever its status. prepare sets the headers. Do returns when ctx ends.
// The error is an [*Error]; see the package comment.
func Do(ctx context.Context, client *Client, method, address string, body []byte, prepare func(*http.Request)) (*Response, error) {
	// GotConn runs once a connection is established, TLS included, and net/http is about to write the request to it.
	// No byte of the request is sent before that; afterwards any part of it may have been.
	way := &route{endpoint: client.endpoint}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, routeKey{}, way))
	defer cancel() // which closes the connection; see dial
	way.request = ctx
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { way.connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, NotBuilt()
	}
	way.allowed = provider.HostsOf(ctx).AllowsHost(req.URL.Hostname())
	req.Header.Set("User-Agent", UserAgent)
	prepare(req)
	sent := sentBy(req, body)
	// Without GetBody net/http cannot send a body a second time.
	req.GetBody = nil

	resp, err := client.http.Do(req)
	if err != nil {
		return nil, way.failure(errors.Join(ctx.Err(), err)) // dial has closed the connection when the request ended
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < http.StatusOK {
		// 101 Switching Protocols: the body is the raw connection, which may never end.
		return nil, noAnswer("the response does not match the request; check that " + client.endpoint.name() + " points to the right service")
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit+1))
	if err != nil {
		return nil, way.failure(errors.Join(ctx.Err(), err))
	}
	if len(content) > bodyLimit {
		return nil, noAnswer("the response is longer than any that this system sends; check that " + client.endpoint.name() + " points to the right service")
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: content, Key: keyOf(resp.TLS), sent: sent}, nil
}

func keyOf(state *tls.ConnectionState) []byte {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return sum[:]
}

// JSON encodes the body of a request, without HTML escapes and without a trailing line feed.
func JSON(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, NotBuilt()
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

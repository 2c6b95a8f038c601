package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// network is how requests leave this machine.
type network struct {
	dialer *net.Dialer
	// proxy returns the proxy for a request, or nil.
	proxy func(*http.Request) (*url.URL, error)
	// roots are the authorities of proxies; nil: the system's.
	roots *x509.CertPool
}

// route is the way of one request. It is in the request's context.
type route struct {
	endpoint Endpoint
	// request is the request's context. net/http dials with another one, which does not end with the request.
	request context.Context
	// allowed: the mount's allowed_hosts allow the host as it is written, whatever address it has.
	allowed bool
	// proxy is set before the connection is dialed; nil: none.
	proxy *url.URL
	// tunnel: the proxy has connected to the remote system. connected: TLS is established too, and the request may have
	// been sent.
	tunnel, connected atomic.Bool
}

type routeKey struct{}

func routeOf(ctx context.Context) *route {
	way, _ := ctx.Value(routeKey{}).(*route)
	return way
}

// errProxyAddress reports an address of a proxy that cannot be parsed. Errors of net/http quote it, with its password.
var errProxyAddress = errors.New("the address of the proxy cannot be parsed")

// choose returns the proxy for a request. net/http would verify the certificate of an https:// proxy with the TLS settings
// of the connection, so it gets the proxy as one without TLS, and dial adds TLS.
func (n network) choose(req *http.Request) (*url.URL, error) {
	proxy, err := n.proxy(req)
	if err != nil {
		return nil, errProxyAddress
	}
	if proxy == nil {
		return nil, nil //nolint:nilnil // no proxy
	}
	way := routeOf(req.Context())
	if !way.allowed { // the proxy resolves the name
		return nil, notAllowedError{}
	}
	way.proxy = proxy
	plain := *proxy
	if proxy.Scheme == "https" {
		plain.Scheme, plain.Host = "http", hostPort(proxy)
	}
	return &plain, nil
}

// handshakeTimeout bounds the TLS handshake with a proxy, as net/http does for remote systems.
const handshakeTimeout = 10 * time.Second

// dial connects to the remote system, or to its proxy. The connection is closed when the request ends, in a TLS handshake too,
// for which net/http would wait longer.
func (n network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	way := routeOf(ctx)
	conn, err := n.dialer.DialContext(way.request, kind, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(way.request, func() { _ = conn.Close() })
	proxy := way.proxy
	if proxy == nil || proxy.Scheme != "https" {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(way.request, handshakeTimeout)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: proxy.Hostname(), RootCAs: n.roots})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// proxyStatusError reports the status with which a proxy answered CONNECT.
type proxyStatusError int

func (status proxyStatusError) Error() string {
	return fmt.Sprintf("the proxy answered %d", int(status))
}

// tunneled checks the answer of a proxy to CONNECT.
func tunneled(ctx context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return proxyStatusError(answer.StatusCode)
	}
	routeOf(ctx).tunnel.Store(true)
	return nil
}

// blames reports whether the error is about the proxy and not about the remote system behind it.
func (r *route) blames(err error) bool {
	if r.proxy == nil || r.tunnel.Load() {
		return false
	}
	if strings.HasPrefix(r.proxy.Scheme, "socks") { // which has no CONNECT
		op, ok := errors.AsType[*net.OpError](err)
		return ok && (op.Op == "proxyconnect" || strings.HasPrefix(op.Op, "socks"))
	}
	return true
}

// through names the proxy of the request, for the end of a sentence; "" if there is none.
func (r *route) through() string {
	if r.proxy == nil {
		return ""
	}
	return "; the connection goes through " + r.proxyName()
}

// proxyName names the proxy, without its user and password.
func (r *route) proxyName() string { return "the proxy " + hostPort(r.proxy) + " (HTTPS_PROXY)" }

// hostPort returns the host and port of a proxy.
func hostPort(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

// proxyReason describes why a proxy made no connection.
func (r *route) proxyReason(err error) string {
	name := r.proxyName()
	var (
		status    proxyStatusError
		forbidden *forbiddenError
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &status):
		return name + " " + r.refusal(int(status))
	case errors.As(err, &forbidden):
		return name + " is not used: " + forbidden.Error()
	case errors.As(err, &dns):
		return name + " could not be reached, because its host name could not be resolved; correct HTTPS_PROXY, or check the name server of the Vault server"
	case errors.As(err, &authority):
		return "the certificate of " + name + " is not trusted; add its issuer to the certificates of the Vault server's system (SSL_CERT_FILE). ca_cert is for the remote system alone"
	case errors.As(err, &verify):
		return "the certificate of " + name + " could not be verified; check its names and dates, and the host in HTTPS_PROXY"
	case errors.As(err, &record):
		return name + " does not speak TLS on this port; begin HTTPS_PROXY with http://, or correct its port"
	case errors.Is(err, syscall.ECONNREFUSED):
		return name + " could not be reached, because the connection was refused; check that it is running, and HTTPS_PROXY"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return name + " did not respond in time; check that it is running, and the network between Vault and the proxy"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return name + " closed the connection; check the proxy, and whether HTTPS_PROXY must begin with https://"
	default:
		return name + " could not be used; check HTTPS_PROXY, and the proxy's log"
	}
}

// refusal describes the status with which the proxy answered CONNECT.
func (r *route) refusal(status int) string {
	switch {
	case status == http.StatusProxyAuthRequired && r.proxy.User != nil:
		return "refused the user or the password in HTTPS_PROXY (407); correct them"
	case status == http.StatusProxyAuthRequired:
		return "requires a user and a password (407); add them to HTTPS_PROXY as http://user:password@host:port"
	case status == http.StatusForbidden:
		return "does not allow connections to the remote system (403); allow the host and port in " + r.endpoint.name() + " there, or add the host to NO_PROXY"
	case status >= http.StatusInternalServerError:
		return fmt.Sprintf("could not connect to the remote system (%d); check the host and port in %s, and the network behind the proxy", status, r.endpoint.name())
	default:
		return fmt.Sprintf("did not connect to the remote system and answered %d; check HTTPS_PROXY, and the proxy's log", status)
	}
}

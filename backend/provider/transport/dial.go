package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Dial connects to host:port without a proxy, for protocols other than HTTP. As for requests, it connects only to hosts that
// [provider.HostsOf] the context allows, and never to forbidden addresses. The error is an [*Error] that names what to
// correct; nothing was sent. The caller closes the connection, which does not end with ctx.
func Dial(ctx context.Context, endpoint Endpoint, address string) (net.Conn, error) {
	way := &route{endpoint: endpoint, request: ctx}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, NotBuilt()
	}
	way.allowed = provider.HostsOf(ctx).AllowsHost(host)
	conn, err := newDialer().DialContext(context.WithValue(ctx, routeKey{}, way), "tcp", address)
	if err != nil {
		return nil, way.failure(errors.Join(ctx.Err(), err))
	}
	return conn, nil
}

// errHandshake is part of an error of a TLS handshake. A server without TLS may just wait for more.
var errHandshake = errors.New("the TLS handshake failed")

// DialTLS is [Dial] with a TLS handshake, which authenticates the server as the endpoint's settings say.
func DialTLS(ctx context.Context, endpoint Endpoint, address string) (net.Conn, error) {
	config, err := endpoint.config()
	if err != nil {
		return nil, NotSent(err.Error() + "; nothing was sent")
	}
	conn, err := Dial(ctx, endpoint, address)
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address) // Dial has split it already
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, (&route{endpoint: endpoint}).failure(errors.Join(ctx.Err(), err, errHandshake))
	}
	return secure, nil
}

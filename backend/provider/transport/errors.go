package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Error reports a call without a readable response.
type Error struct {
	// Result is what the error proves.
	Result provider.Result
	// Cause is the context's error if that ended the call, else nil: other causes could hold a secret.
	Cause error
}

func (e *Error) Error() string { return e.Result.Reason }
func (e *Error) Unwrap() error { return e.Cause }

// NotSent returns the error for a request of which no part was sent.
func NotSent(reason string) *Error {
	return &Error{Result: provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: reason}}
}

// NotBuilt returns the error for a request that cannot be encoded.
func NotBuilt() *Error { return NotSent("the request could not be built; nothing was sent") }

// noAnswer returns the error for a request that was, or may have been, sent. It may have been carried out.
func noAnswer(reason string) *Error {
	return &Error{Result: provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget, Reason: reason}}
}

// failure returns the error for an error of net/http.
func (r *route) failure(err error) *Error {
	failed := noAnswer(answerReason(err))
	if !r.connected.Load() {
		failed = NotSent(r.reason(err) + "; nothing was sent")
		failed.Result.Misconfigured = !r.blames(err) && (noSuchHost(err) || isForbidden(err))
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			failed.Cause = ended
		}
	}
	return failed
}

// noSuchHost reports whether the name server said that a host does not exist.
func noSuchHost(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound && !dns.IsTimeout
}

// isForbidden reports whether the address was not dialed, because no connection of this mount may use it.
func isForbidden(err error) bool {
	_, never := errors.AsType[*forbiddenError](err)
	_, notHere := errors.AsType[notAllowedError](err)
	return never || notHere
}

// reason describes why no connection was established.
func (r *route) reason(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "the attempt was canceled before a connection was established"
	case errors.Is(err, errProxyAddress):
		return "the address of the proxy in HTTPS_PROXY cannot be parsed; write it as http://host:port"
	case r.blames(err):
		return r.proxyReason(err)
	default:
		return r.endpoint.connectReason(err) + r.through()
	}
}

// Failure returns what an error of [Do] proves.
func Failure(err error) provider.Result {
	known, ok := errors.AsType[*Error](err)
	if !ok {
		known = noAnswer("the request could not be completed")
	}
	return known.Result
}

// connectReason describes why no connection to the remote system was established. Errors of certificate verification and
// name resolution are matched by type and never quoted.
func (e Endpoint) connectReason(err error) string {
	var (
		forbidden *forbiddenError
		dns       *net.DNSError
		other     notAllowedError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		remote    *net.OpError
		timeout   net.Error
	)
	field, serverName, trusted := e.name(), e.serverNameField(), e.authorityField()
	switch {
	case errors.As(err, &forbidden):
		return forbidden.Error() + "; correct " + field
	case errors.As(err, &other):
		return other.Error() + " in " + field
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the name server did not respond in time; check that the Vault server can resolve the host in " + field
	case noSuchHost(err) && e.Derived.Address != "":
		return "no such host: " + e.Derived.Address + ", " + e.Derived.From + "; " + e.Derived.Otherwise
	case noSuchHost(err):
		return "no such host; check the host in " + field + ", and that the Vault server can resolve it"
	case errors.As(err, &dns):
		return "the host name could not be resolved; check that the Vault server can resolve the host in " + field
	case errors.As(err, &authority):
		return "the certificate of the remote system is not trusted; " + trusted + " must contain the certificate of its issuer, or the certificate itself if it is self-signed"
	case errors.As(err, &hostname) && serverName == e.Field:
		return "the certificate of the remote system is for another name; correct " + field
	case errors.As(err, &hostname):
		return "the certificate of the remote system is for another name; correct " + field + ", or set " + serverName + " to the name in the certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of the remote system has expired or is not valid yet; renew it there, or correct the clock of the Vault server"
	case errors.As(err, &verify):
		return "the certificate of the remote system could not be verified; check the certificate, " + trusted + " and " + serverName
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the remote system does not speak TLS on this port; check the port in " + field + e.orPlain()
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert
		return "the remote system aborted the TLS handshake; check that it supports TLS 1.2 or newer, and " + serverName
	case errors.Is(err, errHandshake):
		return "the remote system did not complete the TLS handshake; check the port in " + field + e.orPlain()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused; check the port in " + field + ", and that the remote system is running"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to the host in " + field + "; check the network and the firewall between Vault and the remote system"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the connection timed out; check " + field + ", and the firewall between Vault and the remote system"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was closed before the request; check the port in " + field + ", and the firewall between Vault and the remote system"
	default:
		return "no connection could be made; check " + field + ", and the network between Vault and the remote system"
	}
}

// answerReason describes why no response could be read.
func answerReason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "the attempt was canceled before a response arrived; the request may have been carried out"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the remote system did not respond in time; the request may have been carried out"
	default:
		return "the connection broke before a readable response arrived; the request may have been carried out"
	}
}

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

// ErrTooLarge is the cause of the *AnswerError about an answer that is longer than the limit.
var ErrTooLarge = errors.New("the answer is too long")

// NotSentError proves that nothing of the request was sent: there was no connection to send it on.
//
// It unwraps to a cause only where that cannot hold a secret: the context's errors and *ForbiddenAddressError.
type NotSentError struct {
	// Reason is one sentence for operators: what happened and what to do.
	Reason string
	cause  error
}

func (e *NotSentError) Error() string { return e.Reason }
func (e *NotSentError) Unwrap() error { return e.cause }

// AnswerError is a request that was sent, or may have been, and has no answer that can be read. What it asked for may
// have been done.
//
// It unwraps to a cause only where that cannot hold a secret: the context's errors and ErrTooLarge.
type AnswerError struct {
	// Reason is one sentence for operators: what happened and what to do.
	Reason string
	cause  error
}

func (e *AnswerError) Error() string { return e.Reason }
func (e *AnswerError) Unwrap() error { return e.cause }

// Failure returns what an error of [Do] proves: Unreachable where nothing was sent, else Unknown.
func Failure(err error) provider.Result {
	var unsent *NotSentError
	if errors.As(err, &unsent) {
		return provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: unsent.Reason}
	}
	result := provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget, Reason: "the request could not be completed"}
	var answer *AnswerError
	if errors.As(err, &answer) {
		result.Reason = answer.Reason
	}
	return result
}

func notSent(err error) error {
	e := &NotSentError{cause: contextCause(err)}
	var forbidden *ForbiddenAddressError
	if errors.As(err, &forbidden) {
		e.cause = forbidden
	}
	e.Reason = connectReason(err) + "; nothing was sent"
	return e
}

// connectReason puts into words why there is no connection. Errors of certificate checks and resolvers are matched by
// their types and never quoted.
func connectReason(err error) string {
	var (
		forbidden *ForbiddenAddressError
		dns       *net.DNSError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &forbidden):
		return forbidden.Error()
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy that HTTPS_PROXY names could not be reached; see the environment that Vault runs in"
	case errors.Is(err, context.Canceled):
		return "the attempt was given up before there was a connection"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the name server did not answer in time; see whether Vault's host can resolve the name in url"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host; see the name in url, and whether Vault's host can resolve it"
	case errors.As(err, &dns):
		return "the host name could not be resolved; see whether Vault's host can resolve the name in url"
	case errors.As(err, &authority):
		return "the certificate of the remote system is not trusted; set ca_cert to the certificate of its issuer, or to its own if it is self-signed"
	case errors.As(err, &hostname):
		return "the certificate of the remote system is for another name; correct url, or set tls_server_name to the name in the certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of the remote system has expired or is not valid yet; renew it there, or correct the clock of Vault's host"
	case errors.As(err, &verify):
		return "the certificate of the remote system could not be verified; see it, ca_cert and tls_server_name"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the remote system does not speak TLS at this port; see the port in url"
	case errors.As(err, &alert):
		return "the remote system ended the TLS handshake; see whether it supports TLS 1.2 or newer, and tls_server_name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused; see the port in url, and whether the remote system runs"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to the remote system; see the network and the firewall between Vault and it"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the connection timed out; see url, and the firewall between Vault and the remote system"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was closed before the request; see whether url has the right port, and the firewall between Vault and the remote system"
	default:
		return "no connection could be made; see url, and the network between Vault and the remote system"
	}
}

func noAnswer(err error) error {
	e := &AnswerError{cause: contextCause(err)}
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		e.Reason = "the attempt was given up before there was an answer; the request may have been carried out"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = "the remote system did not answer in time; the request may have been carried out"
	default:
		e.Reason = "the connection broke, or brought no answer that can be read; the request may have been carried out"
	}
	return e
}

// contextCause returns the bare error of the context that ended the call, if one did.
func contextCause(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	default:
		return nil
	}
}

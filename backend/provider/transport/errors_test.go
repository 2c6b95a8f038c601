package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestConnectReasonsHideDetails(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
	}{
		{x509.CertificateInvalidError{Reason: x509.Expired, Detail: canary}, "expired"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: canary}, "no connection"},
		{&net.DNSError{Err: canary, Name: canary, IsTimeout: true}, "name server"},
		{&net.DNSError{Err: canary, Name: canary}, "resolved"},
		{context.DeadlineExceeded, "timed out"},
	} {
		reason := urlWith(provider.TLS{}).connectReason(test.err)
		require.Contains(t, reason, test.reason)
		requireSecretFree(t, reason)
	}
}

// A message that says "correct url" is wrong for the address of IAM, and useless for an address that nobody wrote.
func TestConnectReasonsNameFieldOfAddress(t *testing.T) {
	derived := Derivation{"https://dcs.eu-west-101.example", "derived from region", "correct region"}
	for name, err := range map[string]error{
		"no name server": &net.DNSError{IsTimeout: true},
		"no such host":   &net.DNSError{IsNotFound: true},
		"not resolved":   &net.DNSError{},
		"forbidden":      &forbiddenError{},
		"another name":   x509.HostnameError{},
		"no TLS":         tls.RecordHeaderError{},
		"refused":        syscall.ECONNREFUSED,
		"no route":       syscall.EHOSTUNREACH,
		"timeout":        context.DeadlineExceeded,
		"closed":         io.EOF,
		"other":          errors.New(canary),
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, Endpoint{Field: "iam_url"}.connectReason(err), "iam_url")
			require.NotContains(t, Endpoint{Field: "iam_url"}.connectReason(err), " url")
			require.NotContains(t, Endpoint{Field: "url"}.connectReason(err), "iam_")
			reason := Endpoint{Field: "url", Derived: derived}.connectReason(err)
			require.Contains(t, reason, derived.Address+", derived from region")
		})
	}
	for field, want := range map[string]string{"url": "set tls_server_name", "iam_url": "set iam_tls_server_name"} {
		require.Contains(t, Endpoint{Field: field}.connectReason(x509.HostnameError{}), want)
	}
}

func TestDerivedHostThatDoesNotExistIsMisconfigured(t *testing.T) {
	via := loopback(t)
	via.dialer.Resolver = providertest.NoSuchHost()
	const address = "https://dcs.eu-west-101.example"
	for derived, want := range map[Derivation]string{
		{address, "derived from region", "correct region"}: "no such host: " + address + ", derived from region; correct region; nothing was sent",
		{}: "no such host; check the host in url",
	} {
		c, err := newClient(Endpoint{Field: "url", Derived: derived}, via)
		require.NoError(t, err)
		_, err = send(t.Context(), c, address)
		require.ErrorContains(t, err, want)
		require.Equal(t, provider.Unreachable, Failure(err).Outcome)
		require.True(t, Failure(err).Misconfigured)
	}
	_, err := send(t.Context(), client(t, provider.TLS{}), address) // no name server
	require.False(t, Failure(err).Misconfigured)
}

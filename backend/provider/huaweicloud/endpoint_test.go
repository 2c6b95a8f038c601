package huaweicloud

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func TestEndpointsNameTheirFields(t *testing.T) {
	settings := provider.TLS{ServerName: "both"}
	derived := func(address string) transport.Derivation {
		return transport.Derivation{
			Address: address, From: "derived from region",
			Otherwise: "correct region, or set url (and iam_url, for an IAM user) to the addresses of your cloud",
		}
	}
	for name, test := range map[string]struct {
		url          string
		settings     provider.Settings
		service, iam transport.Endpoint
	}{
		"derived": {
			"", user(),
			transport.Endpoint{TLS: settings, Field: "url", Derived: derived("https://dcs.ap-southeast-3.myhuaweicloud.com")},
			transport.Endpoint{TLS: settings, Field: "iam_url", Derived: derived("https://iam.ap-southeast-3.myhuaweicloud.com")},
		},
		"given": {
			"https://dcs.example.com", user(FieldIAMURL, "https://iam.example.com"),
			transport.Endpoint{TLS: settings, Field: "url"}, transport.Endpoint{TLS: settings, Field: "iam_url"},
		},
		"without a region": {
			"https://dcs.example.com", user(FieldRegion, "", FieldIAMURL, "https://iam.example.com"),
			transport.Endpoint{TLS: settings, Field: "url"}, transport.Endpoint{TLS: settings, Field: "iam_url"},
		},
		"IAM has another certificate": {
			"https://dcs.example.com", user(FieldIAMURL, "https://iam.example.com", FieldIAMServerName, "iam"),
			transport.Endpoint{TLS: settings, Field: "url"}, transport.Endpoint{TLS: provider.TLS{ServerName: "iam"}, Field: "iam_url"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			connection := provider.Connection{URL: test.url, TLS: settings, Settings: test.settings}
			require.NoError(t, Complete(&connection, "dcs"))
			require.Equal(t, test.service, endpoint(connection, "url", connection.URL, "dcs"))
			require.Equal(t, test.iam, endpoint(connection, FieldIAMURL, connection.Settings.String(FieldIAMURL), "iam"))
		})
	}
}

func TestIAMHasCertificateOfItsOwn(t *testing.T) {
	c := newCloud(t)
	bundle := ""
	serve := func(host string) string {
		certificate, ca := providertest.Certificate(t, host)
		bundle += ca
		s := httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	connection := provider.Connection{URL: serve("service.example"), Settings: user(FieldIAMURL, serve("iam.example"))}
	connection.TLS = provider.TLS{CACert: bundle, ServerName: "service.example"}
	call := func() error {
		require.NoError(t, Complete(&connection, "dcs"))
		api, err := open(connection, "dcs", time.Now)
		require.NoError(t, err)
		_, err = api.Call(t.Context(), put)
		return err
	}
	require.ErrorContains(t, call(), "IAM could not be reached: the certificate of the remote system is for another name; correct iam_url, or set iam_tls_server_name")
	connection.Settings[FieldIAMServerName] = "iam.example"
	require.NoError(t, call())
	connection.TLS.ServerName = "iam.example"
	err := call()
	require.ErrorContains(t, err, "the certificate of the remote system is for another name; correct url, or set tls_server_name")
	require.NotContains(t, err.Error(), "iam")
}

// A region that does not exist, or has other addresses.
func TestDerivedAddressWithoutHostIsNamed(t *testing.T) {
	resolver := net.DefaultResolver
	net.DefaultResolver = providertest.NoSuchHost()
	t.Cleanup(func() { net.DefaultResolver = resolver })
	for address, settings := range map[string]provider.Settings{
		"https://dcs.eu-west-101.myhuaweicloud.com": keys(FieldRegion, "eu-west-101"),
		"https://iam.eu-west-101.myhuaweicloud.com": user(FieldRegion, "eu-west-101"),
	} {
		connection := provider.Connection{Settings: settings}
		require.NoError(t, Complete(&connection, "dcs"))
		api, err := open(connection, "dcs", time.Now)
		require.NoError(t, err)
		result := api.Check(t.Context(), "/", nil, "", func(_ *transport.Response, r provider.Result) provider.Result { return r })
		require.Equal(t, provider.Unreachable, result.Outcome)
		require.True(t, result.Misconfigured)
		require.Contains(t, result.Reason, "no such host: "+address+", derived from region; correct region, or set url (and iam_url, for an IAM user)")
	}
}

package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// hostOf returns the host and port of an address.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Host
}

// Plesk tells which server it is, so a second name of the same server does not give an account a second role.
func TestServerAtTwoAddressesIsOne(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	secret := m.must("config/panel2", with(m.panel(), data{"url": strings.Replace(m.out.Plesk.URL, "127.0.0.1", "localhost", 1)}))
	require.NotNil(t, secret)
	require.Len(t, secret.Warnings, 1)
	require.Contains(t, secret.Warnings[0], `The connection "panel2" leads to the same remote system as panel, at another address`)

	_, err := m.write("roles/web2", with(alias("OPS1"), data{"connection": "panel2"}))
	require.Equal(t, 400, statusCode(err), message(err))
	require.Contains(t, message(err), `another role of this mount already manages this account: its connection "panel" leads to the same remote system`)
	m.must("roles/web3", with(alias("ops2"), data{"connection": "panel2"}))
	require.NoError(t, m.login(alias("ops1"), m.creds("web1")["password"]))
	require.NoError(t, m.login(alias("ops2"), m.creds("web3")["password"]))
}

// The proxy of the plugin's environment (vault plugin register -env) is verified with the system's authorities, and the
// remote systems behind it with the connection's. Each failure names what has to be corrected.
func TestProxyOfEnvironmentIsUsedAndNamed(t *testing.T) {
	t.Parallel()
	const password = "Proxy-Password.4711"
	secrets.Add("the proxy's password", password)
	proxy := providertest.NewProxy(t, "vault:"+password, true)
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authorities, []byte(proxy.CA), 0o600))
	v, _ := newVault(t, "HTTPS_PROXY="+proxy.URL("vault:"+password), "SSL_CERT_FILE="+authorities)
	m := newMountIn(t, v)
	proxy.Route("panel.example:8443", hostOf(t, m.out.Plesk.URL)).Route("iam.example:443", hostOf(t, m.out.HuaweiCloud.IAMURL))
	require.Empty(t, proxy.Asked(), "loopback needs no proxy")

	far := with(m.panel(), data{"url": "https://panel.example:8443"})
	refused := func(code int, path string, d data, says ...string) {
		t.Helper()
		_, err := m.write(path, d)
		require.Equal(t, code, statusCode(err), message(err))
		for _, text := range says {
			require.Contains(t, message(err), text)
		}
		require.NotContains(t, message(err), password)
	}
	name := "the proxy " + proxy.Address() + " (HTTPS_PROXY)"
	refused(502, "config/far", far, "correct url, or set tls_server_name", "the connection goes through "+name)
	far["tls_server_name"] = "localhost"
	proxy.Answer(407)
	refused(502, "config/far", far, name+" refused the user or the password in HTTPS_PROXY (407)")
	proxy.Answer(403)
	refused(502, "config/far", far, name+" does not allow connections to the remote system (403); allow the host and port in url there")
	proxy.Answer(0)
	m.must("config/far", far)
	m.must("roles/web1", with(alias("ops1"), data{"connection": "far"}))
	before := m.creds("web1")["password"]
	proxy.Answer(407)
	refused(502, "rotate-role/web1", nil, name+" refused the user or the password")
	require.NoError(t, m.login(alias("ops1"), before))
	require.Equal(t, before, m.creds("web1")["password"])
	proxy.Answer(0)
	require.Eventually(t, func() bool { return versionOf(t, m.creds("web1")) == 2 }, waitLong, tick)
	require.NoError(t, m.login(alias("ops1"), m.creds("web1")["password"]))
	require.Contains(t, proxy.Asked(), "panel.example:8443")

	token := with(m.asUser(m.cloud()), data{"iam_url": "https://iam.example"})
	refused(502, "config/token", token, "IAM could not be reached", "correct iam_url, or set iam_tls_server_name")
	token["iam_tls_server_name"] = "localhost"
	m.must("config/token", token)
	m.must("roles/cache", with(m.account("app"), data{"connection": "token"}))
	require.NoError(t, m.login(m.account("app"), m.creds("cache")["password"]))
}

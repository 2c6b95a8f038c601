package plesk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestPacketMatchesDocs(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	change := s.change(t)
	change.Target.Settings = provider.Settings{fieldLogin: `user<&"'>2`}
	change.NewPassword = `Ab1<&>]]>x`
	open(t, s.connection()).Change(t.Context(), change)

	require.Len(t, s.Sent(), 1)
	sent := s.Sent()[0]
	require.Equal(t, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<packet><server><set-admin-alias>`+
		`<filter><login>user&lt;&amp;&#34;&#39;&gt;2</login></filter>`+
		`<data><password>Ab1&lt;&amp;&gt;]]&gt;x</password></data>`+
		`</set-admin-alias></server></packet>`, sent.Body)
	require.Equal(t, "POST", sent.Method)
	require.Equal(t, "/enterprise/control/agent.php", sent.RequestURI)
	require.Equal(t, "text/xml", sent.Header.Get("Content-Type"))
	require.Equal(t, int64(len(sent.Body)), sent.ContentLength, "Plesk does not support chunked requests")
	require.Empty(t, sent.TransferEncoding)
	require.Equal(t, "vault-plugin-secrets-hosting", sent.UserAgent())
}

func TestCredentialFormsSetTheirHeaders(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	connection := s.connection()
	open(t, connection).Check(t.Context())
	connection.Settings = provider.Settings{fieldSecretKey: adminKey}
	open(t, connection).Check(t.Context())

	require.Len(t, s.Sent(), 2)
	// The server's net/http canonicalizes what it reads.
	byPassword, byKey := s.Sent()[0].Header, s.Sent()[1].Header
	require.Equal(t, "admin", byPassword.Get("HTTP_AUTH_LOGIN"))
	require.Equal(t, adminPassword, byPassword.Get("HTTP_AUTH_PASSWD"))
	require.Empty(t, byPassword.Values("KEY"))
	require.Equal(t, adminKey, byKey.Get("KEY"))
	require.Empty(t, byKey.Values("HTTP_AUTH_LOGIN"))
	require.Empty(t, byKey.Values("HTTP_AUTH_PASSWD"))
}

func TestHeaderNamesMatchDocs(t *testing.T) {
	header := map[string][]string{}
	(&Client{username: "admin"}).authenticate(header)
	require.Contains(t, header, "HTTP_AUTH_LOGIN")
	require.Contains(t, header, "HTTP_AUTH_PASSWD")
}

// TestPacketsForSchemaCheck captures each packet that the client sends. If PLESK_PACKET_DIR is set, it writes them
// there as request-*.xml, for validation against Plesk's schema agent_input.xsd.
func TestPacketsForSchemaCheck(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	client := open(t, s.connection())
	client.Check(t.Context())
	client.Change(t.Context(), s.change(t))
	special := s.change(t)
	special.Target.Settings = provider.Settings{fieldLogin: `user<&"'>3`}
	special.NewPassword = "Ab1" + printable
	client.Change(t.Context(), special)

	sent := s.Sent()
	require.Len(t, sent, 3)
	for i, name := range []string{"check", "change", "change-special"} {
		require.NotEmpty(t, sent[i].Body)
		if dir := os.Getenv("PLESK_PACKET_DIR"); dir != "" {
			path := filepath.Join(dir, fmt.Sprintf("request-%s.xml", name))
			require.NoError(t, os.WriteFile(path, []byte(sent[i].Body), 0o600))
		}
	}
}

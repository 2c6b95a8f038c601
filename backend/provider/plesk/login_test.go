package plesk

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func protosResult(inner string) string {
	return packet(`<server><get_protos><result>` + inner + `</result></get_protos></server>`)
}

func systemError(code string) string {
	return packet(`<system><status>error</status><errcode>` + code + `</errcode><errtext>` + newPassword + `</errtext></system>`)
}

const protos = `<protos><proto>1.6.9.0</proto><proto>1.6.9.1</proto></protos>`

func (s *server) login(ctx context.Context, login, password string) provider.Proof {
	return Login(ctx, transport.Endpoint{TLS: s.TLS(), Field: transport.LoginField}, s.Listener.Addr().String(), login, password)
}

func TestLoginVerdicts(t *testing.T) {
	const notPlesk = "check the address, any proxy"
	const open = "does not say whether the password is right"
	cannotTell := map[string]struct {
		status int
		body   string
		reason string
	}{
		"1001 of the operation":   {200, protosResult(`<status>error</status><errcode>1001</errcode>`), open},
		"1006":                    {200, systemError("1006"), "not permit this account to use the XML API"},
		"1006 of the operation":   {200, protosResult(`<status>error</status><errcode>1006</errcode>`), "not permit this account to use the XML API"},
		"1010":                    {200, systemError("1010"), "IP address restrictions"},
		"1011":                    {200, systemError("1011"), "the account is disabled"},
		"1012":                    {200, systemError("1012"), "locked the login"},
		"1029":                    {200, systemError("1029"), "found no login in the request"},
		"11003":                   {200, systemError("11003"), open},
		"1013":                    {200, systemError("1013"), open},
		"1023":                    {200, systemError("1023"), open},
		"1023 of the operation":   {200, protosResult(`<status>error</status><errcode>1023</errcode>`), open},
		"no code":                 {200, protosResult(`<status>error</status>`), open},
		"code of another":         {200, aliasResult(`<status>error</status><errcode>1001</errcode>`), "not the Plesk API's answer"},
		"ok of another":           {200, okAlias, "not the Plesk API's answer"},
		"ok without versions":     {200, protosResult(`<status>ok</status>`), "not the Plesk API's answer"},
		"ok of the system":        {200, packet(`<system><status>ok</status>` + protos + `</system>`), "not the Plesk API's answer"},
		"no result":               {200, packet(`<server><get_protos/></server>`), "not the Plesk API's answer"},
		"two results":             {200, packet(`<server><get_protos><result><status>ok</status>` + protos + `</result><result><status>ok</status></result></get_protos></server>`), "not the Plesk API's answer"},
		"HTML":                    {200, `<html><body>1001</body></html>`, "not the Plesk API's answer"},
		"empty":                   {200, "", "not the Plesk API's answer"},
		"HTTP 401":                {401, systemError("1001"), notPlesk},
		"HTTP 403":                {403, "", notPlesk},
		"HTTP 429":                {429, systemError("1001"), "(HTTP 429)"},
		"HTTP 502 with a success": {502, protosResult(`<status>ok</status>` + protos), "(HTTP 502)"},
		"redirect":                {307, "", "(HTTP 307)"},
	}
	for code, m := range inSystem { // every code of the table, and the rest by its own reason
		if m.outcome != provider.Denied && loginReasons[code] == "" {
			cannotTell["system "+code] = struct {
				status int
				body   string
				reason string
			}{200, systemError(code), m.reason + " (" + code + ")"}
			require.NotContains(t, m.reason, "connection's", "the reason is about the server")
		}
	}
	check := func(name string, status int, body, reason string, verdict provider.Verdict) {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, says(status, body))
			proof := s.login(t.Context(), "User2", newPassword)
			require.Equal(t, verdict, proof.Verdict, proof.Reason)
			require.False(t, proof.Unsent)
			require.Contains(t, proof.Reason, reason)
			providertest.RequireSecretFree(t, proof)
			require.Len(t, s.Sent(), 1, "nothing is sent twice")
		})
	}
	for name, test := range cannotTell {
		check(name, test.status, test.body, test.reason, provider.CannotTell)
	}
	check("ok", 200, protosResult(`<status>ok</status>`+protos), "accepted the login", provider.Works)
	check("1001", 200, systemError("1001"), "refused the password", provider.Refused)
}

func TestLoginSendsOneRequestForVersions(t *testing.T) {
	s := newServer(t, says(200, protosResult(`<status>ok</status>`+protos)))
	require.Equal(t, provider.Works, s.login(t.Context(), "User2", newPassword).Verdict)
	require.Len(t, s.Sent(), 1)
	sent := s.Sent()[0]
	require.Equal(t, http.MethodPost, sent.Method)
	require.Equal(t, agentPath, sent.URL.Path)
	require.Equal(t, "User2", sent.Header.Get("HTTP_AUTH_LOGIN"))
	require.Equal(t, newPassword, sent.Header.Get("HTTP_AUTH_PASSWD"))
	require.Empty(t, sent.Header.Get("KEY"))
	require.Equal(t, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<packet><server><get_protos></get_protos></server></packet>`, sent.Body)
}

// The password is not sent to a server that is not trusted, nor one that HTTP would alter.
func TestLoginIsNotSent(t *testing.T) {
	s := newServer(t, says(200, protosResult(`<status>ok</status>`+protos)))
	address := s.Listener.Addr().String()
	for name, test := range map[string]struct {
		tls             provider.TLS
		login, password string
		reason          string
	}{
		"unknown issuer":       {provider.TLS{}, "User2", newPassword, "not trusted; verify_ca_cert must contain"},
		"malformed authority":  {provider.TLS{CACert: "x"}, "User2", newPassword, "verify_ca_cert contains no certificate"},
		"trailing space":       {s.TLS(), "User2", newPassword + " ", "without leading or trailing spaces"},
		"control character":    {s.TLS(), "User2", newPassword + "\nx", "must be printable ASCII"},
		"login with a newline": {s.TLS(), "User2\nKEY: x", newPassword, "must be printable ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			proof := Login(t.Context(), transport.Endpoint{TLS: test.tls, Field: transport.LoginField}, address, test.login, test.password)
			require.Equal(t, provider.CannotTell, proof.Verdict)
			require.True(t, proof.Unsent)
			require.Contains(t, proof.Reason, test.reason)
			require.Contains(t, proof.Reason, "nothing was sent")
			providertest.RequireSecretFree(t, proof)
		})
	}
	require.Empty(t, s.Sent())
}

func TestLoginWithoutAnswerMayHaveBeenSent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	proof := s.login(ctx, "User2", newPassword)
	require.Equal(t, provider.CannotTell, proof.Verdict)
	require.False(t, proof.Unsent)
	require.Contains(t, proof.Reason, "canceled before a response arrived")
}

// No response causes a panic, and a password counts as refused only if Plesk refused the packet with 1001.
func FuzzLogin(f *testing.F) {
	for _, seed := range append(packetSeeds(), protosResult(`<status>ok</status>`+protos), systemError("1001"), protosResult(`<status>error</status><errcode>1001</errcode>`)) {
		f.Add(200, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		proof := loginProof(&transport.Response{Status: status, Body: body})
		if proof.Reason == "" || proof.Unsent {
			t.Fatal("a response without a reason, or not sent")
		}
		if proof.Verdict == provider.Refused && (status != 200 || !strings.Contains(string(body), "1001") || !strings.Contains(string(body), "system")) {
			t.Fatalf("refused by %q", body)
		}
		if proof.Verdict == provider.Works && (status != 200 || !strings.Contains(string(body), "protos") || strings.Contains(string(body), "<system>")) {
			t.Fatalf("works by %q", body)
		}
	})
}

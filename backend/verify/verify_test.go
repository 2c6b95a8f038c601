package verify

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// logins are a login of each kind to an address.
func logins(address string) map[string]Login {
	_, trusted := certificate()
	return map[string]Login{
		"ssh":         (&sshServer{address: address}).login(right),
		"redis":       {Kind: provider.LoginRedis, Address: address, Username: user, Password: right, TLS: trusted},
		"plain redis": {Kind: provider.LoginRedis, Address: address, Username: user, Password: right, Plain: true},
		"plesk":       {Kind: provider.LoginPlesk, Address: address, Username: user, Password: right, TLS: trusted},
	}
}

// Addresses that no mount allows, and those that this mount does not allow, are not even dialed.
func TestLoginsDialAllowedAddressesOnly(t *testing.T) {
	dialed := make(chan struct{}, 100)
	address := serve(t, func(net.Conn) { dialed <- struct{}{} })
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		hosts   provider.Hosts
		address string
		reason  string
	}{
		"metadata service": {provider.Hosts{"*"}, "169.254.169.254:22", "metadata service"},
		"another network":  {provider.Hosts{"192.0.2.0/24"}, address, "allowed_hosts in the mount's settings does not allow the host in verify_address; nothing was sent"},
		"name":             {provider.Hosts{"*.example.com"}, "localhost:" + port, "allowed_hosts in the mount's settings does not allow the host"},
	} {
		for kind, login := range logins(test.address) {
			t.Run(kind+" "+name, func(t *testing.T) {
				notSent(test.reason).require(t, prove(provider.WithHosts(t.Context(), test.hosts), t, login), 0)
			})
		}
	}
	require.Empty(t, dialed)
}

func TestLoginsThatDoNotConnectSayWhatToDo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close()) // nobody listens there now
	for kind, login := range logins(listener.Addr().String()) {
		t.Run(kind+" refused", func(t *testing.T) {
			notSent("the connection was refused; check the port in verify_address").require(t, prove(t.Context(), t, login), 0)
		})
		t.Run(kind+" canceled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			notSent("canceled before a connection was established; nothing was sent").require(t, prove(ctx, t, login), 0)
		})
		t.Run(kind+" out of time", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 0)
			defer cancel()
			notSent("the connection timed out; check verify_address").require(t, prove(ctx, t, login), 0)
		})
		t.Run(kind+" without a password", func(t *testing.T) {
			login.Password = ""
			notSent("there is no password").require(t, prove(t.Context(), t, login), 0)
		})
	}
}

func TestPleskLoginUsesXMLAPI(t *testing.T) {
	answer := ""
	server := providertest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	login := Login{Kind: provider.LoginPlesk, Address: server.Listener.Addr().String(), AddressField: "url", Username: user, Password: right, TLS: server.TLS()}
	for body, expected := range map[string]want{
		`<server><get_protos><result><status>ok</status><protos><proto>1.6.9.1</proto></protos></result></get_protos></server>`: works("accepted the login at the XML API"),
		`<system><status>error</status><errcode>1001</errcode></system>`:                                                        refused("refused the password"),
		`<system><status>error</status><errcode>1012</errcode></system>`:                                                        unanswered("locked the login"),
	} {
		answer = "<packet>" + body + "</packet>"
		before := len(server.Sent())
		expected.require(t, prove(t.Context(), t, login), len(server.Sent())-before)
		require.Equal(t, right, server.Sent()[before].Header.Get("HTTP_AUTH_PASSWD"))
	}
	login.TLS = provider.TLS{}
	proof := prove(t.Context(), t, login)
	notSent("not trusted; ca_cert must contain").require(t, proof, 0)
}

func TestValidateSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		kind   string
		change func(*Login)
		reason string
	}{
		"kind":              {"ssh", func(l *Login) { l.Kind = "telnet" }, "verify must be ssh, redis or plesk"},
		"no kind":           {"ssh", func(l *Login) { l.Kind = "" }, "verify must be ssh, redis or plesk"},
		"webcli":            {"ssh", func(l *Login) { l.Kind = provider.LoginWebCLI }, "verify must be ssh, redis or plesk"},
		"no address":        {"ssh", func(l *Login) { l.Address = "" }, "verify_address must be host:port"},
		"no port":           {"redis", func(l *Login) { l.Address = "server.example" }, "verify_address must be host:port"},
		"URL":               {"redis", func(l *Login) { l.Address = "rediss://server.example:6379" }, "verify_address must be host:port"},
		"named port":        {"ssh", func(l *Login) { l.Address = "server.example:ssh" }, "verify_address must be host:port"},
		"port 0":            {"ssh", func(l *Login) { l.Address = "server.example:0" }, "the port in verify_address must be a number"},
		"metadata":          {"ssh", func(l *Login) { l.Address = "[fd00:ec2::254]:22" }, "metadata service"},
		"field of address":  {"plesk", func(l *Login) { l.Address, l.AddressField = "x", "url" }, "url must be host:port"},
		"no user":           {"redis", func(l *Login) { l.Username = "" }, "no user name"},
		"no host key":       {"ssh", func(l *Login) { l.HostKeys = nil }, "verify_host_key is required"},
		"no certificate":    {"redis", func(l *Login) { l.TLS.CACert = "x" }, "verify_ca_cert contains no certificate"},
		"not a certificate": {"plesk", func(l *Login) { l.TLS.CACert = strings.ReplaceAll(l.TLS.CACert, "CERTIFICATE", "PRIVATE KEY") }, "verify_ca_cert contains a PEM block that is not a certificate"},
		"cut certificate": {"redis", func(l *Login) {
			l.TLS.CACert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		}, "verify_ca_cert contains a certificate that cannot be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			login := logins("127.0.0.1:1")[test.kind]
			require.NoError(t, login.Validate())
			test.change(&login)
			err := login.Validate()
			require.ErrorContains(t, err, test.reason)
			require.NotContains(t, err.Error(), "\n")
			notSent(test.reason).require(t, login.Prove(t.Context()), 0)
		})
	}
}

// No answer causes a panic or a wait, and only the documented ones say anything about the password.
func FuzzRedisAnswer(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-WRONGPASS x\r\n", "-ERR invalid password\r\n", "$2\r\nOK\r\n", "*1\r\n+OK\r\n", "+OK\n", "-ERR wrong number of arguments\r\n", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			_, _ = io.ReadAtLeast(server, make([]byte, 4096), len("*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"))
			_, _ = io.WriteString(server, answer)
		}()
		proof := redisProof(t.Context(), authenticate(&bounded{client, redisLimit}, "x"))
		_ = client.Close()
		line, _, _ := strings.Cut(answer, "\r\n")
		switch {
		case proof.Verdict == provider.Works && line != "+OK":
			t.Fatalf("works by %q", answer)
		case proof.Verdict == provider.Refused && line != "-ERR invalid password" && !strings.HasPrefix(line, "-WRONGPASS"):
			t.Fatalf("refused by %q", answer)
		case proof.Reason == "" || proof.Unsent:
			t.Fatal("an answer without a reason, or to nothing")
		}
	})
}

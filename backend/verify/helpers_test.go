package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// A dependency of the SDK starts this goroutine when it is loaded.
var known = goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, known) }

const (
	user  = "root"
	right = "Test-" + providertest.Canary + "-Passw0rd"
	wrong = "Wrong-" + providertest.Canary + "-Passw0rd"
)

// serve accepts connections on loopback. The test ends only when the client has closed every one of them.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); open.Wait() })
	return listener.Addr().String()
}

// hold keeps a connection open until the client closes it.
func hold(conn net.Conn) {
	buffer := make([]byte, 4096)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}

// prove makes a login, and checks that it leaves nothing behind and shows no secret.
func prove(ctx context.Context, t *testing.T, login Login) provider.Proof {
	t.Helper()
	percent := debug.SetGCPercent(-1) // which would close a forgotten connection
	defer debug.SetGCPercent(percent)
	before := goleak.IgnoreCurrent()
	proof := login.Prove(ctx)
	require.NoError(t, goleak.Find(before, known), "a connection or a goroutine is left")
	requireQuiet(t, login, proof)
	return proof
}

func requireQuiet(t *testing.T, login Login, proof provider.Proof) {
	t.Helper()
	require.NotEmpty(t, proof.Reason)
	providertest.RequireSecretFree(t, login, &login, proof)
	if proof.Verdict != provider.CannotTell {
		require.False(t, proof.Unsent)
	}
}

// want is the expected proof, and how often the server received a password.
type want struct {
	verdict   provider.Verdict
	unsent    bool
	passwords int
	reason    string
}

func (w want) require(t *testing.T, proof provider.Proof, passwords int) {
	t.Helper()
	require.Equal(t, w.verdict, proof.Verdict, proof.Reason)
	require.Equal(t, w.unsent, proof.Unsent, proof.Reason)
	require.Contains(t, proof.Reason, w.reason)
	require.Equal(t, w.passwords, passwords, "passwords received")
}

// signers are one host key of each type.
var signers = sync.OnceValue(func() map[string]ssh.Signer {
	out := map[string]ssh.Signer{}
	add := func(key any, err error) {
		if err != nil {
			panic(err)
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			panic(err)
		}
		out[signer.PublicKey().Type()] = signer
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	add(private, err)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		add(key, err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	add(key, err)
	return out
})

// authorized is a public key in the format of authorized_keys.
func authorized(kind string) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signers()[kind].PublicKey())))
}

func fingerprint(kind string) string { return ssh.FingerprintSHA256(signers()[kind].PublicKey()) }

// sshServer is an SSH server that counts what it receives.
type sshServer struct {
	*ssh.ServerConfig
	address                          string
	connections, passwords, channels atomic.Int32
	// prompts counts the attempts with keyboard-interactive.
	prompts atomic.Int32
}

// newSSH starts a server with an ed25519 key, unless others are given, that accepts the right password with the method
// "password". configure may change that.
func newSSH(t *testing.T, configure func(*sshServer), hostKeys ...ssh.Signer) *sshServer {
	t.Helper()
	s := &sshServer{ServerConfig: &ssh.ServerConfig{}}
	s.PasswordCallback = s.password
	if configure != nil {
		configure(s)
	}
	if len(hostKeys) == 0 {
		hostKeys = []ssh.Signer{signers()[ssh.KeyAlgoED25519]}
	}
	for _, key := range hostKeys {
		s.AddHostKey(key)
	}
	s.address = serve(t, func(conn net.Conn) {
		s.connections.Add(1)
		session, channels, requests, err := ssh.NewServerConn(conn, s.ServerConfig)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for channel := range channels {
			s.channels.Add(1)
			_ = channel.Reject(ssh.Prohibited, "")
		}
		_ = session.Wait()
	})
	return s
}

func (s *sshServer) password(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	s.passwords.Add(1)
	if string(password) != right {
		return nil, errPrompt
	}
	return &ssh.Permissions{}, nil
}

// asks replaces the method "password" by keyboard-interactive with these rounds; an empty one is a message. Every hidden answer
// must be the right password.
func (s *sshServer) asks(rounds ...string) {
	s.PasswordCallback = nil
	s.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		s.prompts.Add(1)
		var failed error
		for _, prompt := range rounds {
			if prompt == "" {
				if _, err := ask("", "a message", nil, nil); err != nil {
					return nil, err
				}
				continue
			}
			answers, err := ask("", "", []string{prompt}, []bool{false})
			if err != nil {
				return nil, err
			}
			if _, err := s.password(nil, []byte(answers[0])); err != nil {
				failed = err
			}
		}
		return nil, failed
	}
}

func (s *sshServer) login(password string, hostKeys ...string) Login {
	if len(hostKeys) == 0 {
		hostKeys = []string{authorized(ssh.KeyAlgoED25519)}
	}
	return Login{Kind: provider.LoginSSH, Address: s.address, Username: user, Password: password, HostKeys: hostKeys}
}

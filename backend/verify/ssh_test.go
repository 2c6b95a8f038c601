package verify

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/backend/provider"
)

func works(reason string) want { return want{provider.Works, false, 1, reason} }

func refused(reason string) want { return want{provider.Refused, false, 1, reason} }

func unanswered(reason string) want { return want{provider.CannotTell, false, 1, reason} }

func notSent(reason string) want { return want{provider.CannotTell, true, 0, reason} }

// partially accepts the right password with partial success.
func (s *sshServer) partially(next ssh.ServerAuthCallbacks) {
	s.PasswordCallback = func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if permissions, err := s.password(meta, password); err != nil {
			return permissions, err
		}
		return nil, &ssh.PartialSuccessError{Next: next}
	}
}

func anyKey(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errPrompt }

func TestSSHVerdicts(t *testing.T) {
	both := func(s *sshServer) {
		s.asks("Password: ")
		s.PasswordCallback = s.password
	}
	asks := func(rounds ...string) func(*sshServer) { return func(s *sshServer) { s.asks(rounds...) } }
	for name, test := range map[string]struct {
		configure func(*sshServer)
		password  string
		want      want
	}{
		"right password":     {nil, right, works("accepted the password")},
		"wrong password":     {nil, wrong, refused("PermitRootLogin prohibit-password")},
		"right, two methods": {both, right, works("accepted the password")},
		"wrong, two methods": {both, wrong, refused("refused the password")},
		"right, with a banner": {func(s *sshServer) {
			s.BannerCallback = func(ssh.ConnMetadata) string { return strings.Repeat("legal ", 1000) }
		}, right, works("")},
		"answer is right":       {asks("Password: "), right, works("accepted the password")},
		"answer is wrong":       {asks("Password: "), wrong, refused("refused the password")},
		"messages around":       {asks("", "", "root's password:", ""), right, works("accepted the password")},
		"prompt with a host":    {asks("Password for root@host:"), wrong, refused("refused the password")},
		"code after the answer": {asks("Password: ", "Verification code: "), right, unanswered("asks for more than the password")},
		"asked again":           {asks("Password: ", "Password: "), wrong, unanswered("asks for more than the password")},
		"prompt for a code":     {asks("Verification code: "), right, notSent("something else than the password; enable PasswordAuthentication")},
		"one-time password":     {asks("One-time password (OATH) for `root': "), right, notSent("something else than the password")},
		"password and code":     {asks("Password & verification code: "), right, notSent("something else than the password")},
		"new password":          {asks("New password: "), right, notSent("something else than the password")},
		"endless messages":      {asks(strings.Split(strings.Repeat(",", 100), ",")...), right, notSent("something else than the password")},
		"no prompt":             {asks(""), right, notSent("without a password")},
		"two prompts": {func(s *sshServer) {
			s.asks()
			s.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				_, err := ask("", "", []string{"Password: ", "Password: "}, []bool{false, false})
				return nil, err
			}
		}, right, notSent("something else than the password")},
		"visible prompt": {func(s *sshServer) {
			s.asks()
			s.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				_, err := ask("", "", []string{"Password: "}, []bool{true})
				return nil, err
			}
		}, right, notSent("something else than the password")},
		"prompts fail at once": {func(s *sshServer) {
			s.asks()
			s.KeyboardInteractiveCallback = func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				return nil, errPrompt
			}
		}, right, notSent("ended the login before it asked for the password")},
		"message, then failure": {func(s *sshServer) {
			s.asks()
			s.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				_, _ = ask("", "closed for maintenance", nil, nil)
				return nil, errPrompt
			}
		}, right, notSent("offers no login with a password")},
		"keys only":                 {func(s *sshServer) { s.PasswordCallback, s.PublicKeyCallback = nil, anyKey }, right, notSent("enable PasswordAuthentication")},
		"no login required":         {func(s *sshServer) { s.NoClientAuth = true }, right, notSent("without a password, so the login proves nothing")},
		"partial, then a key":       {func(s *sshServer) { s.partially(ssh.ServerAuthCallbacks{PublicKeyCallback: anyKey}) }, right, works("requires another authentication method")},
		"partial, then a password":  {func(s *sshServer) { s.partially(ssh.ServerAuthCallbacks{PasswordCallback: s.password}) }, right, works("requires another authentication method")},
		"wrong, partial otherwise":  {func(s *sshServer) { s.partially(ssh.ServerAuthCallbacks{PublicKeyCallback: anyKey}) }, wrong, refused("refused the password")},
		"answer is partial success": {partialAnswer, right, works("requires another authentication method")},
		"too many failures":         {func(s *sshServer) { s.MaxAuthTries = 1 }, wrong, unanswered("closed the connection instead of answering")},
		"no common key exchange":    {func(s *sshServer) { s.KeyExchanges = []string{ssh.InsecureKeyExchangeDH14SHA1} }, right, notSent("no algorithms in common")},
		"no common cipher":          {func(s *sshServer) { s.Ciphers = []string{ssh.InsecureCipherAES128CBC} }, right, notSent("no algorithms in common")},
		"huge banner": {func(s *sshServer) {
			s.BannerCallback = func(ssh.ConnMetadata) string { return strings.Repeat("x", 2*sshLimit) }
		}, right, notSent("ended the login before it asked for the password")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSSH(t, test.configure)
			proof := prove(t.Context(), t, s.login(test.password))
			test.want.require(t, proof, int(s.passwords.Load()))
			require.LessOrEqual(t, s.connections.Load(), int32(2))
			require.Zero(t, s.channels.Load(), "nothing is run")
			if s.PasswordCallback != nil {
				require.Zero(t, s.prompts.Load(), "no second method after an answer")
				require.EqualValues(t, 1, s.connections.Load())
			}
		})
	}
}

func partialAnswer(s *sshServer) {
	s.asks("Password: ")
	whole := s.KeyboardInteractiveCallback
	s.KeyboardInteractiveCallback = func(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		if permissions, err := whole(meta, ask); err != nil {
			return permissions, err
		}
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PublicKeyCallback: anyKey}}
	}
}

// The server breaks off at a point that x/crypto/ssh does not offer, so the test closes the connection below it.
func TestSSHDisconnections(t *testing.T) {
	for name, test := range map[string]struct {
		when func(s *sshServer, end func())
		want want
	}{
		"before the login": {func(s *sshServer, end func()) {
			s.BannerCallback = func(ssh.ConnMetadata) string { end(); return "" }
		}, notSent("ended the login before it asked for the password, as it does if there are too many")},
		"instead of an answer": {func(s *sshServer, end func()) {
			s.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
				s.passwords.Add(1)
				end()
				return &ssh.Permissions{}, nil
			}
		}, unanswered("closed the connection instead of answering the password")},
	} {
		t.Run(name, func(t *testing.T) {
			config := &sshServer{ServerConfig: &ssh.ServerConfig{}}
			address := serve(t, func(conn net.Conn) {
				mine := *config.ServerConfig
				mine.PasswordCallback = config.password
				s := &sshServer{ServerConfig: &mine}
				test.when(s, func() { _ = conn.Close() })
				mine.AddHostKey(signers()[ssh.KeyAlgoED25519])
				_, _, _, _ = ssh.NewServerConn(conn, &mine)
				config.passwords.Add(s.passwords.Load())
			})
			login := config.login(right)
			login.Address = address
			proof := prove(t.Context(), t, login)
			test.want.require(t, proof, int(config.passwords.Load()))
		})
	}
}

func TestSSHServersThatAreNone(t *testing.T) {
	const handshake = "did not complete an SSH handshake; check that verify_address leads to an SSH server, which Windows does not have"
	for name, handle := range map[string]func(net.Conn){
		"closes":               func(net.Conn) {},
		"too many":             func(c net.Conn) { _, _ = io.WriteString(c, "Exceeded MaxStartups\r\n") },
		"HTTP":                 func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"endless line":         func(c net.Conn) { flood(c, strings.Repeat("x", 1024)) },
		"endless greeting":     func(c net.Conn) { flood(c, "welcome\r\n") },
		"garbage":              func(c net.Conn) { flood(c, "SSH-2.0-x\r\n"+strings.Repeat("\xff\x00\x17", 1000)) },
		"huge packet":          func(c net.Conn) { flood(c, "SSH-2.0-x\r\n\x7f\xff\xff\xff\x04\x14") },
		"closes after version": func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			login := (&sshServer{}).login(right)
			login.Address = serve(t, handle)
			notSent(handshake).require(t, prove(t.Context(), t, login), 0)
		})
	}
}

// flood writes until the client has had enough.
func flood(conn net.Conn, text string) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

func TestSSHEndsWithItsContext(t *testing.T) {
	t.Run("canceled in silence", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		login := (&sshServer{}).login(right)
		login.Address = serve(t, func(c net.Conn) { cancel(); hold(c) })
		notSent("canceled before").require(t, prove(ctx, t, login), 0)
	})
	t.Run("silence", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		login := (&sshServer{}).login(right)
		login.Address = serve(t, hold)
		notSent("in time; check that verify_address").require(t, prove(ctx, t, login), 0)
	})
	for name, test := range map[string]struct {
		end    func(context.Context) (context.Context, context.CancelFunc)
		reason string
	}{
		"canceled": {context.WithCancel, "canceled before the SSH server answered"},
		"out of time": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, "did not answer the password in time"},
	} {
		t.Run(name+" at the answer", func(t *testing.T) {
			ctx, cancel := test.end(t.Context())
			defer cancel()
			over := make(chan struct{})
			s := newSSH(t, func(s *sshServer) {
				s.PasswordCallback = func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
					if name == "canceled" {
						cancel()
					}
					<-over
					return s.password(meta, password)
				}
			})
			login := s.login(right)
			proof := login.Prove(ctx)
			close(over)
			requireQuiet(t, login, proof)
			want{provider.CannotTell, false, 0, test.reason}.require(t, proof, 0)
		})
	}
}

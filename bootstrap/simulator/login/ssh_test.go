package login

import (
	"crypto/ed25519"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = "Gk8#Wq2~Zt5!Lm3x"

// server is an SSH server that counts the passwords that it receives.
type server struct {
	given atomic.Int32
	asked atomic.Int32 // how often keyboard-interactive was started
	ask   []string     // prompts, one per round
	more  bool         // require more than the right password
}

func (s *server) check(password string) (*ssh.Permissions, error) {
	s.given.Add(1)
	switch {
	case password != good:
		return nil, errors.New("denied")
	case s.more:
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: s.askOne}}
	}
	return &ssh.Permissions{}, nil
}

func (s *server) askOne(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	s.asked.Add(1)
	last := ""
	for _, question := range s.ask {
		answers, err := ask("", "", []string{question}, []bool{false})
		if err != nil {
			return nil, err
		}
		last = answers[0]
	}
	if _, err := ask("", "done", nil, nil); err != nil { // as PAM does
		return nil, err
	}
	return s.check(last)
}

// listen serves logins, one at a time.
func (s *server) listen(t *testing.T, password, interactive bool) string {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{}
	config.AddHostKey(signer)
	if password {
		config.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) { return s.check(string(password)) }
	}
	if interactive {
		config.KeyboardInteractiveCallback = s.askOne
	}
	if !password && !interactive {
		config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("denied") }
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if sshConn, channels, requests, err := ssh.NewServerConn(conn, config); err == nil {
				go ssh.DiscardRequests(requests)
				for range channels {
				}
				_ = sshConn.Close()
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestSSHSendsThePasswordOnce(t *testing.T) {
	question := []string{"Password: "}
	for _, c := range []struct {
		name                  string
		password, interactive bool
		server                *server
		given                 string
		want                  string // "": the login succeeds
		sent                  int32
	}{
		{name: "password", password: true, given: good, sent: 1},
		{name: "password, wrong", password: true, given: "wrong", want: "login refused: password", sent: 1},
		{name: "both", password: true, interactive: true, server: &server{ask: question}, given: good, sent: 1},
		{name: "both, wrong", password: true, interactive: true, server: &server{ask: question}, given: "wrong", want: "login refused: password", sent: 1},
		{name: "question", interactive: true, server: &server{ask: question}, given: good, sent: 1},
		{name: "question, wrong", interactive: true, server: &server{ask: question}, given: "wrong", want: "login refused: password", sent: 1},
		{name: "two questions", interactive: true, server: &server{ask: []string{"Password: ", "Code: "}}, given: good, want: "more than a password"},
		{name: "password, then a question", password: true, server: &server{ask: question, more: true}, given: good, want: "more than a password", sent: 1},
		{name: "keys only", given: good, want: "unable to authenticate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.server == nil {
				c.server = &server{}
			}
			err := SSH(t.Context(), c.server.listen(t, c.password, c.interactive), "root", c.given, "")
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
				assert.NotContains(t, err.Error(), c.given+" ")
			}
			assert.Equal(t, c.sent, c.server.given.Load())
			if c.password && !c.server.more {
				assert.Zero(t, c.server.asked.Load(), "no other method is started: it could count as an attempt")
			}
		})
	}
}

func TestMissingSSHServerIsNoRefusal(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	err = SSH(t.Context(), address, "root", good, "")
	require.ErrorContains(t, err, "connecting to the SSH server")
	var refused *RefusedError
	require.NotErrorAs(t, err, &refused)
}

package verify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// certificate is a certificate for 127.0.0.1 and example.com, and the settings that trust it.
var certificate = sync.OnceValues(func() (tls.Certificate, provider.TLS) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.TLS.Certificates[0], provider.TLS{CACert: string(trusted)}
})

// redisServer answers each command with the next of its answers, and records the commands.
type redisServer struct {
	mu       sync.Mutex
	answers  []string
	commands [][]string
	address  string
}

func newRedis(t *testing.T, plain bool, answers ...string) *redisServer {
	t.Helper()
	s := &redisServer{answers: answers}
	s.address = serve(t, func(conn net.Conn) {
		if !plain {
			own, _ := certificate()
			conn = tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}})
		}
		reader := bufio.NewReader(conn)
		for {
			command, err := readCommand(reader)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.commands = append(s.commands, command)
			answer := ""
			if len(s.answers) > 0 {
				answer, s.answers = s.answers[0], s.answers[1:]
			}
			s.mu.Unlock()
			switch answer {
			case "": // silence
			case "close":
				return
			case "flood":
				flood(conn, "+"+strings.Repeat("x", 4096))
			default:
				_, _ = io.WriteString(conn, answer)
			}
		}
	})
	return s
}

func readCommand(r *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		var length int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &length); err != nil {
			return nil, err
		}
		text := make([]byte, length+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		out[i] = string(text[:length])
	}
	return out, nil
}

func (s *redisServer) received() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands
}

func (s *redisServer) login() Login {
	_, trusted := certificate()
	return Login{Kind: provider.LoginRedis, Address: s.address, Username: user, Password: right, TLS: trusted}
}

var oneString = []string{"AUTH", user + ":" + right}

func TestRedisVerdicts(t *testing.T) {
	const notRedis = "closed the connection or did not answer as Redis does"
	for name, test := range map[string]struct {
		answer string
		want   want
	}{
		"OK":                {"+OK\r\n", works("Redis accepted the login")},
		"Redis 6":           {"-WRONGPASS invalid username-password pair or user is disabled.\r\n", refused("refused the password")},
		"bare code":         {"-WRONGPASS\r\n", refused("refused the password")},
		"Redis 4":           {"-ERR invalid password\r\n", refused("refused the password")},
		"no password, old":  {"-ERR Client sent AUTH, but no password is set\r\n", unanswered("requires no password, so a login proves nothing")},
		"no password, new":  {"-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n", unanswered("requires no password")},
		"loading":           {"-LOADING Redis is loading the dataset in memory\r\n", unanswered("loading its data")},
		"too many clients":  {"-ERR max number of clients reached\r\n", unanswered("too many clients")},
		"protected mode":    {"-DENIED Redis is running in protected mode because\r\n", unanswered("protected mode")},
		"not logged in":     {"-NOAUTH Authentication required.\r\n", unanswered("does not say whether the password is right")},
		"echo":              {"-ERR unknown command `AUTH`, with args beginning with: `" + user + ":" + right + "`\r\n", unanswered("does not say whether")},
		"locked":            {"-ERR account locked, invalid password\r\n", unanswered("does not say whether")},
		"similar code":      {"-WRONGPASSWORD\r\n", unanswered("does not say whether")},
		"similar text":      {"-ERR invalid password format\r\n", unanswered("does not say whether")},
		"empty error":       {"-\r\n", unanswered("does not say whether")},
		"other status":      {"+PONG\r\n", unanswered(notRedis)},
		"status with more":  {"+OK " + right + "\r\n", unanswered(notRedis)},
		"lower case":        {"+ok\r\n", unanswered(notRedis)},
		"no line end":       {"+OK\n", unanswered(notRedis)},
		"bulk OK":           {"$2\r\nOK\r\n", unanswered(notRedis)},
		"huge bulk":         {"$999999999999\r\n", unanswered(notRedis)},
		"overflowing array": {"*9223372036854775807\r\n", unanswered(notRedis)},
		"nested arrays":     {strings.Repeat("*1\r\n", 1000), unanswered(notRedis)},
		"null":              {"_\r\n", unanswered(notRedis)},
		"HTTP":              {"HTTP/1.1 400 Bad Request\r\n\r\n", unanswered(notRedis)},
		"closed":            {"close", unanswered(notRedis)},
		"endless line":      {"flood", unanswered(notRedis)},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", plain ", plain), func(t *testing.T) {
				s := newRedis(t, plain, test.answer)
				login := s.login()
				login.Plain = plain
				proof := prove(t.Context(), t, login)
				test.want.require(t, proof, len(s.received()))
				require.Equal(t, [][]string{oneString}, s.received(), "one AUTH and nothing else")
			})
		}
	}
}

// The form with two arguments is tried only if the server did not look at the first one.
func TestRedisTriesSecondFormIfFirstIsNotChecked(t *testing.T) {
	const arity = "-ERR wrong number of arguments for 'auth' command\r\n"
	for name, test := range map[string]struct {
		answers []string
		want    want
	}{
		"right":   {[]string{arity, "+OK\r\n"}, want{provider.Works, false, 2, "accepted"}},
		"wrong":   {[]string{arity, "-WRONGPASS invalid username-password pair\r\n"}, want{provider.Refused, false, 2, "refused"}},
		"neither": {[]string{arity, arity}, want{provider.CannotTell, false, 2, "neither form of AUTH"}},
		// What is sent ahead of the second command is not its answer.
		"ahead": {[]string{arity + "+OK\r\n", "-WRONGPASS x\r\n"}, want{provider.Refused, false, 2, "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRedis(t, false, test.answers...)
			proof := prove(t.Context(), t, s.login())
			test.want.require(t, proof, len(s.received()))
			require.Equal(t, [][]string{oneString, {"AUTH", user, right}}, s.received())
		})
	}
}

func TestRedisEndsWithItsContext(t *testing.T) {
	t.Run("out of time", func(t *testing.T) {
		s := newRedis(t, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		unanswered("did not answer the login in time").require(t, prove(ctx, t, s.login()), len(s.received()))
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		login := (&redisServer{}).login()
		login.Plain = true
		login.Address = serve(t, func(conn net.Conn) {
			_, _ = readCommand(bufio.NewReader(conn))
			cancel()
			hold(conn)
		})
		want{provider.CannotTell, false, 0, "canceled before Redis answered"}.require(t, prove(ctx, t, login), 0)
	})
}

// Redis without TLS takes the handshake for the beginning of a command.
func TestRedisWithoutTLSIsRecognizedBySilence(t *testing.T) {
	for name, handle := range map[string]func(net.Conn){"silent": hold, "closes": func(net.Conn) {}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			login := (&redisServer{address: serve(t, handle)}).login()
			notSent("did not complete the TLS handshake; check the port in verify_address, or set verify_tls=false").require(t, prove(ctx, t, login), 0)
		})
	}
}

func TestRedisServerIsAuthenticatedFirst(t *testing.T) {
	for name, test := range map[string]struct {
		plain  bool
		change func(*Login)
		want   want
	}{
		"unknown issuer":      {false, func(l *Login) { l.TLS.CACert = "" }, notSent("not trusted; verify_ca_cert must contain")},
		"other name":          {false, func(l *Login) { l.TLS.ServerName = "redis.example" }, notSent("is for another name; correct verify_address; nothing was sent")},
		"no TLS":              {true, nil, notSent("does not speak TLS on this port; check the port in verify_address, or set verify_tls=false if it has no TLS")},
		"unchecked by choice": {false, func(l *Login) { l.TLS = provider.TLS{Insecure: true} }, works("")},
		"name by choice":      {false, func(l *Login) { l.TLS.ServerName = "example.com" }, works("")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRedis(t, test.plain, "+OK\r\n")
			if test.plain {
				s.address = serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "-ERR unknown command\r\n"); hold(conn) })
			}
			login := s.login()
			if test.change != nil {
				test.change(&login)
			}
			test.want.require(t, prove(t.Context(), t, login), len(s.received()))
		})
	}
}

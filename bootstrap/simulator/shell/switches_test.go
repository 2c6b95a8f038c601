package shell

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

func (b *bench) flip(t *testing.T, name, value string) {
	t.Helper()
	require.NoError(t, b.doors.Switch(name, json.RawMessage(value)))
}

// dial logs in as a client that is counted.
func (b *bench) dial(t *testing.T, methods ...gossh.AuthMethod) error {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	config := &gossh.ClientConfig{User: "root", Auth: methods, HostKeyCallback: gossh.InsecureIgnoreHostKey()}
	client, channels, requests, err := gossh.NewClientConn(conn, b.address, config)
	if err == nil {
		_ = gossh.NewClient(client, channels, requests).Close()
	}
	return err
}

func questions(password string) gossh.AuthMethod {
	return gossh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range answers {
			answers[i] = password
		}
		return answers, nil
	})
}

func TestMethodsOfferedAreSwitched(t *testing.T) {
	withEachServer(t, func(t *testing.T, b *bench) {
		for _, c := range []struct {
			methods             string
			password, questions bool
		}{
			{methodPassword, true, false},
			{methodQuestions, false, true},
			{methodBoth, true, true},
			{methodKeys, false, false},
		} {
			b.flip(t, "auth_methods", `"`+c.methods+`"`)
			for method, offered := range map[string]bool{"password": c.password, "keyboard-interactive": c.questions} {
				ask := gossh.Password
				if method == "keyboard-interactive" {
					ask = questions
				}
				before := len(b.doors.Host("h1").Fail2Ban.Times)
				err := b.dial(t, ask(good))
				if !offered {
					require.ErrorContains(t, err, "no supported methods remain", c.methods)
					require.NotContains(t, err.Error(), method, c.methods)
					require.Error(t, b.dial(t, ask("wrong")))
					require.Len(t, b.doors.Host("h1").Fail2Ban.Times, before)
					continue
				}
				require.NoError(t, err, c.methods)
				require.ErrorContains(t, b.dial(t, ask("wrong")), "attempted methods [none "+method+"]", c.methods)
				require.Eventually(t, func() bool { return len(b.doors.Host("h1").Fail2Ban.Times) == before+1 }, 20*time.Second, time.Millisecond)
			}
			require.Equal(t, c.password || c.questions, login.SSH(t.Context(), b.address, "root", good, b.key) == nil)
		}
	})
}

func TestProhibitPasswordRefusesRoot(t *testing.T) {
	withEachServer(t, func(t *testing.T, b *bench) {
		b.flip(t, "permit_root_login", `"prohibit-password"`)
		for n, method := range []string{methodPassword, methodQuestions} {
			b.flip(t, "auth_methods", `"`+method+`"`)
			require.ErrorContains(t, b.dial(t, gossh.Password(good), questions(good)), "attempted methods [none "+method+"]")
			require.Equal(t, map[string]int{"refused": n + 1}, b.results(t, n+1))
		}
		b.flip(t, "permit_root_login", `{"h1":"yes"}`)
		require.NoError(t, b.dial(t, questions(good)))
	})
}

func TestHostKeyChangesBySwitchOnly(t *testing.T) {
	withEachServer(t, func(t *testing.T, b *bench) {
		key, err := gossh.ParsePublicKey(mustKey(t, b.key).Marshal())
		require.NoError(t, err)
		require.Equal(t, gossh.FingerprintSHA256(key), b.doors.Host("h1").Fingerprint)
		b.door.Shut()
		require.NoError(t, b.door.Open(t.Context()))
		require.NoError(t, login.SSH(t.Context(), b.address, "root", good, b.key))
		b.flip(t, "host_key", `"new"`)
		require.ErrorContains(t, login.SSH(t.Context(), b.address, "root", good, b.key), "host key mismatch")
		require.NotEqual(t, b.key, b.doors.Host("h1").HostKey)
		require.NotEqual(t, gossh.FingerprintSHA256(key), b.doors.Host("h1").Fingerprint)
		require.NoError(t, login.SSH(t.Context(), b.address, "root", good, b.doors.Host("h1").HostKey))
	})
}

func mustKey(t *testing.T, line string) gossh.PublicKey {
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
	require.NoError(t, err)
	return key
}

// hangs reports whether a new connection gets no data for a moment.
func (b *bench) hangs(t *testing.T) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("SSH-2.0-test\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	if err != nil {
		require.ErrorAs(t, err, &timeout, "the connection is closed")
		require.True(t, timeout.Timeout())
	}
	return err != nil
}

func TestFiveRefusedLoginsBanTheSender(t *testing.T) {
	withEachServer(t, func(t *testing.T, b *bench) {
		for n := range maxRefused {
			require.Error(t, b.dial(t, gossh.Password("wrong")))
			require.Eventually(t, func() bool { return len(b.doors.Host("h1").Fail2Ban.Times) == n+1 }, 20*time.Second, time.Millisecond)
			if n == 1 {
				b.lab.Clock.Advance(599 * time.Second)
			}
		}
		require.True(t, b.hangs(t), "the sender is banned, with the right password too")
		b.lab.Clock.Advance(10 * time.Minute)
		require.NoError(t, b.dial(t, gossh.Password(good)))
		refusals := b.doors.Host("h1").Fail2Ban
		require.Equal(t, 1, refusals.Bans)
		require.Equal(t, 3, refusals.MostWithin(9*time.Minute))

		b.flip(t, "fail2ban", "0")
		for range maxRefused + 1 {
			require.Error(t, b.dial(t, gossh.Password("wrong")))
		}
		require.NoError(t, b.dial(t, gossh.Password(good)))
		require.Eventually(t, func() bool { return len(b.doors.Host("h1").Fail2Ban.Times) == maxRefused+1 }, 20*time.Second, time.Millisecond)
	})
}

func TestHangingServerNeverAnswers(t *testing.T) {
	withEachServer(t, func(t *testing.T, b *bench) {
		b.flip(t, "hang", "true")
		require.True(t, b.hangs(t))
		b.flip(t, "hang", "false")
		require.NoError(t, b.dial(t, gossh.Password(good)))
		require.Equal(t, map[string]int{"ok": 1}, b.results(t, 1))
	})
}

func TestSwitchesApplyToNamedHosts(t *testing.T) {
	b := open(t)
	door, err := lab.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, b.doors.Serve(b.lab, Host{ID: "h2"}, door))
	b.flip(t, "hang", `{"h2":true}`)
	require.NoError(t, b.dial(t, gossh.Password(good)))
	require.True(t, b.doors.port("h2").settings().hang)
	b.flip(t, "fail2ban", "1")
	require.Error(t, b.dial(t, gossh.Password("wrong")))
	require.True(t, b.hangs(t))
	states, ok := b.doors.State().(map[string]HostState)
	require.True(t, ok)
	assert.Equal(t, 1, states["h1"].Fail2Ban.Bans)
	assert.Zero(t, states["h2"].Fail2Ban.Bans)
	assert.NotEqual(t, states["h1"].HostKey, states["h2"].HostKey)
	assert.Zero(t, b.doors.Host("h3"))

	for name, value := range map[string]string{
		"auth_methods": `"none"`, "permit_root_login": `"no"`, "host_key": `{"h1":"old"}`, "hang": `{"h3":true}`, "fail2ban": "null1", "port": "1",
	} {
		require.Error(t, b.doors.Switch(name, json.RawMessage(value)), name)
	}
	require.ErrorContains(t, b.doors.SetPassword(t.Context(), "h1", good), "use that system")
}

func TestUnusableSSHDIsReported(t *testing.T) {
	require.ErrorContains(t, CheckSSHD(t.Context(), "sshd"), "an absolute path is needed")
	require.Error(t, CheckSSHD(t.Context(), "/nonexistent/sshd"))
}

package shell

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = "Gk8#Wq2~Zt5!Lm3x"

type bench struct {
	down    atomic.Bool
	lab     *lab.Lab
	doors   *Doors
	door    *lab.Door
	address string
	key     string
}

func open(t *testing.T) *bench { return openWith(t, "") }

// openWith opens a port that sshd serves, or the simulated server if it is "".
func openWith(t *testing.T, sshd string) *bench {
	b := &bench{lab: lab.New(nil), doors: &Doors{SSHD: sshd}}
	t.Cleanup(b.lab.Close)
	t.Cleanup(b.doors.Close)
	var err error
	b.door, err = lab.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	b.address = b.door.Addr().String()
	host := Host{ID: "h1", Name: "web1", Admit: func(user, password string) bool { return user == "root" && password == good },
		RootPassword: func() string { return good }, Up: func() bool { return !b.down.Load() }}
	require.NoError(t, b.doors.Serve(b.lab, host, b.door))
	b.key = b.doors.Host("h1").HostKey
	return b
}

// withEachServer runs a test with the simulated server and, where it can be used, with sshd.
func withEachServer(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Run("simulated", func(t *testing.T) { test(t, open(t)) })
	sshd, err := FindSSHD(t.Context())
	if err != nil {
		t.Logf("tested with the simulated server only: %v", err)
		return
	}
	t.Run("sshd", func(t *testing.T) { test(t, openWith(t, sshd)) })
}

func TestLoginNeedsTheRightPassword(t *testing.T) { withEachServer(t, testLogins) }

func testLogins(t *testing.T, b *bench) {
	var refused *login.RefusedError
	require.NoError(t, login.SSH(t.Context(), b.address, "root", good, ""))
	require.NoError(t, login.SSH(t.Context(), b.address, "root", good, b.key))
	for _, wrong := range [][2]string{{"root", "wrong"}, {"root", ""}, {"admin", good}} {
		require.ErrorAs(t, login.SSH(t.Context(), b.address, wrong[0], wrong[1], b.key), &refused)
		assert.Equal(t, "password", refused.Code)
	}
	refusals := 3
	if b.doors.SSHD != "" { // logs an empty password as the method none
		refusals--
	}
	assert.Equal(t, map[string]int{"ok": 2, "refused": refusals}, b.results(t, 2+refusals), "one attempt per login")
	assert.Empty(t, b.doors.Host("h1").Fail2Ban.Times, "a test that looks is not counted")
}

// results returns how often the journal has each result, once it has n. sshd may log a login after its answer.
func (b *bench) results(t *testing.T, n int) map[string]int {
	var entries []lab.Entry
	require.Eventually(t, func() bool {
		entries = b.lab.Journal.List(DoorName, "h1")
		return len(entries) >= n
	}, 20*time.Second, time.Millisecond)
	results := map[string]int{}
	for _, e := range entries {
		assert.Equal(t, "login", e.Operation)
		results[e.Result]++
	}
	return results
}

func TestServerWithAnotherKeyGetsNoPassword(t *testing.T) {
	b, other := open(t), open(t)
	err := login.SSH(t.Context(), b.address, "root", good, other.key)
	require.ErrorContains(t, err, "host key mismatch")
	assert.Empty(t, b.lab.Journal.List("", ""))
}

func TestSessionRunsNoCommand(t *testing.T) {
	b := open(t)
	config := &gossh.ClientConfig{User: "root", Auth: []gossh.AuthMethod{gossh.Password(good)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second}
	client, err := gossh.Dial("tcp", b.address, config)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	require.NoError(t, err)
	out, err := session.Output("touch /tmp/never")
	require.NoError(t, err)
	assert.Equal(t, "web1: logged in as root\n", string(out))
	session, err = client.NewSession()
	require.NoError(t, err)
	require.Error(t, session.RequestSubsystem("sftp"))
	_, err = client.Dial("tcp", b.address)
	require.Error(t, err, "forwarding is not supported")
}

// Uses OpenSSH's client if it is installed.
func TestOpenSSHLogsIn(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Log("ssh is not installed: tested with the Go client only")
		return
	}
	withEachServer(t, testOpenSSH)
}

func testOpenSSH(t *testing.T, b *bench) {
	_, port, err := net.SplitHostPort(b.address)
	require.NoError(t, err)
	directory := t.TempDir()
	ask, known := filepath.Join(directory, "ask"), filepath.Join(directory, "known_hosts")
	require.NoError(t, os.WriteFile(ask, []byte("#!/bin/sh\necho \"$ANSWER\"\n"), 0o700))
	require.NoError(t, os.WriteFile(known, []byte("[127.0.0.1]:"+port+" "+b.key+"\n"), 0o600))
	log := func(password string) (string, error) {
		command := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-p", port, "-o", "UserKnownHostsFile="+known,
			"-o", "StrictHostKeyChecking=yes", "-o", "NumberOfPasswordPrompts=1", "root@127.0.0.1", "uptime")
		command.Env = append(os.Environ(), "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "ANSWER="+password)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	out, err := log(good)
	assert.NotContains(t, out, "Permission denied")
	if b.doors.SSHD == "" { // sshd refuses to run the command
		require.NoError(t, err, out)
		assert.Contains(t, out, "web1: logged in as root")
	}
	out, err = log("wrong")
	require.Error(t, err)
	assert.Regexp(t, `Permission denied \(.*password.*\)`, out)
	assert.Equal(t, map[string]int{"ok": 1, "refused": 1}, b.results(t, 2))
	require.Eventually(t, func() bool { return len(b.doors.Host("h1").Fail2Ban.Times) == 1 }, 20*time.Second, time.Millisecond)
}

func TestPortFaultsAreNotRefusals(t *testing.T) { withEachServer(t, testFaults) }

func testFaults(t *testing.T, b *bench) {
	for _, kind := range []lab.Kind{lab.Busy, lab.Cut} {
		require.NoError(t, b.lab.Faults.Set(lab.Fault{System: DoorName, Target: "h1", Kind: kind, Count: 1, Operations: []string{lab.OpLogin}}))
		err := login.SSH(t.Context(), b.address, "root", good, "")
		require.Error(t, err)
		var refused *login.RefusedError
		require.NotErrorAs(t, err, &refused)
		require.NoError(t, login.SSH(t.Context(), b.address, "root", good, ""))
	}
	b.down.Store(true)
	var refused *login.RefusedError
	require.NotErrorAs(t, login.SSH(t.Context(), b.address, "root", good, ""), &refused)
	require.Error(t, login.SSH(t.Context(), b.address, "root", good, ""))
	b.down.Store(false)
	b.door.Shut()
	require.ErrorContains(t, login.SSH(t.Context(), b.address, "root", good, ""), "refused")
	require.NoError(t, b.door.Open(t.Context()))
	require.NoError(t, login.SSH(t.Context(), b.address, "root", good, b.key), "the host key is the same")
}

func TestTooManyConnectionsAreTurnedAway(t *testing.T) {
	b := open(t)
	for range maxConnections {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		version := make([]byte, 4)
		_, err = conn.Read(version) // the server has accepted it
		require.NoError(t, err)
	}
	require.Error(t, login.SSH(t.Context(), b.address, "root", good, ""))
}

func TestClosingEndsSessions(t *testing.T) {
	b := open(t)
	config := &gossh.ClientConfig{User: "root", Auth: []gossh.AuthMethod{gossh.Password(good)}, HostKeyCallback: gossh.InsecureIgnoreHostKey()}
	client, err := gossh.Dial("tcp", b.address, config)
	require.NoError(t, err)
	session, err := client.NewSession()
	require.NoError(t, err)
	b.doors.Close()
	require.Error(t, client.Wait())
	require.Error(t, session.Run("x"))
	require.ErrorContains(t, b.doors.Serve(b.lab, Host{}, b.door), "closed")
}

func TestLoginEndsWithItsContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // never answers
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, login.SSH(ctx, listener.Addr().String(), "root", good, ""), context.DeadlineExceeded)
}

func TestHostKeyIsAKnownHostsLine(t *testing.T) {
	b := open(t)
	host := "[127.0.0.1]" + strings.TrimPrefix(b.address, "127.0.0.1")
	for _, line := range []string{b.key, b.key + " a comment", host + " " + b.key, b.key + "\n"} {
		require.NoError(t, login.SSH(t.Context(), b.address, "root", good, line), line)
	}
	for _, line := range []string{"nonsense", "ssh-ed25519", "ssh-ed25519 AAAA"} {
		require.ErrorContains(t, login.SSH(t.Context(), b.address, "root", good, line), "not a line from a known_hosts", line)
	}
}

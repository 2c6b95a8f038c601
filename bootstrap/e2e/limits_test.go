package e2e

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refused asserts that a request is a mistake, and returns the message.
func (m *mount) refused(path string, d data) string {
	m.t.Helper()
	_, err := m.write(path, d)
	require.Equal(m.t, 400, statusCode(err), "%s: %v", path, err)
	return message(err)
}

// A role writer without rights on policies makes no weak password, and learns of no policy.
func TestRoleWriterCannotUsePoliciesOfOthers(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	putPolicy(t, m.path+"-other-weak", `length = 8
rule "charset" { charset = "1abA" }`)
	putPolicy(t, m.path+"-team-strong", `length = 24
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
rule "charset" { charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" min-chars = 1 }
rule "charset" { charset = "0123456789" min-chars = 1 }
rule "charset" { charset = "-_.~!" min-chars = 1 }`)
	team := m.as(`path "MOUNT/roles/team-*" { capabilities = ["create", "update", "read", "delete"] }
path "MOUNT/rotate-role/team-*" { capabilities = ["update"] }`)

	attack := func(policy string) string {
		policy = m.path + policy
		return strings.ReplaceAll(team.refused("roles/team-web", with(alias("ops1"), data{"password_policy": policy})), policy, "POLICY")
	}
	there, missing := attack("-other-weak"), attack("-other-missing")
	require.Equal(t, there, missing)
	require.Contains(t, there, "allowed_password_policies")

	m.must("config/panel", data{"allowed_password_policies": m.path + "-team-*," + m.path + "-other-*"})
	require.Contains(t, attack("-other-weak"), "has 16 bits, and min_password_bits in the mount's settings requires 64")
	require.Zero(t, m.changes(alias("ops1")))
	_, err := team.write("roles/team-web", with(alias("ops1"), data{"password_policy": m.path + "-team-strong"}))
	require.NoError(t, err)
	password := m.workingCreds("team-web", alias("ops1"))["password"]

	putPolicy(t, m.path+"-team-strong", `length = 8
rule "charset" { charset = "abA1" }`)
	require.Contains(t, team.refused("rotate-role/team-web", nil), "min_password_bits", "it was made weaker later")
	m.must("config/panel", data{"allowed_password_policies": ""})
	require.Contains(t, team.refused("rotate-role/team-web", nil), "allowed_password_policies", "the list was narrowed")
	require.Equal(t, password, m.workingCreds("team-web", alias("ops1"))["password"])
	require.Equal(t, 1, m.changes(alias("ops1")))
}

func TestRotateRoleTokenCannotRotateAllTheTime(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	m.must("settings", data{"min_rotation_interval": "1h"})
	team := m.as(`path "MOUNT/rotate-role/web1" { capabilities = ["update"] }
path "MOUNT/settings" { capabilities = ["update"] }`)
	before := m.workingCreds("web1", alias("ops1"))
	var warned atomic.Int32
	inParallel(t, make([]int, 50), func(int) {
		secret, err := team.write("rotate-role/web1", data{"force": warned.Load()%2 == 0})
		if err == nil && strings.Contains(strings.Join(secret.Warnings, ""), "min_rotation_interval") {
			warned.Add(1)
		}
	})
	require.EqualValues(t, 50, warned.Load())
	require.Equal(t, 1, m.changes(alias("ops1")), "the first password")
	require.Equal(t, before["password"], m.workingCreds("web1", alias("ops1"))["password"])
	_, err := team.write("settings", data{"min_rotation_interval": 0})
	require.Equal(t, 403, statusCode(err), "settings need sudo")
	m.must("settings", data{"min_rotation_interval": 0})
	m.must("rotate-role/web1", nil)
	require.Equal(t, 2, m.changes(alias("ops1")))
}

// Nothing is dialed here: what a connection may not use is refused when it is written.
func TestConnectionWriterCannotReachMetadata(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	team := m.as(`path "MOUNT/config/*" { capabilities = ["create", "update", "read"] }`)
	for _, host := range []string{
		"169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[fd20:ce::254]", "[::a9fe:a9fe]", "[::ffff:a9fe:a9fe]",
		"[64:ff9b::6464:64c8]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[2001:0:c000:201:0:0:5601:5601]",
	} {
		messages := map[string]bool{}
		for _, port := range []string{"", ":80", ":1"} {
			messages[team.refused("config/new", with(m.panel(), data{"url": "https://" + host + port, "verify_connection": port == ""}))] = true
		}
		require.Len(t, messages, 1, "open, closed and without TLS are one: %v", messages)
		require.Contains(t, text(data{"": messages}), "metadata service")
	}
}

func TestConnectionWriterKeepsAllowedHosts(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	team := m.as(`path "MOUNT/config/*" { capabilities = ["create", "update", "read"] }
path "MOUNT/rotate-role/*" { capabilities = ["update"] }`)
	m.must("settings", data{"allowed_hosts": "127.0.0.0/8,*.example.com"})
	m.must("rotate-role/web1", nil)
	other := with(m.panel(), data{"url": "https://192.0.2.1:8443", "verify_connection": false})
	require.Contains(t, team.refused("config/new", other), "allowed_hosts in the mount's settings does not allow the host in url (192.0.2.1)")
	other = with(m.asUser(m.cloud()), data{"iam_url": "https://[2001:db8::1]", "verify_connection": false})
	require.Contains(t, team.refused("config/new", other), "iam_url")

	m.must("settings", data{"allowed_hosts": "*.example.com"}) // narrowed while a connection is in use
	changes, password := m.changes(alias("ops1")), m.read("creds/web1")["password"]
	_, err := team.write("rotate-role/web1", nil)
	require.Equal(t, 502, statusCode(err))
	require.Contains(t, message(err), "allowed_hosts")
	require.Equal(t, changes, m.changes(alias("ops1")))
	require.Equal(t, password, m.read("creds/web1")["password"], "readers still get it")
	require.Contains(t, text(m.read("status/web1")), "allowed_hosts")
	require.NoError(t, m.delete("settings"))
	m.waitFor("web1", "be rotated now that it may be", func() bool { return m.idle("web1") })
	m.workingCreds("web1", alias("ops1"))
}

func TestConnectionWriterCannotSwitchVerificationOff(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	team := m.as(`path "MOUNT/config/*" { capabilities = ["create", "update", "read"] }
path "MOUNT/rotate-role/*" { capabilities = ["update"] }`)
	insecure := with(m.panel(), data{"insecure_tls": true})
	require.Contains(t, team.refused("config/panel", data{"insecure_tls": true}), "credential")
	secret, err := team.write("config/panel", insecure)
	require.NoError(t, err)
	require.Contains(t, strings.Join(secret.Warnings, " "), "no longer verified")

	m.must("settings", data{"forbid_insecure_tls": true})
	require.Contains(t, team.refused("config/panel", insecure), "forbid_insecure_tls")
	require.Contains(t, team.refused("config/new", insecure), "forbid_insecure_tls")
	changes := m.changes(alias("ops1"))
	_, err = team.write("rotate-role/web1", nil)
	require.Equal(t, 502, statusCode(err))
	require.Contains(t, message(err), "forbid_insecure_tls in the mount's settings forbids insecure_tls")
	require.Equal(t, changes, m.changes(alias("ops1")), "it is not used")
	_, err = team.write("config/panel", with(m.panel(), data{"insecure_tls": false}))
	require.NoError(t, err)
	m.waitFor("web1", "be rotated now that it may be", func() bool { return m.idle("web1") })
	m.workingCreds("web1", alias("ops1"))
}

// A remote system that accepts connections and says nothing.
func TestSilentRemoteSystemKeepsNoSockets(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	var listening net.ListenConfig
	l, err := listening.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	var open, accepted atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			accepted.Add(1)
			go func() {
				defer open.Add(-1)
				defer func() { _ = conn.Close() }()
				for buffer := make([]byte, 4096); err == nil; {
					_, err = conn.Read(buffer)
				}
			}()
		}
	}()
	team := m.as(`path "MOUNT/config/*" { capabilities = ["create", "update"] }`)
	inParallel(t, make([]int, 20), func(int) {
		_, err := team.write("config/silent-"+strconv.Itoa(int(accepted.Load())), with(m.panel(), data{"url": "https://" + l.Addr().String(), "request_timeout": 1}))
		if statusCode(err) < 500 {
			t.Errorf("got %v", err)
		}
	})
	require.Positive(t, accepted.Load())
	require.Eventually(t, func() bool { return open.Load() == 0 }, time.Second, 10*time.Millisecond, "request_timeout has passed")
}

func TestDurationsOfRolesAreBounded(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	team := m.as(`path "MOUNT/roles/web1" { capabilities = ["update"] }`)
	for _, field := range []string{"rotation_period", "rotate_after_read", "max_read_ttl"} {
		require.Contains(t, team.refused("roles/web1", data{field: "87601h"}), field+" must be at most 315360000 seconds (10 years)")
		_, err := team.write("roles/web1", data{field: "87600h"})
		require.NoError(t, err)
	}
}

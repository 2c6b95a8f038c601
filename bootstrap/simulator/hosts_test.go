package simulator

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// setService asks Media Temple's API to set a password of the service 556.
func (b *bench) setService(kind, password string) (int, error) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPut, b.MediaTempleURL()+"/services/556/"+kind+"Password.json",
		strings.NewReader(`{"password":"`+password+`"}`))
	require.NoError(b, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "MediaTemple "+b.InitialState().MediaTemple.Accounts[0].APIKeys[0])
	status, _, _, err := b.do(r)
	return status, err
}

// withEachSSH runs a test with the simulated SSH server and, where it can be used, with sshd.
func withEachSSH(t *testing.T, test func(b *bench)) {
	t.Run("simulated", func(t *testing.T) { test(start(t)) })
	sshd, err := shell.FindSSHD(t.Context())
	if err != nil {
		t.Logf("tested with the simulated SSH server only: %v", err)
		return
	}
	t.Run("sshd", func(t *testing.T) { test(startWith(t, Config{SSHD: sshd})) })
}

func TestServicePasswordsLogIn(t *testing.T) { withEachSSH(t, testServicePasswords) }

func testServicePasswords(b *bench) {
	t := b.T
	require.NoError(t, b.Switch("mediatemple", "job_ms", 60_000))
	service := b.InitialState().MediaTemple.Accounts[0].Services[0]
	for kind, c := range map[string]struct {
		before string
		try    func(password string) error
	}{
		"root":  {service.RootPassword, func(password string) error { return b.LoginSSH(b.MediaTempleSSH("556"), "root", password) }},
		"plesk": {service.PleskPassword, func(password string) error { return b.LoginPanel("556", password) }},
	} {
		var refused *login.RefusedError
		status, err := b.setService(kind, fresh)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, status)
		assert.NotNil(t, b.MediaTemple("556/"+kind).PendingUntil)
		require.NoError(t, c.try(c.before), kind)
		require.ErrorAs(t, c.try(fresh), &refused, kind)
		b.Advance(time.Minute)
		require.NoError(t, c.try(fresh), kind)
		require.ErrorAs(t, c.try(c.before), &refused, kind)
		assert.Equal(t, 1, b.MediaTemple("556/"+kind).Changes)
		require.NoError(t, b.SetPassword("mediatemple", "556/"+kind, c.before))
		require.NoError(t, c.try(c.before), kind)
	}
	assert.Zero(t, b.Panel("556").Locks)
	assert.Empty(t, b.Panel("557").Login)
	assert.Empty(t, b.MediaTemplePanel("557"))
	assert.NotEmpty(t, b.MediaTempleSSH("557"))
	assert.Empty(t, b.MediaTempleSSH("1"))
	assert.Zero(t, b.MediaTemple("1/root"))
	assert.Equal(t, b.MediaTempleSSH("556"), b.SSHAddress("556"))
	require.NoError(t, login.SSH(t.Context(), b.SSHAddress("557"), "root", b.InitialState().MediaTemple.Accounts[0].Services[1].RootPassword, b.HostKey("557")))
	require.Error(t, login.SSH(t.Context(), b.SSHAddress("557"), "root", fresh, b.HostKey("556")), "each host has its own key")
}

func TestLateJobFollowsCutConnection(t *testing.T) {
	b := start(t)
	require.NoError(t, b.Switch("mediatemple", "job_ms", 0))
	require.NoError(t, b.SetFault(lab.Fault{System: "mediatemple", Target: "556/root", Kind: lab.Late, DelayMS: 300, Count: 1}))
	_, err := b.setService("root", fresh)
	require.Error(t, err)
	require.Eventually(t, func() bool { return b.MediaTemple("556/root").Changes == 1 }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, b.LoginSSH(b.SSHAddress("556"), "root", fresh))
}

func TestHostAndPanelFaultsPreventLogins(t *testing.T) {
	b := start(t)
	service := b.InitialState().MediaTemple.Accounts[0].Services[0]
	ssh := func() error { return b.LoginSSH(b.SSHAddress("556"), "root", service.RootPassword) }
	panel := func() error { return b.LoginPanel("556", service.PleskPassword) }
	require.ErrorContains(t, b.SetFault(lab.Fault{System: "ssh", Target: "*", Kind: lab.Huge}), "busy, cut and unreachable")
	for _, kind := range []lab.Kind{lab.Busy, lab.Cut} {
		require.NoError(t, b.SetFault(lab.Fault{System: "ssh", Target: "556", Kind: kind, Count: 1}))
		require.NoError(t, b.LoginSSH(b.SSHAddress("557"), "root", b.InitialState().MediaTemple.Accounts[0].Services[1].RootPassword), "another host")
		require.Error(t, ssh())
		require.NoError(t, ssh())
	}
	require.NoError(t, b.SetFault(lab.Fault{System: "panel", Target: "556", Kind: lab.Busy, Count: 1}))
	require.ErrorContains(t, panel(), "1008")
	require.NoError(t, panel())
	for system, try := range map[string]func() error{"ssh": ssh, "panel": panel} {
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Unreachable}))
		require.ErrorContains(t, try(), "refused")
		require.NoError(t, b.ClearFaults(system, ""))
		require.NoError(t, try())
	}
	require.NoError(t, b.SetFault(lab.Fault{System: "mediatemple", Target: "*", Kind: lab.Unreachable}))
	_, err := b.setService("root", fresh)
	require.ErrorContains(t, err, "refused")
	require.NoError(t, ssh(), "the servers do not depend on the API")
}

// ask sends a signed request to CloudDC or Elastic Cloud Server.
func (b *bench) ask(method, url, path, body string) int {
	state := b.InitialState()
	r, err := http.NewRequestWithContext(b.Context(), method, url+"/v1/"+state.ECS.Instances[0].ProjectID+"/"+path, strings.NewReader(body))
	require.NoError(b, err)
	r.Header.Set("Content-Type", "application/json")
	huaweicloud.Sign(r, []byte(body), state.HuaweiCloud.AccessKeys[0], b.Now())
	status, _, answer, err := b.do(r)
	require.NoError(b, err, answer)
	return status
}

func TestServerPasswordLogsInAfterRestart(t *testing.T) { withEachSSH(t, testServerPasswords) }

func testServerPasswords(b *bench) {
	t := b.T
	state := b.InitialState().ECS
	metal, cloud := state.Instances[0], state.CloudServers[0]
	require.Equal(t, http.StatusOK, b.ask(http.MethodPut, b.CloudDCURL(), "instances/password",
		`{"new_password":"`+fresh+`","instance_id_set":["`+metal.ID+`"]}`))
	status := b.ask(http.MethodPut, b.ECSURL(), "cloudservers/os-reset-passwords",
		`{"new_password":"`+fresh+`","servers":[{"id":"`+cloud.ID+`"}]}`)
	require.Equal(t, http.StatusOK, status)
	for id, before := range map[string]string{metal.ID: metal.Password, cloud.ID: cloud.Password} {
		var refused *login.RefusedError
		assert.True(t, b.ECS(id).Pending)
		require.NoError(t, b.LoginSSH(b.SSHAddress(id), "root", before))
		require.ErrorAs(t, b.LoginSSH(b.SSHAddress(id), "root", fresh), &refused)
		status, answer := b.control(http.MethodPost, "/v1/restart", `{"system":"ecs","target":"`+id+`"}`)
		require.Equal(t, http.StatusOK, status, answer)
		assert.False(t, b.ECS(id).Pending)
		require.NoError(t, b.LoginSSH(b.SSHAddress(id), "root", fresh))
		require.ErrorAs(t, b.LoginSSH(b.SSHAddress(id), "root", before), &refused)
		require.NoError(t, b.SetPassword("ecs", id, before))
		require.NoError(t, b.LoginSSH(b.SSHAddress(id), "root", before))
	}
	assert.Zero(t, b.ECS("nobody"))
}

func TestServerIsDownWhileItRestarts(t *testing.T) { withEachSSH(t, testRestarts) }

func testRestarts(b *bench) {
	t := b.T
	metal, cloud := b.InitialState().ECS.Instances[0], b.InitialState().ECS.CloudServers[0]
	require.NoError(t, b.Switch("ecs", "restart_ms", 60_000))
	for _, value := range []string{"keep", "new"} {
		require.NoError(t, b.Switch("ecs", "restart_host_key", value))
		keys := map[string]string{metal.ID: b.HostKey(metal.ID), cloud.ID: b.HostKey(cloud.ID)}
		require.Equal(t, http.StatusOK, b.ask(http.MethodPut, b.CloudDCURL(), "physicalservers/power-state",
			`{"action":"rebooting","server_id_set":["`+metal.ServerID+`"]}`))
		require.Equal(t, http.StatusOK, b.ask(http.MethodPost, b.ECSURL(), "cloudservers/action",
			`{"reboot":{"type":"SOFT","servers":[{"id":"`+cloud.ID+`"}]}}`))
		for id, password := range map[string]string{metal.ID: metal.Password, cloud.ID: cloud.Password} {
			var refused *login.RefusedError
			err := b.LoginSSH(b.SSHAddress(id), "root", password)
			require.Error(t, err)
			require.NotErrorAs(t, err, &refused)
		}
		b.Advance(time.Minute)
		for id, password := range map[string]string{metal.ID: metal.Password, cloud.ID: cloud.Password} {
			require.NoError(t, b.LoginSSH(b.SSHAddress(id), "root", password))
			err := login.SSH(t.Context(), b.SSHAddress(id), "root", password, keys[id])
			require.Equal(t, value == "new", err != nil, "the key of before: %v", err)
		}
	}
	assert.NotEqual(t, b.HostKey(metal.ID), b.HostKey(cloud.ID))
	assert.Equal(t, 2, b.ECS(metal.ID).PowerActions)
}

func TestStoppedServerDoesNotRefusePasswords(t *testing.T) { withEachSSH(t, testStoppedServers) }

func testStoppedServers(b *bench) {
	t := b.T
	var refused *login.RefusedError
	for _, i := range b.InitialState().ECS.Instances {
		user := map[string]string{"linux": "root", "windows": "Administrator"}[i.OS]
		err := b.LoginSSH(b.SSHAddress(i.ID), user, i.Password)
		if i.State != "stopped" {
			require.NoError(t, err, i.Name)
			continue
		}
		require.Error(t, err)
		require.NotErrorAs(t, err, &refused)
		require.NoError(t, b.Restart("ecs", i.ID))
		require.NoError(t, b.LoginSSH(b.SSHAddress(i.ID), user, i.Password))
	}
}

// The door of a panel drops the packets of a banned sender. Refused requests are counted by panel.
func TestPanelBansRefusedSender(t *testing.T) {
	b := start(t)
	require.NoError(t, b.Switch("panel", "fail2ban", 2))
	for n := range 2 {
		require.NoError(t, b.LoginPanel("556", b.InitialState().MediaTemple.Accounts[0].Services[0].PleskPassword))
		require.Error(t, b.LoginPanel("556", "wrong"))
		require.Len(t, b.Panel("556").Fail2Ban.Times, n+1)
	}
	require.Equal(t, 1, b.Panel("556").Fail2Ban.Bans)
	require.Empty(t, b.Panel("901").Fail2Ban.Times)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, login.Plesk(ctx, b.MediaTemplePanel("556"), b.CAPEM(), "admin", "wrong"), context.DeadlineExceeded)
	require.Error(t, b.LoginPanel("901", "wrong"), "another server answers")
	b.Advance(10 * time.Minute)
	require.NoError(t, b.LoginPanel("556", b.InitialState().MediaTemple.Accounts[0].Services[0].PleskPassword))
	require.Len(t, b.Panel("556").Fail2Ban.Times, 2)
	require.Error(t, b.Switch("panel", "nothing", true))
	require.Empty(t, b.PleskSenders().Times)
}

func TestStateShowsHostKeys(t *testing.T) {
	b := start(t)
	for _, h := range b.Hosts() {
		require.Equal(t, b.SSH(h.ID).HostKey, h.HostKey)
		require.Regexp(t, "^ssh-ed25519 [A-Za-z0-9+/]+=*$", h.HostKey)
		require.Regexp(t, "^SHA256:[A-Za-z0-9+/]{43}$", h.Fingerprint)
	}
	before := b.HostKey("556")
	require.NoError(t, b.SetFault(lab.Fault{System: "ssh", Target: "*", Kind: lab.Unreachable}))
	require.NoError(t, b.ClearFaults("ssh", ""))
	require.Equal(t, before, b.HostKey("556"))
	status, answer := b.control(http.MethodPut, "/v1/switches", `{"system":"ssh","host_key":{"556":"new"}}`)
	require.Equal(t, http.StatusOK, status, answer)
	require.NotEqual(t, before, b.HostKey("556"))
	_, answer = b.control(http.MethodGet, "/v1/state", "")
	require.Contains(t, answer, b.SSH("556").Fingerprint)
	require.NotContains(t, answer, before)
	require.Contains(t, answer, b.HostKey("557"))
	service := b.InitialState().MediaTemple.Accounts[0].Services[0]
	require.NoError(t, b.LoginSSH(b.SSHAddress("556"), "root", service.RootPassword))
	require.Error(t, login.SSH(t.Context(), b.SSHAddress("556"), "root", service.RootPassword, before))
}

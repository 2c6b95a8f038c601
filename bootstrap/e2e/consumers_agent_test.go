package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// How long after a change the Agent may write the password into its file; after a manual rotation, which no ttl announces,
// beyond max_read_ttl. A busy machine may stall the Agent or Vault, so it may be late sometimes, but it never misses a
// password. An Agent with a wrong ttl is late each time, or every other time.
const (
	lateManual        = 2 * time.Second
	latePeriodic      = 3 * time.Second
	manualRotations   = 4
	periodicRotations = 6
)

func TestVaultAgentFollowsManualRotation(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	const maxReadTTL = 10 * time.Second
	role := with(alias("ops1"), data{"max_read_ttl": int(maxReadTTL.Seconds())})
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()

	password, _ := a.waitForPassword(role, "")
	same := m.creds(a.role)["password"] == password // not Equal, which prints them
	require.True(t, same)
	info, err := os.Stat(a.file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	for n := 1; ; n++ {
		// The Agent has just read and waits for the whole ttl: this is the worst moment for a rotation.
		m.must("rotate-role/"+a.role, nil)
		next, late := a.waitForNext(role, password)
		t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
		a.waitFor("the command should run after each change", func() bool { return a.runs() == n+1 })
		if late <= maxReadTTL+lateManual {
			break
		}
		require.Less(t, n, manualRotations, "the Agent should follow in time once")
		password = next
	}
}

func TestVaultAgentFollowsPeriodicRotations(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(m.account("app"), data{"rotation_period": 12, "max_read_ttl": 10}) // two reads in a period, the second at its end
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()

	password, _ := a.waitForPassword(role, "")
	inTime := 0
	for rotation := 1; inTime < 2; rotation++ {
		require.LessOrEqual(t, rotation, periodicRotations, "the Agent should follow in time twice in a row")
		next, late := a.waitForNext(role, password)
		t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
		if inTime++; late > latePeriodic {
			inTime = 0
		}
		password = next
	}
	m.waitForState(a.role, "active")
}

func TestVaultAgentKeepsFileDuringOutage(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(alias("ops1"), data{"rotation_period": 10, "max_read_ttl": 10, "disable_automated_rotation": true}) // until the outage
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()
	password, since := a.waitForPassword(role, "")
	m.fault(role, lab.Fault{Kind: lab.Unreachable})
	m.must("roles/"+a.role, data{"disable_automated_rotation": false})

	a.waitFor("the engine should try to change the overdue password", func() bool {
		return numberOf(t, m.read("status/"+a.role), "attempts") >= 2
	})
	reads := a.reads()
	a.waitFor("the Agent should keep reading", func() bool { return a.reads() >= reads+2 })
	kept, still := a.content()
	same := kept == password
	require.True(t, same, "the file should keep the password")
	require.Equal(t, since, still, "the file should not be written again")
	require.Equal(t, 1, a.runs())

	m.clearFaults()
	_, late := a.waitForNext(role, password)
	t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
	a.waitFor("the command should run after the change", func() bool { return a.runs() >= 2 })
	for _, problem := range []string{"[WARN]", "[ERROR]", "hvs."} { // tokens begin with the last
		found := strings.Contains(a.log(), problem)
		require.False(t, found, "the Agent's log contains %q", problem)
	}
}

// agentFiles is the example setup for Vault Agent. The tests run its files and the commands of its README.
const agentFiles = "../agent"

// agent is a Vault Agent that keeps the password of a role in a file.
type agent struct {
	*vaulttest.Agent
	m    *mount
	role string
	file string // the output of the template
}

// agentRole returns the name of the role for an Agent. It contains the bait, which gets into the Agent's log that way.
func (m *mount) agentRole() string { return m.path + "-" + bait }

// agent sets up an Agent for the role agentRole, as the README says, and starts it.
func (m *mount) agent() *agent {
	m.t.Helper()
	dir := m.t.TempDir()
	a := &agent{m: m, role: m.agentRole(), file: filepath.Join(dir, "run", m.agentRole()+".password")}
	for _, name := range []string{"bin", "copy", "etc", "run"} {
		require.NoError(m.t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	require.NoError(m.t, os.Symlink(binaries.vault, filepath.Join(dir, "bin", "vault")))
	readme := m.copyAgentFiles(dir)

	shell := func(commands string, env ...string) {
		cmd := exec.CommandContext(m.t.Context(), "bash", "-euo", "pipefail", "-c", commands)
		cmd.Dir = filepath.Join(dir, "copy")
		cmd.Env = append([]string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "VAULT_ADDR=" + m.vault.Address()}, env...)
		output, err := cmd.CombinedOutput()
		require.NoError(m.t, err, "%s\n%s", commands, output)
	}
	for _, commands := range blocks(m.t, readme, "Where you administer Vault") {
		if strings.Contains(commands, "vault auth enable") {
			enableAppRole.Do(func() { shell(commands, "VAULT_TOKEN="+m.vault.Client.Token()) })
			continue
		}
		shell(commands, "VAULT_TOKEN="+m.vault.Client.Token())
	}
	host := blocks(m.t, readme, "On the host")
	config := filepath.Join(dir, "etc", "agent.hcl")
	require.Equal(m.t, "vault agent -config="+config+"\n", host[len(host)-1], "the last command of the README should start the Agent")
	for _, commands := range host[:len(host)-1] {
		shell(commands)
	}
	secretID, err := os.ReadFile(filepath.Join(dir, "etc", "secret-id"))
	require.NoError(m.t, err)
	secrets.Add("a secret id", strings.TrimSpace(string(secretID)))

	a.Agent, err = m.vault.StartAgent(config)
	require.NoError(m.t, err)
	m.t.Cleanup(a.Stop)
	return a
}

// enableAppRole: all tests share one Vault.
var enableAppRole sync.Once

// copyAgentFiles copies the setup, replaces what the README says to replace, and returns the README.
func (m *mount) copyAgentFiles(dir string) (readme string) {
	m.t.Helper()
	replace := []string{
		"https://vault.example.com:8200", m.vault.Address(),
		"/etc/vault-agent", filepath.Join(dir, "etc"),
		"/run/vault-agent", filepath.Join(dir, "run"),
		"10.0.0.17", "127.0.0.1",
		"hosting/", m.path + "/",
		"web1", m.agentRole(),
	}
	files, err := os.ReadDir(agentFiles)
	require.NoError(m.t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(agentFiles, file.Name()))
		require.NoError(m.t, err)
		all.Write(text)
		info, err := file.Info()
		require.NoError(m.t, err)
		changed := strings.NewReplacer(replace...).Replace(string(text))
		require.NoError(m.t, os.WriteFile(filepath.Join(dir, "copy", file.Name()), []byte(changed), info.Mode()))
		if file.Name() == "README.md" {
			readme = changed
		}
	}
	for i := 0; i < len(replace); i += 2 {
		require.Contains(m.t, all.String(), replace[i], "the files should contain what the test replaces")
	}
	return readme
}

var fenced = regexp.MustCompile("(?s)\n```\n(.+?\n)```\n")

// blocks returns the commands in a section of a README.
func blocks(t testing.TB, readme, title string) (commands []string) {
	t.Helper()
	_, section, found := strings.Cut(readme, "\n## "+title+"\n")
	require.True(t, found, "the README should have a section %q", title)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, match := range fenced.FindAllStringSubmatch(section, -1) {
		commands = append(commands, match[1])
	}
	require.NotEmpty(t, commands, "the section %q should have commands", title)
	return commands
}

// content returns the content of the file and when it was written. It is empty until the Agent has written it.
func (a *agent) content() (text string, since time.Time) {
	a.m.t.Helper()
	for {
		before, err := os.Stat(a.file)
		if os.IsNotExist(err) {
			return "", time.Time{}
		}
		require.NoError(a.m.t, err)
		data, err := os.ReadFile(a.file)
		require.NoError(a.m.t, err)
		after, err := os.Stat(a.file)
		require.NoError(a.m.t, err)
		if os.SameFile(before, after) { // the Agent writes another file and renames it
			secrets.Add("a password in a file", string(data))
			return string(data), after.ModTime()
		}
	}
}

// log returns what the Agent has logged so far.
func (a *agent) log() string {
	a.m.t.Helper()
	text, err := os.ReadFile(a.LogFile)
	require.NoError(a.m.t, err)
	return string(text)
}

// reads returns how often the Agent has read the password.
func (a *agent) reads() int { return strings.Count(a.log(), ": GET /v1/"+a.m.path+"/creds/"+a.role) }

// runs returns how often the command of the configuration has run. It prints a line.
func (a *agent) runs() int { return strings.Count(a.log(), a.file+" has a new password\n") }

// waitFor waits for a condition, while the Agent has to keep running.
func (a *agent) waitFor(what string, condition func() bool) {
	a.m.t.Helper()
	require.Eventually(a.m.t, func() bool { return !a.Runs() || condition() }, waitLong, tick, "%s; the Agent's log ends with:\n%s",
		what, lazy{func() string { log := a.log(); return log[max(0, len(log)-3000):] }})
	require.True(a.m.t, a.Runs(), "the Agent should keep running")
}

// changeBefore returns when the remote system last changed the role's password before a time.
func (m *mount) changeBefore(role data, at time.Time) time.Time {
	m.t.Helper()
	system, name := target(role)
	var last time.Time
	for _, entry := range m.sim.Journal(system, name) {
		if entry.Applied && !entry.Time.After(at) {
			last = entry.Time
		}
	}
	require.False(m.t, last.IsZero(), "the password should have been changed")
	return last
}

// waitForPassword waits until the file has another password than before, which logs in.
func (a *agent) waitForPassword(role data, before string) (now string, since time.Time) {
	a.m.t.Helper()
	a.waitFor("the file should have another password, which logs in", func() bool {
		now, since = a.content()
		return now != before && a.m.login(role, now) == nil
	})
	return now, since
}

// waitForNext is waitForPassword, and returns how long after the change at the remote system the file was written.
func (a *agent) waitForNext(role data, before string) (now string, late time.Duration) {
	a.m.t.Helper()
	now, since := a.waitForPassword(role, before)
	return now, since.Sub(a.m.changeBefore(role, since))
}

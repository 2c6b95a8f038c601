package main

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

	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// agentFiles is the set-up that people copy. The tests run these very files, and the commands of its README.
const agentFiles = "../../bootstrap/agent"

// agent is a Vault Agent that keeps the password of a role in a file.
type agent struct {
	*vaulttest.Agent
	m    *mount
	role string
	file string // what the template is written into
}

// agentRole is the name of a role for an Agent. It has the bait in it, which the Agent's log has then too.
func (m *mount) agentRole() string { return m.path + "-" + bait }

// agent sets an Agent up as the README says, for the role agentRole, and starts it.
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
			enableAppRole.Do(func() { shell(commands, "VAULT_TOKEN="+m.vault.Client.Token()) }) // for all tests
			continue
		}
		shell(commands, "VAULT_TOKEN="+m.vault.Client.Token())
	}
	host := blocks(m.t, readme, "On the host")
	config := filepath.Join(dir, "etc", "agent.hcl")
	require.Equal(m.t, "vault agent -config="+config+"\n", host[len(host)-1], "the last command of the README starts the Agent")
	for _, commands := range host[:len(host)-1] {
		shell(commands)
	}
	secretID, err := os.ReadFile(filepath.Join(dir, "etc", "secret-id"))
	require.NoError(m.t, err)
	secrets.add("a secret id", strings.TrimSpace(string(secretID)))

	a.Agent, err = m.vault.StartAgent(config)
	require.NoError(m.t, err)
	m.t.Cleanup(a.Stop)
	return a
}

// enableAppRole is done once for a Vault.
var enableAppRole sync.Once

// copyAgentFiles copies the set-up, with what the README says to replace, and returns the README.
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
		require.Contains(m.t, all.String(), replace[i], "what a test replaces is in the files")
	}
	return readme
}

var fenced = regexp.MustCompile("(?s)\n```\n(.+?\n)```\n")

// blocks are the commands in a section of a README.
func blocks(t testing.TB, readme, title string) (commands []string) {
	t.Helper()
	_, section, found := strings.Cut(readme, "\n## "+title+"\n")
	require.True(t, found, "the README has a section %q", title)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, match := range fenced.FindAllStringSubmatch(section, -1) {
		commands = append(commands, match[1])
	}
	require.NotEmpty(t, commands, "the section %q has commands", title)
	return commands
}

// content is what the file has, and since when. It is empty before the Agent has written it.
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
			secrets.add("a password in a file", string(data))
			return string(data), after.ModTime()
		}
	}
}

// log is what the Agent has logged so far.
func (a *agent) log() string {
	a.m.t.Helper()
	text, err := os.ReadFile(a.LogFile)
	require.NoError(a.m.t, err)
	return string(text)
}

// reads is how often the Agent has asked Vault for the password.
func (a *agent) reads() int { return strings.Count(a.log(), ": GET /v1/"+a.m.path+"/creds/"+a.role) }

// runs is how often the command of the configuration ran, which prints a line.
func (a *agent) runs() int { return strings.Count(a.log(), a.file+" has a new password\n") }

// waitFor waits for something about the Agent, which has to run all the while.
func (a *agent) waitFor(what string, so func() bool) {
	a.m.t.Helper()
	require.Eventually(a.m.t, func() bool { return !a.Runs() || so() }, waitLong, tick, "%s; the Agent's log ends with:\n%s",
		what, lazy{func() string { log := a.log(); return log[max(0, len(log)-3000):] }})
	require.True(a.m.t, a.Runs(), "the Agent has ended")
}

// changeBefore is when the remote system had changed the role's password last at a time.
func (m *mount) changeBefore(role data, at time.Time) time.Time {
	m.t.Helper()
	system, name := target(role)
	var last time.Time
	for _, entry := range m.sim.Journal(system, name) {
		if entry.Applied && !entry.Time.After(at) {
			last = entry.Time
		}
	}
	require.False(m.t, last.IsZero(), "nothing was changed")
	return last
}

// first waits until the file has the first password, which logs in.
func (a *agent) first(role data) (password string, since time.Time) {
	a.m.t.Helper()
	return a.other(role, "")
}

// follows waits until the file has another password than the one before, which logs in, and returns how long after the
// change at the remote system it was written.
func (a *agent) follows(role data, before string) (now string, late time.Duration) {
	a.m.t.Helper()
	now, since := a.other(role, before)
	return now, since.Sub(a.m.changeBefore(role, since))
}

func (a *agent) other(role data, before string) (now string, since time.Time) {
	a.m.t.Helper()
	a.waitFor("the file should have another password, which logs in", func() bool {
		now, since = a.content()
		return now != before && a.m.login(role, now) == nil
	})
	return now, since
}

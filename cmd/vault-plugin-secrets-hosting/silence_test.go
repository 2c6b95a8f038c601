package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/canary"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// canaries are all secrets that the tests have seen. When the last test has ended, none may stand in Vault's log, the
// audit log, or an answer other than those of creds and history; see silence.
type canaries struct{ canary.Set }

var secrets canaries

func (c *canaries) add(kind, value string) { c.Add(kind, value) }

// addSeen adds what a simulator was shown: passwords, keys, IAM tokens and signatures.
func (c *canaries) addSeen(sim *simulator.Simulator) {
	for secret, kind := range sim.SecretsSeen() {
		c.add("at the remote system: "+kind, secret)
	}
}

// addAnswer adds the passwords of an answer of creds or history.
func (c *canaries) addAnswer(d data) {
	for _, name := range []string{"password", "next_password", "last_password"} {
		if value, ok := d[name].(string); ok {
			c.add(name, value)
		}
	}
	history, _ := d["passwords"].([]any)
	for _, entry := range history {
		if past, ok := entry.(data); ok {
			c.addAnswer(past)
		}
	}
}

// addGiven adds the secrets of a request.
func (c *canaries) addGiven(d data) {
	for _, name := range []string{"password", "secret_key", "security_token", "api_key"} {
		if value, ok := d[name].(string); ok {
			c.add("given as "+name, value)
		}
	}
}

// bait is no secret but looks like one: it is put where it comes into every record, and has to be found there. Else the
// search for secrets would prove nothing.
const bait = "Bait-Name.4711"

// silence looks for every secret in everything that a Vault and its clients have written. Where it is the active node of a
// cluster, it does so for the other nodes too.
func silence(ctx context.Context, v *vaulttest.Vault, standbys ...*vaulttest.Vault) error {
	if err := v.Mount(ctx, "bait"); err != nil {
		return err
	}
	records := map[string]string{} // and what each of them has to have
	for _, node := range append(standbys, v) {
		if _, err := node.Client.Logical().ReadWithContext(ctx, "bait/status/"+bait); err == nil || !strings.Contains(err.Error(), bait) {
			return fmt.Errorf("the role %s should not exist", bait) //nolint:err113 // of a test
		}
		for _, file := range node.Records() {
			records[file] = bait
		}
		if node != v {
			records[node.LogFile()] = "[TRACE] core" // the bait comes to the plugin, which runs on the active node
		}
	}
	var problems []error
	for file, wanted := range records {
		name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("looking for secrets: %w", err)
		}
		var control canary.Set
		control.Add("the bait", wanted)
		if len(control.Find(text)) == 0 {
			problems = append(problems, fmt.Errorf("%s lacks what it should have, so that nothing is proved by it", name))
		}
		if found := secrets.Find(text); len(found) > 0 {
			problems = append(problems, fmt.Errorf("%s has secrets:\n%s", name, canary.Describe(found)))
		}
	}
	fmt.Fprintf(os.Stderr, "looked for %d secrets in %d records\n", secrets.Len(), len(records))
	return errors.Join(problems...)
}

// What a plugin writes to its stderr, a panic above all, comes into Vault's log, where secrets are looked for.
func TestWhatThePluginWritesToStderrIsInVaultsLog(t *testing.T) {
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	m.works("web1", alias("ops1"))
	require.NoError(t, vault.SignalPlugin(syscall.SIGQUIT), "Go's runtime writes all stacks and ends")
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(vault.LogFile())
		return err == nil && strings.Contains(string(log), "SIGQUIT: quit") && strings.Contains(string(log), "backend/rotation.(*scheduler).run")
	}, waitLong, tick)
	require.Eventually(t, func() bool {
		_, err := m.client().Logical().Read(m.path + "/creds/web1")
		return err == nil
	}, waitLong, tick, "Vault starts it again")
	m.works("web1", alias("ops1"))
}

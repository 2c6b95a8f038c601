package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vault-plugin-secrets-hosting/backend/canary"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// canaries are the secrets that the tests have seen. See findSecrets.
type canaries struct{ canary.Set }

var secrets canaries

// addInitial adds the secrets that the remote systems start with.
func (c *canaries) addInitial(out simulator.Output) {
	c.Add("Plesk's administrator", out.Plesk.AdminPassword)
	for _, key := range out.HuaweiCloud.AccessKeys {
		c.Add("a secret key", key.SecretKey)
		c.Add("a security token", key.SecurityToken)
	}
	for _, user := range out.HuaweiCloud.Users {
		c.Add("an IAM user's password", user.Password)
	}
	for _, account := range out.DCS.Instances[0].Accounts {
		c.Add("an account's first password", account.Password)
	}
	for _, account := range out.MediaTemple.Accounts {
		for _, key := range account.APIKeys {
			c.Add("an API key", key)
		}
		for _, service := range account.Services {
			c.Add("a service's first root password", service.RootPassword)
			c.Add("a service's first Plesk password", service.PleskPassword)
		}
	}
	for _, instance := range out.ECS.Instances {
		c.Add("a server's first password", instance.Password)
	}
	for _, server := range out.ECS.CloudServers {
		c.Add("a server's first password", server.Password)
	}
}

// addSeen adds what a simulator received: passwords, keys, IAM tokens and signatures.
func (c *canaries) addSeen(sim *simulator.Simulator) {
	for secret, kind := range sim.SecretsSeen() {
		c.Add("at the remote system: "+kind, secret)
	}
}

// addAnswer adds the passwords of an answer of creds or history.
func (c *canaries) addAnswer(d data) {
	for _, name := range []string{"password", "next_password", "last_password"} {
		if value, ok := d[name].(string); ok {
			c.Add(name, value)
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
			c.Add("given as "+name, value)
		}
	}
}

// bait looks like a secret and is none. It is put where every record gets it and has to be found there. Otherwise a
// search that finds no secrets would prove nothing.
const bait = "Bait-Name.4711"

// findSecrets returns an error if a secret is in what a Vault and its clients have written: Vault's log, the audit log,
// the logs of Agents, and answers other than those of creds and history. In a cluster, v is the active node.
func findSecrets(ctx context.Context, v *vaulttest.Vault, standbys ...*vaulttest.Vault) error {
	if err := v.Mount(ctx, "bait"); err != nil {
		return err
	}
	records := map[string]string{} // by file, what it has to contain
	for _, node := range append(standbys, v) {
		if _, err := node.Client.Logical().ReadWithContext(ctx, "bait/status/"+bait); err == nil || !strings.Contains(err.Error(), bait) {
			return fmt.Errorf("the role %s should not exist", bait) //nolint:err113 // of a test
		}
		for _, file := range node.Records() {
			records[file] = bait
		}
		if node != v {
			records[node.LogFile()] = "[TRACE] core" // the plugin, which logs the bait, runs on the active node
		}
	}
	var problems []error
	for file, wanted := range records {
		name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("searching for secrets: %w", err)
		}
		var control canary.Set
		control.Add("the bait", wanted)
		if len(control.Find(text)) == 0 {
			problems = append(problems, fmt.Errorf("%s does not contain the bait: the search proves nothing", name))
		}
		if found := secrets.Find(text); len(found) > 0 {
			problems = append(problems, fmt.Errorf("%s contains secrets:\n%s", name, canary.Describe(found)))
		}
	}
	fmt.Fprintf(os.Stderr, "searched %d records for %d secrets\n", len(records), secrets.Len())
	return errors.Join(problems...)
}

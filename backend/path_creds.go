package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) credsPath() *framework.Path {
	return &framework.Path{
		Pattern:      "creds/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "credentials"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readCreds, "Read the password in force.", response("The password in force.", b.credsFields())),
		},
		HelpSynopsis:    "Read the password of a role.",
		HelpDescription: strings.TrimSpace(credsHelp),
	}
}

func (b *Backend) credsFields() map[string]*framework.FieldSchema {
	masked := &framework.DisplayAttributes{Sensitive: true}
	states := make([]any, 0, len(credential.States()))
	for _, s := range credential.States() {
		states = append(states, string(s))
	}
	fields := map[string]*framework.FieldSchema{
		"username":            {Type: framework.TypeString, Required: true, Description: "What to log in as."},
		"password":            {Type: framework.TypeString, DisplayAttrs: masked, Required: true, Description: "The password in force, to the best of the engine's knowledge."},
		"version":             {Type: framework.TypeInt, Required: true, Description: "Counts the passwords of the role."},
		"state":               {Type: framework.TypeString, AllowedValues: states, Required: true, Description: "What is known about password."},
		"next_password":       {Type: framework.TypeString, DisplayAttrs: masked, Description: "A password that may take its place; only in the states accepted, restart_required and uncertain."},
		"last_password":       {Type: framework.TypeString, DisplayAttrs: masked, Description: "The one before, with return_last_password."},
		"connection":          {Type: framework.TypeString, Required: true, Description: "The role's connection."},
		"provider":            {Type: framework.TypeString, Required: true, Description: "The kind of remote system."},
		"last_vault_rotation": {Type: framework.TypeString, Required: true, Description: "When the password came into force or was adopted, RFC 3339 in UTC."},
		"rotation_period":     {Type: framework.TypeInt, Required: true, Description: "Seconds between two due times; for a role that is changed by hand, how often to look."},
		"ttl":                 {Type: framework.TypeInt, Required: true, Description: "Seconds until it pays to read again; at least 1."},
	}
	for _, kind := range b.types {
		for _, field := range kind.TargetFields() {
			if fields[field.Name] == nil && !field.Mutable {
				fields[field.Name] = &framework.FieldSchema{Type: field.Schema.Type, Description: field.Schema.Description}
			}
		}
	}
	return fields
}

func (b *Backend) readCreds(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	report, err := b.engine.Serve(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	if report.View.Password == nil {
		return fail(name, rotation.Mistake("the role %q has no password yet: read status/%s", name, name))
	}
	return &logical.Response{Data: credsData(report, b.engine.Type(report.Role.Provider))}, nil
}

// credsData is the answer to a reader. Between two rotations that go well nothing in it changes but ttl: consumers
// restart programs when anything else does.
func credsData(report *rotation.Report, kind provider.Type) map[string]any {
	role, view := report.Role, report.View
	data := map[string]any{
		"connection": role.Connection,
		"provider":   role.Provider,
	}
	if kind != nil {
		for _, field := range kind.TargetFields() {
			if value, ok := role.Target.Settings[field.Name]; ok && !field.Mutable {
				data[field.Name] = value
			}
		}
	}
	data["username"] = role.Target.Username
	data["password"] = view.Password.Value
	data["version"] = view.Password.Version
	data["state"] = string(view.State)
	since := role.LastRotation(view).UTC()
	data["last_vault_rotation"] = since.Format(time.RFC3339)
	data["rotation_period"] = role.Options.Period(since) // of the password: a schedule's due times may lie apart by turns
	data["ttl"] = int64(report.TTL.Seconds())
	if view.Next != nil {
		data["next_password"] = view.Next.Value
	}
	if view.Last != nil && role.Options.ReturnLast {
		data["last_password"] = view.Last.Value
	}
	return data
}

const credsHelp = `
Reads the password of a role. The answer has no lease: read it again after ttl seconds, as Vault Agent and the Vault
Secrets Operator do.

state says what is known about password:

  none              there is no password yet
  active            the remote system confirmed it, or a login proved it
  assumed           it is believed to be in force, but nobody confirmed it
  accepted          password is in force, and the remote system has queued next_password: it counts as in force when
                    the connection's settle_after has passed, and then the state is assumed
  restart_required  password is in force, and next_password comes into force when the server restarts; somebody who has
                    tried it then says so to confirm-role/:name
  uncertain         next_password was sent and the outcome is unknown; the engine is working on it
  drifted           the remote system refuses what Vault holds: somebody else changed it, and password does not work

While the first request with a new password is under way, which takes at most request_timeout, the answer stays as it was.

rotation_period is there for every role, since Vault Agent and the Vault Secrets Operator heed ttl only then. Where a role
has a schedule it is the time between two due times, and where it is changed by hand it is how often to look.

Of several servers with one password some may have restarted and others not: until it is in force on all of them,
password is the one before, and status/:name says which server has which. Before the first password is in force,
password is that one all the same, as nothing else is known, and state says what it waits for.

A read changes nothing, but for a role that has no password yet: the first read sets one and waits for it. Where the role
has rotation_mode=on_read and is due, one reader changes the password and the others wait; if the remote system cannot, the
answer is the password there is. With rotate_after_read the first read of a version is remembered.
`

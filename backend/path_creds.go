package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/roles"
)

func (b *Backend) credsPath() *framework.Path {
	return &framework.Path{
		Pattern:      "creds/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "credentials"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readCreds, "Read the password of a role.", response("The password in force.", b.credsFields())),
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
		"username":            {Type: framework.TypeString, Required: true, Description: "Name to log in with."},
		"password":            {Type: framework.TypeString, DisplayAttrs: masked, Required: true, Description: "Password in force, as far as the engine knows. In the state uncertain without next_password, it may never have been in force."},
		"version":             {Type: framework.TypeInt, Required: true, Description: "Version of the password. It increases with each new one."},
		"state":               {Type: framework.TypeString, AllowedValues: states, Required: true, Description: "State of the password."},
		"next_password":       {Type: framework.TypeString, DisplayAttrs: masked, Description: "Password that may replace it; only in the states accepted, restart_required and uncertain."},
		"last_password":       {Type: framework.TypeString, DisplayAttrs: masked, Description: "Previous password; only with return_last_password."},
		"connection":          {Type: framework.TypeString, Required: true, Description: "Connection of the role."},
		"provider":            {Type: framework.TypeString, Required: true, Description: "Kind of remote system."},
		"last_vault_rotation": {Type: framework.TypeString, Required: true, Description: "When the password came into force or was adopted, in RFC 3339 and UTC."},
		"rotation_period":     {Type: framework.TypeInt, Required: true, Description: "Seconds between two due times, or for a role without a schedule, how often to read again."},
		"ttl":                 {Type: framework.TypeInt, Required: true, Description: "Seconds after which to read again, at least 1."},
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
		return fail(name, problem.Mistake("role %q has no password: read status/%s for the reason", name, name))
	}
	return &logical.Response{Data: credsData(report, b.engine.Type(report.Provider))}, nil
}

// credsData returns the response to a reader. Between two successful rotations, only ttl changes: consumers restart
// programs when any other field does.
func credsData(report *roles.Report, kind provider.Type) map[string]any {
	view := report.View
	data := map[string]any{
		"connection":          report.Connection,
		"provider":            report.Provider,
		"username":            report.Username,
		"password":            view.Password.Value,
		"version":             view.Password.Version,
		"state":               string(view.State),
		"last_vault_rotation": report.LastRotation.UTC().Format(time.RFC3339),
		"rotation_period":     report.Period,
		"ttl":                 int64(report.TTL.Seconds()),
	}
	if kind != nil {
		for _, field := range kind.TargetFields() {
			if value, ok := report.Target[field.Name]; ok && !field.Mutable && data[field.Name] == nil {
				data[field.Name] = value
			}
		}
	}
	if view.Next != nil {
		data["next_password"] = view.Next.Value
	}
	if view.Last != nil && report.ReturnLast {
		data["last_password"] = view.Last.Value
	}
	return data
}

const credsHelp = `
Returns the password of a role. The response has no lease. Read again after ttl seconds, as Vault Agent and the Vault
Secrets Operator do.

The state is one of:

  none              There is no password yet.
  active            The remote system confirmed the password, or a login proved it.
  assumed           The password is believed to be in force, but is neither confirmed nor proved.
  accepted          password is in force, and the remote system has queued next_password. After the connection's
                    settle_after, it counts as in force, and the state is assumed; if the role has verify, the state is
                    active once a login with it works.
  restart_required  password is in force, and next_password takes effect when the server restarts. If the role has verify,
                    the engine notices that; if it has restart, the engine restarts the server itself. Otherwise, an
                    operator restarts it, tries the password, and writes confirm-role/:name.
  uncertain         next_password was sent and its outcome is unknown, or no login with it works although the remote
                    system confirmed it. The engine tries again until the outcome is known. Without next_password,
                    password is the one that was sent: no other is known, and it may not work.
  drifted           The remote system refuses the passwords that Vault holds. The password was changed outside Vault,
                    and the one returned does not work.

The response does not change while the first request with a new password is in progress, which takes at most
request_timeout.

rotation_period is returned for every role, because Vault Agent and the Vault Secrets Operator ignore ttl without it. For
a role with a schedule, it is the time between two due times. For a role without one, it is how often to read again.

If a role has several servers, some may already have restarted with a new password. password is the old one until the
new one is in force on all of them, and status/:name returns the version on each server. Before the first password of a
role is in force, password is that one, because Vault knows no other; state says what it waits for.

Reads usually change nothing. There are three exceptions. If a role has no password yet, the first read sets one and
waits for it. If rotation_mode is on_read and the password is due, one read rotates it and the others wait; if that
fails, they return the current password. If rotate_after_read is set, the time of the first read of a version is stored.
`

package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) confirmPath() *framework.Path {
	return &framework.Path{
		Pattern: "confirm-role/" + framework.GenericNameRegex("name"),
		Fields: map[string]*framework.FieldSchema{
			"name":    nameField("role"),
			"version": {Type: framework.TypeInt, Description: "Version of the password to confirm or discard; history/:name lists them. An older one that is in force again gets a new version."},
			"discard": {Type: framework.TypeBool, Description: "State that this version is not in force. It stays in the history as a candidate."},
			"servers": {
				Type:        framework.TypeCommaStringSlice,
				Description: "For a role with several servers, the servers on which this version is in force. Once it is confirmed on all of them, the password is in force.",
			},
			"password": {
				Type: framework.TypeString, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
				Description: "State that this password is in force. It is stored; nothing is sent.",
			},
			"force": {
				Type:        framework.TypeBool,
				Description: "Accept the statement even if a login has proved the opposite; see verify of roles/:name.",
			},
		},
		DisplayAttrs: display("confirm", "role"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.confirmRole, "State which password is in force.", response("State of the role.", outcomeFields())),
		},
		HelpSynopsis:    "State which password of a role is in force.",
		HelpDescription: strings.TrimSpace(confirmHelp),
	}
}

func (b *Backend) confirmRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	version, password, servers := given[int](d, "version"), given[string](d, "password"), given[[]string](d, "servers")
	discard, _ := d.Get("discard").(bool)
	switch {
	case password != nil && (version != nil || discard || servers != nil):
		return logical.ErrorResponse("give either password or version (with discard or servers), not both"), nil
	case discard && servers != nil:
		return logical.ErrorResponse("discard is about all servers and cannot be combined with servers. If one of them did not take the password, rotate the role again, or set the password there by hand and write version and servers"), nil
	case servers != nil && len(*servers) == 0:
		return logical.ErrorResponse("servers is empty: name the servers, or omit it for all of them"), nil
	case password != nil && *password == "":
		return logical.ErrorResponse("password is empty: give the one that is in force with password=@FILE, or with password=- to read it from standard input, without a line break at its end"), nil
	case password == nil && version == nil:
		return logical.ErrorResponse("version or password is missing: give the version that is in force (or, with discard=true, is not), or the password that is in force"), nil
	}
	force, _ := d.Get("force").(bool)
	confirmation := rotation.Confirmation{Discard: discard, Force: force}
	set(&confirmation.Version, version)
	set(&confirmation.Servers, servers)
	set(&confirmation.Password, password)
	report, err := b.engine.Confirm(ctx, req.Storage, name, confirmation)
	return outcome(name, report, err)
}

const confirmHelp = `
Tells the engine which password is in force. Nothing is sent to the remote system.

  version=N               Version N is in force: one that was sent, for example after a server has restarted with it, or an
                          older one of history/:name.
  version=N servers=a,b   Version N is in force on these servers. creds/:name returns it once it is confirmed on all.
  version=N discard=true  Version N is not in force. It stays a candidate in history/:name, because a late request or a
                          restart may still put it in force. You can confirm it then.
  password=…              This password is in force. Use this if it was changed outside Vault (state drifted). It is refused
                          if the remote system cannot have it, because it is too long or has a character that is not allowed.

The state of a confirmed password is "assumed", unless the remote system has confirmed it too. Versions never go back: an
older password that is in force again gets a new version, which the response contains.

If the role has verify and a login contradicts the statement, it is refused. With force=true it is accepted: use it if you know
that the login is at fault, for example because it reaches another server.

A confirmation describes the present only. Another password that waits for a restart keeps waiting, and a queued password
counts as in force at its time. A queued password cannot be discarded before that. If it does not work after that,
discard=true makes the previous password the current one again.
`

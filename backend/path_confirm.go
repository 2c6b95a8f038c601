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
			"version": {Type: framework.TypeInt, Description: "Version of the password that you speak of; history/:name lists them."},
			"discard": {Type: framework.TypeBool, Description: "The password of this version is not in force. It stays in the history as a candidate."},
			"servers": {
				Type:        framework.TypeCommaStringSlice,
				Description: "Only on these servers, for a role that has several. Once it is on all of them, the password is in force.",
			},
			"password": {
				Type: framework.TypeString, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
				Description: "This password is in force. It is stored, nothing is sent.",
			},
		},
		DisplayAttrs: display("confirm", "role"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.confirmRole, "Say which password is in force.", response("How the role stands.", outcomeFields())),
		},
		HelpSynopsis:    "Say which password of a role is in force.",
		HelpDescription: strings.TrimSpace(confirmHelp),
	}
}

func (b *Backend) confirmRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	version, discard, password := given[int](d, "version"), given[bool](d, "discard"), given[string](d, "password")
	servers := given[[]string](d, "servers")
	discarding := discard != nil && *discard
	switch {
	case password != nil && (version != nil || discarding || servers != nil):
		return logical.ErrorResponse("give either password, or version (and discard or servers), not both"), nil
	case discarding && servers != nil:
		return logical.ErrorResponse("discard is about the password on all servers: where one did not take it, rotate the role again, or set the password there by hand and write version and servers"), nil
	case servers != nil && len(*servers) == 0:
		return logical.ErrorResponse("servers is empty: name them, or leave it out for all"), nil
	case password != nil && *password == "":
		return logical.ErrorResponse("password is empty"), nil
	case password == nil && version == nil:
		return logical.ErrorResponse("say what is in force: version of the next password (with discard=true if it is not in force), or password"), nil
	}
	word := rotation.Word{Discard: discarding}
	set(&word.Version, version)
	set(&word.Servers, servers)
	set(&word.Password, password)
	report, err := b.engine.Confirm(ctx, req.Storage, name, word)
	if err != nil {
		return fail(name, err)
	}
	return outcome(report), nil
}

const confirmHelp = `
Tells the engine what you know about the account. Nothing is sent to the remote system.

  version=N               the password of version N, which was sent, is in force: use it when a server has restarted with it
  version=N servers=a,b   it is in force on these servers; creds/:name changes when it is on all of them
  version=N discard=true  it is not; it stays a candidate in history/:name, as a late request or a start of the server may
                          still put it in force, and then you can confirm it after all
  password=…              this one is in force; use it when somebody changed the password elsewhere (state drifted)

A password that you confirm is "assumed", unless the remote system has confirmed it: your word is no proof. It is about
now. A password that waits for a restart keeps waiting for it, unless it is the one you confirm or discard, and one that
is queued comes into force at its time: before that it cannot be discarded. After that it can: where a password counts as
in force by time alone and does not work, discard=true gives the one before its place back.
`

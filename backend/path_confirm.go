package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *Backend) confirmPath() *framework.Path {
	return &framework.Path{
		Pattern: "confirm-role/" + framework.GenericNameRegex("name"),
		Fields: map[string]*framework.FieldSchema{
			"name":    nameField("role"),
			"version": {Type: framework.TypeInt, Description: "Version of the password that you speak of; history/:name lists them."},
			"discard": {Type: framework.TypeBool, Description: "The password of this version is not in force. It stays in the history as a candidate."},
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
	discarding := discard != nil && *discard
	switch {
	case password != nil && (version != nil || discarding):
		return logical.ErrorResponse("give either password, or version (and discard), not both"), nil
	case password != nil && *password == "":
		return logical.ErrorResponse("password is empty"), nil
	case password == nil && version == nil:
		return logical.ErrorResponse("say what is in force: version of the next password (with discard=true if it is not in force), or password"), nil
	case password != nil:
		report, err := b.engine.Confirm(ctx, req.Storage, name, 0, false, *password)
		if err != nil {
			return fail(name, err)
		}
		return outcome(report), nil
	}
	report, err := b.engine.Confirm(ctx, req.Storage, name, *version, discarding, "")
	if err != nil {
		return fail(name, err)
	}
	return outcome(report), nil
}

const confirmHelp = `
Tells the engine what you know about the account. Nothing is sent to the remote system.

  version=N               the password of version N, which was sent, is in force
  version=N discard=true  it is not; it stays a candidate in history/:name, as a late request may still put it in force
  password=…              this one is in force; use it when somebody changed the password elsewhere (state drifted)

A password that you confirm is "assumed": the remote system did not confirm it.
`

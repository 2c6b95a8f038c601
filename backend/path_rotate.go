package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *Backend) rotatePath() *framework.Path {
	return &framework.Path{
		Pattern: "rotate-role/" + framework.GenericNameRegex("name"),
		Fields: map[string]*framework.FieldSchema{
			"name": nameField("role"),
			"version": {
				Type:        framework.TypeInt,
				Description: "Rotate only if this is still the version in force, so that a repeated request is harmless.",
			},
		},
		DisplayAttrs: display("rotate", "role"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.rotateRole, "Change the password to a generated one.", response("How the role stands.", outcomeFields())),
		},
		HelpSynopsis:    "Change the password of a role now.",
		HelpDescription: strings.TrimSpace(rotateHelp),
	}
}

func (b *Backend) rotateRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	version := 0
	if v := given[int](d, "version"); v != nil {
		if *v < 1 {
			return logical.ErrorResponse("version must be at least 1"), nil
		}
		version = *v
	}
	report, err := b.engine.Rotate(ctx, req.Storage, name, version)
	if err != nil {
		return fail(name, err)
	}
	return outcome(report), nil
}

func (b *Backend) setPasswordPath() *framework.Path {
	return &framework.Path{
		Pattern: "set-password/" + framework.GenericNameRegex("name"),
		Fields: map[string]*framework.FieldSchema{
			"name": nameField("role"),
			"password": {
				Type: framework.TypeString, Required: true, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
				Description: "The password to set. It is checked against the remote system's rules before it is sent.",
			},
		},
		DisplayAttrs: display("set", "password"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.setPassword, "Change the password to a given one.", response("How the role stands.", outcomeFields())),
		},
		HelpSynopsis:    "Set the password of a role to a given one.",
		HelpDescription: strings.TrimSpace(setPasswordHelp),
	}
}

func (b *Backend) setPassword(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	password := given[string](d, "password")
	if password == nil || *password == "" {
		return logical.ErrorResponse("password is missing"), nil
	}
	report, err := b.engine.SetPassword(ctx, req.Storage, name, *password)
	if err != nil {
		return fail(name, err)
	}
	return outcome(report), nil
}

const rotateHelp = `
Makes a new password, stores it, pushes it to the remote system and answers with how the role stands; read the password
at creds/:name. The answer comes within 45 seconds; a change that takes longer goes on by itself.

  200  the password was changed, or is on its way (state accepted, restart_required or uncertain, with a warning)
  400  nothing was changed, and asking again does not help: the message says what to do
  502  nothing was changed: the remote system cannot be reached, or refuses the connection's credential
  503  nothing was changed: the remote system is busy, or the connection is paused

After a failure that may pass, the engine goes on by itself with growing distances. A request in between gets the same
answer and makes no further call. What the remote system refused (400) is not tried again before somebody asks.

Where a password comes into force later: with version, a request does nothing while the next one waits already. Without
it, a server gets another password, and the last one before its restart counts; one that was queued comes into force
first. Where some servers of a role have taken a password and others have not, the others are asked again, with that one.
`

const setPasswordHelp = `
Like rotate-role, with a password that you give. It has a path of its own so that it can have a policy of its own: who may
choose a password knows it. A password that breaks a rule of the remote system is refused with the name of the rule.
`

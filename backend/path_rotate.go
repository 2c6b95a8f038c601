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
				Description: "Rotate only if this version is still in force, so that the request can be repeated safely. creds/:name returns it.",
			},
			"force": {
				Type:        framework.TypeBool,
				Description: "Make one attempt now, even if the engine is waiting before the next one. Use it when you have fixed the cause of a failure.",
			},
		},
		DisplayAttrs: display("rotate", "role"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.rotateRole, "Rotate the password of a role.", response("State of the role.", outcomeFields())),
		},
		HelpSynopsis:    "Rotate the password of a role now.",
		HelpDescription: strings.TrimSpace(rotateHelp),
	}
}

func (b *Backend) rotateRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	version, _ := d.Get("version").(int)
	if version < 1 && given[int](d, "version") != nil {
		return logical.ErrorResponse("version must be at least 1"), nil
	}
	rotate := b.engine.Rotate
	if force, _ := d.Get("force").(bool); force {
		rotate = b.engine.RotateNow
	}
	report, err := rotate(ctx, req.Storage, name, version)
	return outcome(name, report, err)
}

func (b *Backend) setPasswordPath() *framework.Path {
	return &framework.Path{
		Pattern: "set-password/" + framework.GenericNameRegex("name"),
		Fields: map[string]*framework.FieldSchema{
			"name": nameField("role"),
			"password": {
				Type: framework.TypeString, Required: true, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
				Description: "Password to set. It is checked against the remote system's rules before it is sent. With the vault command, give it as password=@FILE, or as password=- from standard input, without a line break at its end.",
			},
		},
		DisplayAttrs: display("set", "password"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.setPassword, "Set the password of a role.", response("State of the role.", outcomeFields())),
		},
		HelpSynopsis:    "Set the password of a role to a given value.",
		HelpDescription: strings.TrimSpace(setPasswordHelp),
	}
}

func (b *Backend) setPassword(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	password, _ := d.Get("password").(string)
	if password == "" {
		return logical.ErrorResponse("password is missing: give the new one with password=@FILE, or with password=- to read it from standard input, without a line break at its end. To have one generated, write rotate-role/%s", name), nil
	}
	report, err := b.engine.SetPassword(ctx, req.Storage, name, password)
	return outcome(name, report, err)
}

const rotateHelp = `
Generates a new password, stores it, sets it on the remote system, and returns the state of the role. Read the password
from creds/:name. The response arrives within 45 seconds; a change that takes longer continues in the background.

  200  The password was changed, or was sent and is not known to be in force yet (state accepted, restart_required or
       uncertain, with a warning).
  400  Nothing was changed, and repeating the request does not help. The message says what to do.
  502  Nothing was changed: the remote system cannot be reached, or refuses the connection's credential.
  503  Nothing was changed: the remote system is busy, or the connection is paused.
  500  Vault or the plugin failed, for example because an audit device is lost. The change was carried out, or it was not:
       read creds/:name before you repeat the request.

Vault's client repeats a request that got a 5xx. With the version that creds/:name returns, a repetition makes no second
change. Without it, each request is a change of its own. Scripts should always send it.

After 502, 503, or an unknown outcome, the engine retries with exponential backoff, unless the message says that it does
not. A request before the next attempt gets the same response and makes no call. After 400, the change is not retried until
the next request. A request replaces a password that an operator chose and that was never sent, and says so.

With force=true, a request makes one attempt at once, also while the remote system is throttling the connection: use it
with version when you have fixed the cause. It sends the password that is being set, if there is one. It does not resume a paused
connection, and it never makes an attempt that could lock the credential or the account: the response says until when it
has to wait. Within 10 seconds after a failure it makes no attempt and says so, because Vault's client repeats failed requests.

Within min_rotation_interval of the mount's settings after the last change, a request changes nothing, with force=true too: the
response has the version in force and a warning.

If a password is waiting to take effect, a request with its version does nothing. Without version, a server gets another
password, and the last one before its restart takes effect; a queued password takes effect before another one is sent.
If only some servers of a role took a password, the request sends it to the others again.
`

const setPasswordHelp = `
Like rotate-role, but with a password that you choose. It is a separate path so that it can have a separate policy: who
chooses a password knows it. If the password breaks a rule of the remote system, the error names the rule. If the remote
system refuses it, the error says so, and the role stays as it was.
`

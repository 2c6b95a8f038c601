package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *Backend) historyPath() *framework.Path {
	return &framework.Path{
		Pattern:      "history/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "password-history"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readHistory, "Read the passwords of a role.", response("The passwords.", map[string]*framework.FieldSchema{
				"passwords": {
					Type: framework.TypeSlice, Required: true, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
					Description: "Passwords, each with version, password, state, created_time and reason.",
				},
			})),
		},
		HelpSynopsis: "Read the current, next and older passwords of a role.",
		HelpDescription: strings.TrimSpace(`
Returns every password that the remote system may have, and as many older ones as history_size allows, in case the current
one does not work. Of the passwords that only counted as in force because time had passed, it returns the last eight, and
the last one that is known to have worked. This path requires the capabilities "read" and "sudo".

The state of a password is one of:

  current            It is in force.
  unsent, sending, unknown, accepted, restart_required
                     It is the next password, in this phase.
  candidate: REASON  It was sent and replaced, and may still be valid.
  refused            The remote system reports that it is not the password.
  previous           It was in force before the current one.
  old                It was in force earlier.
  unconfirmed        It counted as in force because time had passed.
  superseded         It was sent, and is not known to have worked.

Use vault read -format=json to read the list.
`),
	}
}

func (b *Backend) readHistory(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	history, err := b.engine.History(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	passwords := []any{}
	for _, p := range history {
		passwords = append(passwords, map[string]any{
			"version": p.Version, "password": p.Value, "state": p.State,
			"created_time": p.Created.UTC().Format(time.RFC3339), "reason": p.Reason,
		})
	}
	return &logical.Response{Data: map[string]any{"passwords": passwords}}, nil
}

package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) historyPath() *framework.Path {
	return &framework.Path{
		Pattern:      "history/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "password-history"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readHistory, "Read every password of a role.", response("The passwords.", map[string]*framework.FieldSchema{
				"passwords": {
					Type: framework.TypeSlice, Required: true, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
					Description: "Each with version, password, state, created_time and reason.",
				},
			})),
		},
		HelpSynopsis: "Read every password of a role that may still be valid, and the older ones.",
		HelpDescription: strings.TrimSpace(`
Lists the passwords that the remote system may hold (of those that only time has settled the last eight, and the last one
that is known to have worked), and older ones as far as history_size goes, for the case that the one in force does not work. Needs the capability "sudo" besides "read".

state is "current", the phase of a new one ("unsent", "sending", "unknown", "accepted", "restart_required"), "candidate"
with the reason why it may be valid, "refused" (the remote system says it is not the password), "previous" (worked
before the current one), "old", "unconfirmed" (counted as in force by time alone), or "superseded" (sent once, and never known to have worked). With vault read
-format=json the list is readable.
`),
	}
}

func (b *Backend) readHistory(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	role, err := b.engine.Role(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = rotation.ErrNoRole
	}
	if err != nil {
		return fail(name, err)
	}
	passwords := []any{}
	for _, p := range role.Record.List() {
		passwords = append(passwords, map[string]any{
			"version": p.Version, "password": p.Value, "state": p.State,
			"created_time": p.Created.UTC().Format(time.RFC3339), "reason": p.Reason,
		})
	}
	return &logical.Response{Data: map[string]any{"passwords": passwords}}, nil
}

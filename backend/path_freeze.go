package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/timing"
)

func (b *Backend) freezePath() *framework.Path {
	answer := response("The freeze of the mount.", map[string]*framework.FieldSchema{
		"frozen": {Type: framework.TypeBool, Required: true, Description: "Whether automatic changes are frozen."},
		"since":  {Type: framework.TypeString, Description: "When the freeze began, in RFC 3339."},
		"until":  {Type: framework.TypeString, Description: "When the freeze ends, in RFC 3339. Absent if it lasts until an operator deletes it."},
		"reason": {Type: framework.TypeString, Description: "Why the mount is frozen."},
	})
	return &framework.Path{
		Pattern: "freeze",
		Fields: map[string]*framework.FieldSchema{
			"duration": {Type: framework.TypeDurationSecond, Description: "How long to freeze automatic changes, from now, at most 90 days. Required."},
			"reason":   {Type: framework.TypeString, Description: "Why the mount is frozen, for other operators. Required."},
		},
		DisplayAttrs: display("", "freeze"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   writes(b.readFreeze, "Read the freeze of the mount.", answer), // forwarded to the node that knows it
			logical.UpdateOperation: writes(b.writeFreeze, "Freeze the mount.", answer),
			logical.DeleteOperation: writes(b.deleteFreeze, "End the freeze of the mount.", noContent("The mount is not frozen.")),
		},
		HelpSynopsis: "Freeze automatic changes on this mount.",
		HelpDescription: strings.TrimSpace(`
While a mount is frozen, nothing is changed automatically: due rotations and retries wait, and reads do not set or rotate
passwords. No server is restarted, and no login proves a password. Passwords can still be read, and requests of operators
(rotate-role, set-password, confirm-role, verify-role, recover-role) still work.

When the engine starts and has not run for longer than catch_up_limit (see settings), it freezes the mount itself, because
this Vault may be a restored copy, which must not change passwords that are in use. Such a freeze has no end: delete it
to resume automatic changes. Everything that became due in the meantime is then rotated within about a minute.
`),
	}
}

func (b *Backend) readFreeze(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	freeze, err := b.engine.Gate.Read(ctx, req.Storage)
	if err != nil {
		return fail("", err)
	}
	return freezeAnswer(freeze), nil
}

func (b *Backend) writeFreeze(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	seconds, _ := d.Get("duration").(int)
	reason, _ := d.Get("reason").(string)
	freeze, err := b.engine.Gate.Write(ctx, req.Storage, timing.Seconds(seconds), reason)
	if err != nil {
		return fail("", err)
	}
	return freezeAnswer(freeze), nil
}

func (b *Backend) deleteFreeze(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if err := b.engine.Gate.End(ctx, req.Storage); err != nil {
		return fail("", err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

func freezeAnswer(freeze *role.Freeze) *logical.Response {
	data := map[string]any{"frozen": freeze != nil}
	if freeze != nil {
		data["reason"] = freeze.Reason
		putTime(data, "since", freeze.Since)
		putTime(data, "until", freeze.Until)
	}
	return &logical.Response{Data: data}
}

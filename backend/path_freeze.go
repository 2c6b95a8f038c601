package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) freezePath() *framework.Path {
	answer := response("Whether the mount is frozen.", map[string]*framework.FieldSchema{
		"frozen": {Type: framework.TypeBool, Required: true, Description: "Nothing is changed automatically."},
		"since":  {Type: framework.TypeString, Description: "When it began, RFC 3339."},
		"until":  {Type: framework.TypeString, Description: "When it ends by itself, RFC 3339; absent: when somebody deletes it."},
		"reason": {Type: framework.TypeString, Description: "Why."},
	})
	return &framework.Path{
		Pattern: "freeze",
		Fields: map[string]*framework.FieldSchema{
			"duration": {Type: framework.TypeDurationSecond, Description: "How long nothing is changed automatically, counted from now. At most 90 days. Required."},
			"reason":   {Type: framework.TypeString, Description: "Why, for whoever finds the mount frozen. Required."},
		},
		DisplayAttrs: display("", "freeze"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   writes(b.readFreeze, "Read whether the mount is frozen.", answer), // where it is known
			logical.UpdateOperation: writes(b.writeFreeze, "Freeze the mount.", answer),
			logical.DeleteOperation: writes(b.deleteFreeze, "End a freeze.", noContent("The mount is not frozen.")),
		},
		HelpSynopsis: "Keep the engine from changing anything by itself.",
		HelpDescription: strings.TrimSpace(`
While a mount is frozen nothing is changed automatically: what becomes due waits, retries wait, and a read sets no change
off. Passwords are read as before, and requests of operators (rotate-role, set-password, confirm-role) are carried out.

The engine freezes a mount by itself where it finds at its start that it did not run for longer than catch_up_limit (see
settings): a snapshot that was restored into another Vault must not change the passwords that are in use. Such a freeze
has no end: delete it when automatic changes are to go on. What has become due in the meantime is then done, spread over
about a minute.
`),
	}
}

func (b *Backend) readFreeze(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	freeze, err := b.engine.ReadFreeze(ctx, req.Storage)
	if err != nil {
		return fail("", err)
	}
	return freezeAnswer(freeze), nil
}

func (b *Backend) writeFreeze(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	var duration time.Duration
	if given := given[int](d, "duration"); given != nil {
		duration = time.Duration(*given) * time.Second
	}
	var reason string
	if given := given[string](d, "reason"); given != nil {
		reason = *given
	}
	freeze, err := b.engine.WriteFreeze(ctx, req.Storage, duration, reason)
	if err != nil {
		return fail("", err)
	}
	return freezeAnswer(freeze), nil
}

func (b *Backend) deleteFreeze(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if err := b.engine.Thaw(ctx, req.Storage); err != nil {
		return fail("", err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

func freezeAnswer(freeze *rotation.Freeze) *logical.Response {
	data := map[string]any{"frozen": freeze != nil}
	if freeze != nil {
		data["reason"] = freeze.Reason
		putTime(data, "since", freeze.Since)
		putTime(data, "until", freeze.Until)
	}
	return &logical.Response{Data: data}
}

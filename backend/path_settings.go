package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) settingsPath() *framework.Path {
	limit := &framework.FieldSchema{
		Type: framework.TypeDurationSecond, Default: rotation.DefaultCatchUpLimit,
		Description: "After a stop longer than this, automatic changes are held until an operator says go: a snapshot restored into a test cluster must not change production. At least 60 seconds. See freeze.",
	}
	return &framework.Path{
		Pattern:      "settings",
		Fields:       map[string]*framework.FieldSchema{"catch_up_limit": limit},
		DisplayAttrs: display("", "settings"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   reads(b.readSettings, "Read the settings of the mount.", response("The settings.", map[string]*framework.FieldSchema{"catch_up_limit": limit})),
			logical.UpdateOperation: writes(b.writeSettings, "Change the settings of the mount.", noContent("The settings were stored.")),
		},
		HelpSynopsis:    "Settings of the whole mount.",
		HelpDescription: strings.TrimSpace("Settings that hold for every role of the mount. What is absent stays as it is."),
	}
}

func (b *Backend) readSettings(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	settings, err := b.engine.ReadSettings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{"catch_up_limit": settings.CatchUpLimit}}, nil
}

func (b *Backend) writeSettings(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	settings, err := b.engine.ReadSettings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	set(&settings.CatchUpLimit, given[int](d, "catch_up_limit"))
	if err := b.engine.WriteSettings(ctx, req.Storage, settings); err != nil {
		return fail("", err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

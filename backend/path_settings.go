package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/store"
)

func (b *Backend) settingsPath() *framework.Path {
	limit := &framework.FieldSchema{
		Type: framework.TypeDurationSecond, Default: store.DefaultCatchUpLimit,
		Description: "If the engine has not run for longer than this, it freezes the mount when it starts, because a snapshot restored into a test cluster must not change passwords in production. At least 60 seconds. See freeze.",
	}
	return &framework.Path{
		Pattern:      "settings",
		Fields:       map[string]*framework.FieldSchema{"catch_up_limit": limit},
		DisplayAttrs: display("", "settings"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   reads(b.readSettings, "Read the settings of the mount.", response("The settings.", readable(map[string]*framework.FieldSchema{"catch_up_limit": limit}))),
			logical.UpdateOperation: writes(b.writeSettings, "Update the settings of the mount. Absent fields keep their values.", noContent("The settings were stored.")),
			logical.PatchOperation:  writes(b.writeSettings, "Update the settings of the mount. Absent fields keep their values.", noContent("The settings were stored.")),
			logical.DeleteOperation: writes(b.deleteSettings, "Reset the settings of the mount to their defaults.", noContent("The settings are the defaults.")),
		},
		HelpSynopsis:    "Manage the settings of the mount.",
		HelpDescription: "These settings apply to all roles of the mount. Absent fields keep their values. Deleting the settings resets them to their defaults, also if the stored ones are damaged.",
	}
}

func (b *Backend) readSettings(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	settings, err := b.engine.Gate.Settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{"catch_up_limit": settings.CatchUpLimit}}, nil
}

func (b *Backend) writeSettings(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	err := b.engine.Gate.WriteSettings(ctx, req.Storage, func(settings *store.Settings) {
		set(&settings.CatchUpLimit, given[int](d, "catch_up_limit"))
	})
	if err != nil {
		return fail("", err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

func (b *Backend) deleteSettings(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if err := b.engine.Gate.ResetSettings(ctx, req.Storage); err != nil {
		return fail("", err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

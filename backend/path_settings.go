package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/store"
)

func (b *Backend) settingsPath() *framework.Path {
	fields := settingsFields()
	return &framework.Path{
		Pattern:      "settings",
		Fields:       fields,
		DisplayAttrs: display("", "settings"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   reads(b.readSettings, "Read the settings of the mount.", response("The settings.", readable(fields))),
			logical.UpdateOperation: writes(b.writeSettings, "Update the settings of the mount. Absent fields keep their values.", noContent("The settings were stored.")),
			logical.PatchOperation:  writes(b.writeSettings, "Update the settings of the mount. Absent fields keep their values.", noContent("The settings were stored.")),
			logical.DeleteOperation: writes(b.deleteSettings, "Reset the settings of the mount to their defaults.", noContent("The settings are the defaults.")),
		},
		HelpSynopsis:    "Manage the settings of the mount.",
		HelpDescription: strings.TrimSpace(settingsHelp),
	}
}

// settingsOptions lists the settings of the mount.
func settingsOptions() []option[store.Settings] {
	limits := &framework.DisplayAttributes{Group: "Limits"}
	return []option[store.Settings]{
		{"catch_up_limit", framework.FieldSchema{
			Type: framework.TypeDurationSecond, Default: store.DefaultCatchUpLimit,
			Description: "If the engine has not run for longer than this, it freezes the mount when it starts, because a snapshot restored into a test cluster must not change passwords in production. At least 60 seconds. See freeze.",
		}, func(s *store.Settings) any { return &s.CatchUpLimit }},
		{"allowed_hosts", framework.FieldSchema{
			Type: framework.TypeCommaStringSlice, DisplayAttrs: limits,
			Description: "Hosts that url, iam_url and verify_address may lead to: globs that match the host name, and networks as CIDR. A host is allowed if a glob matches its name, or if a network contains the address that Vault connects to. Default: any host. Link-local addresses and metadata services of clouds are never allowed.",
		}, func(s *store.Settings) any { return (*[]string)(&s.AllowedHosts) }},
		{"forbid_insecure_tls", framework.FieldSchema{
			Type: framework.TypeBool, Default: false, DisplayAttrs: limits,
			Description: "Refuse insecure_tls, and verify_tls=false of roles. Connections that have insecure_tls cannot be used until it is switched off, and roles that have verify_tls=false do not verify passwords.",
		}, func(s *store.Settings) any { return &s.ForbidInsecureTLS }},
		{"min_rotation_interval", framework.FieldSchema{
			Type: framework.TypeDurationSecond, Default: 0, DisplayAttrs: limits,
			Description: "Minimum time between a change of a role's password and the next one that rotate-role makes. 0 means none.",
		}, func(s *store.Settings) any { return &s.MinRotationInterval }},
		{"max_roles_per_connection", framework.FieldSchema{
			Type: framework.TypeInt, Default: 0, DisplayAttrs: limits,
			Description: "Maximum number of roles of one connection. Existing roles stay. 0 means no limit.",
		}, func(s *store.Settings) any { return &s.MaxRolesPerConnection }},
		{"min_password_bits", framework.FieldSchema{
			Type: framework.TypeInt, Default: store.DefaultMinPasswordBits, DisplayAttrs: limits,
			Description: "Minimum strength of passwords of a password policy, in bits: the length of a password times the binary logarithm of the number of different characters in samples of the policy. Between 0 and 128; 0 means no minimum.",
		}, func(s *store.Settings) any { return &s.MinPasswordBits }},
	}
}

// settingsFields returns the fields of the settings, with their defaults.
func settingsFields() map[string]*framework.FieldSchema {
	return merge(addOptions(map[string]*framework.FieldSchema{}, settingsOptions()), nil, nil)
}

func (b *Backend) readSettings(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	settings, err := b.engine.Gate.Settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: values(settingsOptions(), &settings)}, nil
}

func (b *Backend) writeSettings(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	err := b.engine.Gate.WriteSettings(ctx, req.Storage, func(settings *store.Settings) {
		apply(d, settingsOptions(), settings)
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

const settingsHelp = `
These settings apply to all connections and roles of the mount, whoever writes them. Absent fields keep their values.
Deleting the settings resets them to their defaults, also if the stored ones are damaged. This path requires the capability
"sudo".

A setting that is made stricter applies to what is stored already, when it is used next. A connection that is no longer
allowed is not called, and its roles keep their passwords: readers still get them, and status tells why they are not rotated.
`

package backend

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

func (b *Backend) configPaths() []*framework.Path {
	fields := merge(addOptions(b.configFields(), configOptions()), b.types, provider.Type.ConnectionFields)
	return []*framework.Path{
		listPath("config/?$", "connections", "List the connections to remote systems.",
			"Lists the names of all connections. Read config/:name for the configuration of one. Secrets are never returned.",
			func(ctx context.Context, s logical.Storage) ([]string, error) {
				return b.engine.Connections.List(ctx, s)
			}),
		{
			Pattern:        "config/" + framework.GenericNameRegex("name"),
			Fields:         fields,
			DisplayAttrs:   display("", "connection"),
			ExistenceCheck: b.configExists,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation:   reads(b.readConfig, "Read a connection, without its secrets.", response("The connection.", readable(fields))),
				logical.CreateOperation: writes(b.writeConfig, "Create a connection after checking it.", noContent("The connection was stored.")),
				logical.UpdateOperation: writes(b.writeConfig, "Update a connection. Absent fields keep their values.", noContent("The connection was stored. The status is 200 if there is a warning, for example about a secret that was not checked, or roles that the connection does not allow.")),
				logical.PatchOperation:  writes(b.patchConfig, "Update a connection that exists. Absent fields keep their values.", noContent("The connection was stored.")),
				logical.DeleteOperation: writes(b.deleteConfig, "Delete a connection that no role uses.", noContent("The connection was deleted.")),
			},
			HelpSynopsis:    "Manage a connection: the address of a remote system and the credential for it.",
			HelpDescription: strings.TrimSpace(configHelp),
		},
	}
}

// configFields returns the other fields that every connection has, regardless of its provider.
func (b *Backend) configFields() map[string]*framework.FieldSchema {
	var kinds []string
	var allowed []any
	for _, kind := range b.types { // which are sorted by name
		kinds, allowed = append(kinds, kind.Name()), append(allowed, kind.Name())
	}
	return map[string]*framework.FieldSchema{
		"name": nameField("connection"),
		"provider": {
			Type: framework.TypeString, AllowedValues: allowed,
			Description: "Kind of remote system: " + strings.Join(kinds, ", ") + ". Required on create; cannot be changed.",
		},
		"credential_fields": {
			Type: framework.TypeCommaStringSlice, Description: "Fields that the stored credential consists of. A write ignores this field.",
		},
		"force": {
			Type:        framework.TypeBool,
			Description: "Check the credential once now, even if it was refused before or if one more refusal could make the remote system lock the login or block Vault's address. It is stored only if it works. Not stored itself.",
		},
	}
}

// configOptions lists the fields of every connection that can be changed.
func configOptions() []option[connection.Options] {
	tls := &framework.DisplayAttributes{Group: "TLS"}
	return []option[connection.Options]{
		{"url", framework.FieldSchema{
			Type:        framework.TypeString,
			Description: "Base URL of the remote system's API, https://host:port. By default, it is derived from region if the provider has that field; for mediatemple, it is https://api.mediatemple.net/api/v1. Changing it requires the credential in the same request, and the host cannot be changed while roles use the connection. http:// is accepted only for a literal loopback address and with insecure_tls.",
		}, func(o *connection.Options) any { return &o.Address }},
		{"ca_cert", framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  "PEM bundle of the CA certificates to trust instead of the system's. Changing it requires the credential.",
			DisplayAttrs: &framework.DisplayAttributes{EditType: "file", Group: "TLS"},
		}, func(o *connection.Options) any { return &o.TLS.CACert }},
		{"tls_server_name", framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  "Name to verify in the remote system's certificate instead of the host in url. Changing it requires the credential.",
			DisplayAttrs: tls,
		}, func(o *connection.Options) any { return &o.TLS.ServerName }},
		{"insecure_tls", framework.FieldSchema{
			Type:         framework.TypeBool,
			Description:  "Do not verify the remote system's certificate. Anyone between Vault and the remote system can then read the credential and every new password. Changing it requires the credential.",
			DisplayAttrs: tls,
		}, func(o *connection.Options) any { return &o.TLS.Insecure }},
		{"allowed_roles", framework.FieldSchema{
			Type:        framework.TypeCommaStringSlice,
			Description: "Names of the roles that may use the connection, in which * stands for any text, checked when a role is written, rotated or read. Default: none.",
		}, func(o *connection.Options) any { return &o.AllowedRoles }},
		{"allowed_targets", framework.FieldSchema{
			Type: framework.TypeCommaStringSlice, Default: []string{"*"},
			Description: "Accounts that roles may name, in which * stands for any text and case does not matter: the service number (mediatemple), the login (plesk), each of the instance_ids (ecs), or instance_id/account_id (dcs).",
		}, func(o *connection.Options) any { return &o.AllowedTargets }},
		{"allowed_verify_addresses", framework.FieldSchema{
			Type:        framework.TypeCommaStringSlice,
			Description: "Where roles may have their passwords verified by a login, as host:port or CIDR: whoever writes a role could otherwise have its password sent to a server of their own. Checked when a role is written and before each login. A host name must be listed with its port; a CIDR allows literal addresses only, with any port. Default: none. The address of the connection itself need not be listed.",
		}, func(o *connection.Options) any { return &o.AllowedVerifyAddresses }},
		{"password_policy", framework.FieldSchema{
			Type:        framework.TypeString,
			Description: "Name of a Vault password policy (sys/policies/password) for new passwords. When it is set, 200 samples are checked against the remote system's rules and min_password_bits of the mount's settings. Default: a generator that follows these rules.",
		}, func(o *connection.Options) any { return &o.PasswordPolicy }},
		{"allowed_password_policies", framework.FieldSchema{
			Type:        framework.TypeCommaStringSlice,
			Description: "Names or globs of password policies that roles may name, checked when a role is written and when a password is generated. Default: none but the connection's password_policy.",
		}, func(o *connection.Options) any { return &o.AllowedPasswordPolicies }},
		{"verify_connection", framework.FieldSchema{
			Type: framework.TypeBool, Default: true,
			Description: "Check a new address, TLS setting or credential with a read-only call before storing it. The value is stored too: after a write with false, set it to true again.",
		}, func(o *connection.Options) any { return &o.VerifyConnection }},
		{"request_timeout", framework.FieldSchema{
			Type: framework.TypeDurationSecond, Default: connection.DefaultRequestTimeout,
			Description: "Timeout of one call to the remote system, between 1 and 60 seconds.",
		}, func(o *connection.Options) any { return &o.RequestTimeout }},
		{"max_in_flight", framework.FieldSchema{
			Type: framework.TypeInt, Default: connection.DefaultMaxInFlight,
			Description: "Maximum number of concurrent changes on this connection, between 1 and 100. If every call presents a credential that the remote system locks after too many refusals (a Plesk login, an access key), at most 2 calls run at a time over all connections with that credential, because all of them are refused at once when it is changed elsewhere. This limit does not apply to a Plesk secret key or an IAM user.",
		}, func(o *connection.Options) any { return &o.MaxInFlight }},
	}
}

// readable returns the fields of a read response: all except secrets, the name, and options of the request itself.
func readable(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	out := map[string]*framework.FieldSchema{}
	for name, schema := range fields {
		if name == "name" || name == "force" || schema.Query || secret(schema) {
			continue
		}
		shown := *schema
		shown.Required = false
		if shown.Type == framework.TypeDurationSecond { // which a request may give as text, too
			shown.Type = framework.TypeInt
		}
		out[name] = &shown
	}
	return out
}

func (b *Backend) configExists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	name, _ := d.Get("name").(string)
	return b.engine.Connections.Exists(ctx, req.Storage, name)
}

func (b *Backend) readConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	c, err := b.engine.Connections.Read(ctx, req.Storage, name)
	if errors.Is(err, problem.ErrNoConnection) {
		return nil, nil //nolint:nilnil // Vault's 404
	}
	if err != nil {
		return fail(name, err)
	}
	data := values(configOptions(), &c.Options)
	data["provider"], data["credential_fields"] = c.Provider, c.CredentialFields
	maps.Copy(data, c.Settings)
	return &logical.Response{Data: data}, nil
}

func (b *Backend) writeConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	force, _ := d.Get("force").(bool)
	resp := &logical.Response{}
	err := b.engine.Connections.Write(ctx, req.Storage, name, connection.Patch{
		Force:    force,
		Warn:     resp.AddWarning,
		Provider: given[string](d, "provider"),
		Change:   func(o *connection.Options) { apply(d, configOptions(), o) },
		Settings: givenOf(d, b.types, provider.Type.ConnectionFields),
	})
	if err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventConfigWrite, req.Path, name, req.Path)
	for _, warning := range []string{b.engine.Connections.Warning(ctx, req.Storage, name), b.warnOfRoles(ctx, req, d, name)} {
		if warning != "" {
			resp.AddWarning(warning)
		}
	}
	if len(resp.Warnings) == 0 {
		return nil, nil //nolint:nilnil // Vault's 204
	}
	return resp, nil
}

// warnOfRoles returns a warning if the request limits the roles of the connection so that it no longer allows all of them;
// otherwise "".
func (b *Backend) warnOfRoles(ctx context.Context, req *logical.Request, d *framework.FieldData, name string) string {
	if given[any](d, "allowed_roles") == nil && given[any](d, "allowed_targets") == nil {
		return ""
	}
	roles := b.engine.Recheck(ctx, req.Storage, name)
	if len(roles) == 0 {
		return ""
	}
	return explain.NotAllowed(name, roles)
}

// patchConfig is writeConfig for a connection that exists.
func (b *Backend) patchConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	if exists, err := b.configExists(ctx, req, d); err != nil || !exists {
		name, _ := d.Get("name").(string)
		return fail(name, cmp.Or(err, problem.ErrNoConnection))
	}
	return b.writeConfig(ctx, req, d)
}

func (b *Backend) deleteConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	if err := b.engine.Connections.Delete(ctx, req.Storage, name); err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventConfigDelete, req.Path, name, req.Path)
	return nil, nil //nolint:nilnil // Vault's 204
}

const configHelp = `
A connection holds the address of a remote system and the credential for it. Descriptions of fields that only some
providers have begin with the provider in parentheses. Setting a field of another provider is an error.

The credential has one of several forms, such as a user name and a password, or a key; see the provider's documentation.
Writing a secret of one form replaces the whole credential. Secrets are never returned; credential_fields names the
fields that are set.

A new address, TLS setting or credential is checked with one read-only call before it is stored. If the remote system
refuses the credential later, one read-only call checks it. If that fails too, the connection is paused for all its
roles, because more attempts would lock the credential. It resumes when a later probe succeeds, or when a working
credential is written. If one more refusal could lock the credential, it is not probed: an operator must write it again,
with force=true.

A new credential that was refused when it was written is not tried again, because refusals add up until the login is
locked. force=true has it checked once more. The stored secret, written again, is not checked without force=true, and a warning says so.

A write keeps the fields that it does not contain, and so does vault patch, which does not create a connection.

A role that allowed_roles or allowed_targets no longer match is neither rotated nor returned. The write succeeds with a warning
that names such roles, and status lists them in needs_person until they are allowed again.

The settings of the mount can forbid hosts, insecure_tls and weak password policies, when a connection is written and when it is
used. A connection that they forbid later is not called; its roles keep their passwords, and status tells why they are not
rotated.

Write access to a connection controls where passwords are sent. Grant it with care.
`

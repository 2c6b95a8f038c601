package backend

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) configPaths() []*framework.Path {
	fields := merge(b.configFields(), b.types, provider.Type.ConnectionFields)
	return []*framework.Path{
		{
			Pattern:      "config/?$",
			DisplayAttrs: display("list", "connections"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: reads(b.listConfig, "List connections.", listed("connections")),
			},
			HelpSynopsis:    "List the connections to remote systems.",
			HelpDescription: "Lists the names of all connections. Read config/:name to see one; its secrets are never shown.",
		},
		{
			Pattern:        "config/" + framework.GenericNameRegex("name"),
			Fields:         fields,
			DisplayAttrs:   display("", "connection"),
			ExistenceCheck: b.configExists,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation:   reads(b.readConfig, "Read a connection, without its secrets.", response("The connection.", readable(fields))),
				logical.CreateOperation: writes(b.writeConfig, "Create a connection, after trying it out.", noContent("The connection was stored.")),
				logical.UpdateOperation: writes(b.writeConfig, "Change a connection; what is absent stays as it is.", noContent("The connection was stored.")),
				logical.DeleteOperation: writes(b.deleteConfig, "Delete a connection that no role uses.", noContent("The connection is gone.")),
			},
			HelpSynopsis:    "A connection: how to reach a remote system, and the credential for it.",
			HelpDescription: strings.TrimSpace(configHelp),
		},
	}
}

// configFields are the fields that every connection has, whatever its provider.
func (b *Backend) configFields() map[string]*framework.FieldSchema {
	allowed := make([]any, 0, len(b.types))
	for _, name := range b.typeNames() {
		allowed = append(allowed, name)
	}
	return map[string]*framework.FieldSchema{
		"name": nameField("connection"),
		"provider": {
			Type: framework.TypeString, AllowedValues: allowed,
			Description: "The kind of remote system: " + strings.Join(b.typeNames(), ", ") + ". Required on create; cannot be changed.",
		},
		"url": {
			Type:        framework.TypeString,
			Description: "Base address of the remote system's API, https://host:port. Derived from region where the provider has one, and https://api.mediatemple.net/api/v1 for mediatemple. Changing it needs the credential in the same request; the host cannot be changed while roles use the connection. http:// is taken only for a literal loopback address and with insecure_tls.",
		},
		"ca_cert": {
			Type:         framework.TypeString,
			Description:  "PEM bundle of the authorities to trust instead of the system's. Changing it needs the credential.",
			DisplayAttrs: &framework.DisplayAttributes{EditType: "file", Group: "TLS"},
		},
		"tls_server_name": {
			Type:         framework.TypeString,
			Description:  "Name that the remote system's certificate must have, instead of the host in url. Changing it needs the credential.",
			DisplayAttrs: &framework.DisplayAttributes{Group: "TLS"},
		},
		"insecure_tls": {
			Type:         framework.TypeBool,
			Description:  "Do not check the remote system's certificate: whoever is in between can read the credential and every new password. Changing it needs the credential.",
			DisplayAttrs: &framework.DisplayAttributes{Group: "TLS"},
		},
		"allowed_roles": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Names of the roles that may use the connection, or globs. Default: none. Checked when a role is written, rotated and read.",
		},
		"allowed_targets": {
			Type: framework.TypeCommaStringSlice, Default: []string{"*"},
			Description: "Accounts that roles may name, as globs over the canonical name: a service number (mediatemple), a login in lower case (plesk), each of the instance_ids (ecs), instance_id/account_id (dcs).",
		},
		"allowed_verify_addresses": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Where passwords of this connection may be tried out: host:port or CIDR. Default: none.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Name of a Vault password policy (sys/policies/password) for new passwords. It is tried out when it is set: 200 samples are checked against the remote system's rules. Default: a generator that fits them.",
		},
		"verify_connection": {
			Type: framework.TypeBool, Default: true,
			Description: "Try a new address, TLS setting or credential out with a read-only call before it is stored. It stays as it was written: after a write with false, write true again.",
		},
		"request_timeout": {
			Type: framework.TypeDurationSecond, Default: rotation.DefaultRequestTimeout,
			Description: "Time limit of one call to the remote system, 1 to 60 seconds.",
		},
		"max_in_flight": {
			Type: framework.TypeInt, Default: rotation.DefaultMaxInFlight,
			Description: "How many changes may be under way at a time on this connection, 1 to 100. Where the remote system locks a credential that it refuses too often, and each call shows it (a Plesk login, an access key), no more than 2 are made at a time, over all connections with that credential: if it is changed elsewhere, all of them are refused at once. A Plesk secret key or an IAM user has no such bound.",
		},
	}
}

// readable are the fields that a read answers: all but secrets and the name.
func readable(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	out := map[string]*framework.FieldSchema{}
	for name, schema := range fields {
		if name == "name" || secret(schema) {
			continue
		}
		shown := *schema
		shown.Required = false
		out[name] = &shown
	}
	return out
}

func (b *Backend) configExists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	name, _ := d.Get("name").(string)
	_, _, err := b.engine.ReadConnection(ctx, req.Storage, name)
	if errors.Is(err, rotation.ErrNoConnection) {
		return false, nil
	}
	return err == nil, err
}

func (b *Backend) listConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := b.engine.Connections(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return logical.ListResponse(names), nil
}

func (b *Backend) readConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	c, complete, err := b.engine.ReadConnection(ctx, req.Storage, name)
	if errors.Is(err, rotation.ErrNoConnection) {
		b.send(ctx, eventConfigWrite, req.Path, name, req.Path)
		return nil, nil //nolint:nilnil // Vault's 404
	}
	if err != nil {
		return fail(name, err)
	}
	data := map[string]any{
		"provider":                 c.Provider,
		"url":                      complete.URL,
		"ca_cert":                  c.TLS.CACert,
		"tls_server_name":          c.TLS.ServerName,
		"insecure_tls":             c.TLS.Insecure,
		"allowed_roles":            list(c.AllowedRoles),
		"allowed_targets":          list(c.AllowedTargets),
		"allowed_verify_addresses": list(c.AllowedVerifyAddresses),
		"password_policy":          c.PasswordPolicy,
		"verify_connection":        c.VerifyConnection,
		"request_timeout":          c.RequestTimeout,
		"max_in_flight":            c.MaxInFlight,
	}
	for _, field := range b.engine.Type(c.Provider).ConnectionFields() {
		if !field.Secret && complete.Settings.Has(field.Name) {
			data[field.Name] = complete.Settings[field.Name]
		}
	}
	return &logical.Response{Data: data}, nil
}

// list is never nil, so that it reads back as an empty list and not as null.
func list(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

func (b *Backend) writeConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	err := b.engine.WriteConnection(ctx, req.Storage, name, rotation.Patch{
		Provider:               given[string](d, "provider"),
		Address:                given[string](d, "url"),
		CACert:                 given[string](d, "ca_cert"),
		ServerName:             given[string](d, "tls_server_name"),
		Insecure:               given[bool](d, "insecure_tls"),
		AllowedRoles:           given[[]string](d, "allowed_roles"),
		AllowedTargets:         given[[]string](d, "allowed_targets"),
		AllowedVerifyAddresses: given[[]string](d, "allowed_verify_addresses"),
		PasswordPolicy:         given[string](d, "password_policy"),
		VerifyConnection:       given[bool](d, "verify_connection"),
		RequestTimeout:         given[int](d, "request_timeout"),
		MaxInFlight:            given[int](d, "max_in_flight"),
		Settings:               givenOf(d, names(b.types, provider.Type.ConnectionFields)),
	})
	if err != nil {
		return fail(name, err)
	}
	return nil, nil //nolint:nilnil // Vault's 204
}

func (b *Backend) deleteConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	if err := b.engine.DeleteConnection(ctx, req.Storage, name); err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventConfigDelete, req.Path, name, req.Path)
	return nil, nil //nolint:nilnil // Vault's 204
}

const configHelp = `
A connection says how to reach a remote system and holds the credential for it. Fields in parentheses below belong to
the providers named there; a field of another provider is an error.

The credential has one of several forms, which the provider's documentation lists (a user name and a password, or a
key). Writing a secret of one form replaces the whole credential. Secrets are never read back.

Before a connection is stored with a new address, TLS setting or credential, one read-only call tries it out. Where the
remote system refuses the credential later on, one more call makes sure, and then the connection is paused for all its
roles: more tries would lock the credential. It goes on by itself when a single try succeeds, or when another credential
is written. Where one more refusal could lock the credential, it is not tried again before somebody writes it.

Whoever may write a connection decides where passwords are sent: grant it to few.
`

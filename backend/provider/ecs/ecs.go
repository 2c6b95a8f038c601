// Package ecs sets the password of the administrator (root or Administrator) of servers of Huawei Cloud, up to 50 servers
// with one password. Two services have a call for it, and a connection chooses one with its field "api":
//
//   - instances, the default: bare-metal instances of Cloud Data Center (CloudDC). All servers take the password or none
//     does. The service checks no password, so that the rules here are the only guard.
//     https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html
//   - cloudservers: virtual machines of Elastic Cloud Server. Each server may fail alone. A server needs the one-click
//     password-reset plug-in; without it the service reports a success and nothing happens, so that the plug-in is
//     asked about first. https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html
//
// A success does not mean that the password works. It comes into force when the server is started or restarted, until
// then the one before it does, and of two changes before one restart only the second counts. Where a script inside the
// server fails, or the image does not let root log in by password (sshd's PermitRootLogin and PasswordAuthentication),
// nobody reports it: only a login proves a password.
//
// No call asks for the present password. Whoever holds the connection's credential owns the servers, so that its user
// should be allowed no more than this: to list instances and change their passwords (clouddc:instance:list,
// clouddc:instance:changePassword), or to list servers, see the plug-in's flag and reset passwords (ecs:cloudServers:list,
// ecs:cloudServers:showResetPasswordFlag, ecs:cloudServers:resetServerPwd).
//
// To find one's way: ecs.go says what a connection is, target.go what a role names, rules.go what a password is;
// client.go has what both services share, instances.go and cloudservers.go the calls and answers of each.
package ecs

import (
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Name is the value of the field "provider".
const Name = "ecs"

// Names of the connection fields beyond those of every Huawei Cloud service.
const (
	fieldAPI          = "api"
	fieldAllowRestart = "allow_restart"
)

// Values of api.
const (
	apiInstances    = "instances"
	apiCloudServers = "cloudservers"
)

// Type is the provider "ecs". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "ecs".
func (Type) Name() string { return Name }

// ConnectionFields are those of every Huawei Cloud service, the service, and whether roles may ask for restarts.
func (Type) ConnectionFields() []provider.Field {
	return append(huaweicloud.ConnectionFields(),
		provider.Field{Name: fieldAPI, Immutable: true, Schema: &framework.FieldSchema{
			Type:          framework.TypeString,
			Default:       apiInstances,
			AllowedValues: []any{apiInstances, apiCloudServers},
			Description: "Service that the servers belong to: instances (bare-metal instances of CloudDC) or cloudservers " +
				"(Elastic Cloud Server). It cannot be changed.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Service"},
		}},
		provider.Field{Name: fieldAllowRestart, Local: true, Schema: &framework.FieldSchema{
			Type:         framework.TypeBool,
			Default:      false,
			Description:  "Whether roles may ask for restarts of their servers. This version does none, so that nothing follows from it yet.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Allow restarts"},
		}},
	)
}

// CredentialForms are those of every Huawei Cloud service.
func (Type) CredentialForms() [][]string { return huaweicloud.CredentialForms() }

// Complete checks the connection and derives its address from the service and the region where none is given. CloudDC
// is in some regions only, so that the derived address may not exist.
func (Type) Complete(connection *provider.Connection) error {
	api := apiOf(*connection)
	service := "clouddc"
	switch api {
	case apiInstances:
	case apiCloudServers:
		service = "ecs"
	default:
		return errors.New("api must be instances or cloudservers")
	}
	if err := huaweicloud.Complete(connection, service); err != nil {
		return err
	}
	settings := connection.Settings.Clone()
	settings[fieldAPI] = api
	settings[fieldAllowRestart] = settings.Bool(fieldAllowRestart)
	connection.Settings = settings
	return nil
}

// apiOf is the service of a connection, completed or not.
func apiOf(connection provider.Connection) string {
	if api := connection.Settings.String(fieldAPI); api != "" {
		return api
	}
	return apiInstances
}

// LoginIdentity is "": a connection logs in as an IAM user, which no role can name.
func (Type) LoginIdentity(provider.Connection) string { return "" }

// Lockout is that of the access key, or of the IAM user.
func (Type) Lockout(connection provider.Connection) provider.Lockout {
	return huaweicloud.Lockout(connection)
}

// OldPassword is not required.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// SettleAfter is 0: a change does not wait for time, it waits for a restart.
func (Type) SettleAfter(provider.Connection) time.Duration { return 0 }

// Open returns a client. An error is the user's mistake in the TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	api, err := huaweicloud.Open(connection)
	if err != nil {
		return nil, err
	}
	c := client{api: api, rules: t.Rules(connection, provider.Target{})}
	if apiOf(connection) == apiCloudServers {
		return &cloudServers{c}, nil
	}
	return &instances{c}, nil
}

// Package ecs sets the administrator password (root or Administrator) of Huawei Cloud servers, for up to 50 servers that
// share one password. Two services offer this, and the connection field "api" selects one:
//
//   - instances, the default: bare-metal instances of Cloud Data Center (CloudDC). Either all servers take the password or
//     none does. The service does not validate passwords, so the rules here are the only check.
//     https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html
//   - cloudservers: virtual machines of Elastic Cloud Server. Each server may fail individually. A server needs the
//     one-click password-reset plug-in; without it the service reports success and nothing happens, so the provider
//     checks for the plug-in first. https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html
//
// A success does not mean that the password works. The new password comes into force when the server is started or
// restarted; until then the previous one stays in force, and of two changes before a restart only the second counts. If
// a script inside the server fails, or the image does not allow root to log in with a password (sshd's PermitRootLogin
// and PasswordAuthentication), nothing reports it: only a login proves a password.
//
// No call asks for the current password. The connection's credential gives full control of the servers, so grant its
// user no more than this: to list instances and change their passwords (clouddc:instance:list,
// clouddc:instance:changePassword), or to list servers, read the plug-in flag and reset passwords
// (ecs:cloudServers:list, ecs:cloudServers:showResetPasswordFlag, ecs:cloudServers:resetServerPwd). restart.go has what
// restarts need in addition.
//
// A restart is requested once, for one server, and then followed. CloudDC reports the power state, Elastic Cloud Server a job.
//
// Files: ecs.go defines connections, target.go targets, rules.go the password rules; client.go and restart.go hold what both
// services share, instances*.go and cloudservers*.go the calls and responses of each.
package ecs

import (
	"cmp"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Name is the value of the field "provider".
const Name = "ecs"

// Names of the connection fields in addition to those that all Huawei Cloud services share.
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
type Type struct{ huaweicloud.Service }

var _ provider.Type = Type{}

// Name returns "ecs".
func (Type) Name() string { return Name }

// ConnectionFields returns the fields that all Huawei Cloud services share, api and allow_restart.
func (t Type) ConnectionFields() []provider.Field {
	api := provider.TextField(fieldAPI, "Service", "Service that the servers belong to: instances (bare-metal instances of "+
		"CloudDC) or cloudservers (Elastic Cloud Server). Cannot be changed.").OneOf(apiInstances, apiCloudServers)
	api.Immutable = true
	return append(t.Service.ConnectionFields(), api,
		provider.Field{Name: fieldAllowRestart, Local: true, Schema: &framework.FieldSchema{
			Type:         framework.TypeBool,
			Default:      false,
			Description:  "Whether the engine may restart servers, for roles with restart=soft or hard. false stops restarts that have not been requested yet.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Allow restarts"},
		}},
	)
}

// Complete validates the connection and derives a missing address from the service and the region. CloudDC is available
// in some regions only, so the derived address may not exist.
func (Type) Complete(connection *provider.Connection) error {
	api := apiOf(*connection)
	if api != apiInstances && api != apiCloudServers {
		return errors.New("api must be instances or cloudservers")
	}
	if err := huaweicloud.Complete(connection, serviceOf(*connection)); err != nil {
		return err
	}
	settings := connection.Settings.Clone()
	settings[fieldAPI] = api
	settings[fieldAllowRestart] = settings.Bool(fieldAllowRestart)
	connection.Settings = settings
	return nil
}

// apiOf returns the service of a connection, completed or not.
func apiOf(connection provider.Connection) string {
	return cmp.Or(connection.Settings.String(fieldAPI), apiInstances)
}

// serviceOf returns the name of the service in addresses.
func serviceOf(connection provider.Connection) string {
	if apiOf(connection) == apiCloudServers {
		return "ecs"
	}
	return "clouddc"
}

// OldPassword is not required.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// Logins returns the login at the SSH server of each server.
func (Type) Logins(provider.Connection, provider.Target) []provider.Login {
	return []provider.Login{{Kind: provider.LoginSSH}}
}

// Open returns a client. It returns an error only for invalid TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	api, err := huaweicloud.Open(connection, serviceOf(connection))
	if err != nil {
		return nil, err
	}
	c := client{
		api: api, rules: t.Rules(connection, provider.Target{}),
		allowRestart: connection.Settings.Bool(fieldAllowRestart), now: time.Now,
	}
	if apiOf(connection) == apiCloudServers {
		return &cloudServers{c}, nil
	}
	return &instances{c}, nil
}

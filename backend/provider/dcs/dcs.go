// Package dcs sets passwords of ACL accounts of Redis instances of Huawei Cloud's Distributed Cache Service:
// https://support.huaweicloud.com/intl/en-us/api-dcs/UpdateAclAccountPassWord.html
//
// The usual method, modify, presents the present password. Five wrong ones in a row lock the account for five minutes
// (https://support.huaweicloud.com/intl/en-us/usermanual-dcs/dcs-ug-0312040.html), so that each answer that tells how
// many tries are left is passed on. The other method, reset, asks for no present password:
// https://support.huaweicloud.com/eu/api-dcs/ResetAclAccountPassWord.html
//
// Before each change the accounts of the instance are listed, to be sure that the id still is the account that the
// role names: an account that was deleted and made anew has another id. The connection's user therefore needs the
// permission to list accounts too. Clients log in with the one string "name:password", which is why a colon is no
// character of a password.
//
// To find one's way: dcs.go says what a connection and an account are, accounts.go finds an account, client.go makes
// the calls, outcome.go says what an answer to a change proves.
package dcs

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Name is the value of the field "provider", and the service's name in addresses.
const Name = "dcs"

// Names of the target fields.
const (
	fieldInstanceID = "instance_id"
	fieldAccountID  = "account_id"
	fieldUsername   = "username"
	fieldMethod     = "rotation_method"
)

// Values of rotation_method.
const (
	methodModify = "modify"
	methodReset  = "reset"
)

const (
	// lockWindow is how long five wrong passwords lock an account. Documented for the instance's own password; that it
	// holds for ACL accounts is an assumption.
	lockWindow = 5 * time.Minute

	// allowed are the documented characters of a password without the backslash, on which editions differ:
	// https://support.huaweicloud.com/intl/en-us/api-dcs/CreateAclAccount.html
	allowed = password.Lower + password.Upper + password.Digits + "`~!@#$%^&*()-_=+|{},<.>/?"

	// specials stand for themselves in shells, URLs and configuration files.
	specials = "-_=+.~"
)

var (
	ids   = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)
	names = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
)

// Type is the provider "dcs". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "dcs".
func (Type) Name() string { return Name }

// ConnectionFields are those of every Huawei Cloud service.
func (Type) ConnectionFields() []provider.Field { return huaweicloud.ConnectionFields() }

// CredentialForms are those of every Huawei Cloud service.
func (Type) CredentialForms() [][]string { return huaweicloud.CredentialForms() }

// TargetFields name the account; rotation_method says how its password is changed.
func (Type) TargetFields() []provider.Field {
	field := func(name, display, description string) provider.Field {
		return provider.Field{Name: name, Schema: &framework.FieldSchema{
			Type:         framework.TypeString,
			Required:     true,
			Description:  description,
			DisplayAttrs: &framework.DisplayAttributes{Name: display},
		}}
	}
	return []provider.Field{
		field(fieldInstanceID, "Instance ID", "ID of the DCS instance."),
		field(fieldAccountID, "Account ID", "ID of the ACL account, not its name; the list of the instance's accounts has it."),
		field(fieldUsername, "Account name", "Name of the ACL account. It must be the one that account_id has."),
		{Name: fieldMethod, Mutable: true, Schema: &framework.FieldSchema{
			Type:          framework.TypeString,
			Default:       methodModify,
			AllowedValues: []any{methodModify, methodReset},
			Description: "How the password is changed: modify presents the present password; reset does not, and needs the " +
				"permission to reset.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Rotation method"},
		}},
	}
}

// Complete checks the connection and derives its addresses from the region where none are given.
func (Type) Complete(connection *provider.Connection) error {
	return huaweicloud.Complete(connection, Name)
}

// Target checks the account. Its identity has the project's id, which is unique in all regions. IDs are compared
// without regard to case, since it is not documented whether the service does.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	a, err := accountOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	name := a.instanceID + "/" + a.accountID
	project := connection.Settings.String(huaweicloud.FieldProjectID)
	return provider.Target{
		Names:      []string{name},
		Identities: []string{strings.ToLower(strings.Join([]string{Name, project, name}, "|"))},
		Username:   a.username,
		Settings: provider.Settings{
			fieldInstanceID: a.instanceID,
			fieldAccountID:  a.accountID,
			fieldUsername:   a.username,
			fieldMethod:     a.method,
		},
	}, nil
}

// account is a target's fields.
type account struct {
	instanceID, accountID, username, method string
}

func accountOf(settings provider.Settings) (account, error) {
	a := account{
		instanceID: settings.String(fieldInstanceID),
		accountID:  settings.String(fieldAccountID),
		username:   settings.String(fieldUsername),
		method:     settings.String(fieldMethod),
	}
	if a.method == "" {
		a.method = methodModify
	}
	switch {
	case a.instanceID == "":
		return a, errors.New("instance_id is required: the ID of the DCS instance")
	case !ids.MatchString(a.instanceID):
		return a, errors.New("instance_id must be letters, digits and -, at most 64; it is not the instance's name")
	case a.accountID == "":
		return a, errors.New("account_id is required: the ID of the ACL account, which the list of the instance's accounts has")
	case !ids.MatchString(a.accountID):
		return a, errors.New("account_id must be letters, digits and -, at most 64; it is not the account's name")
	case a.username == "":
		return a, errors.New("username is required: the name of the ACL account")
	case !names.MatchString(a.username):
		return a, errors.New("username must begin with a letter and have letters, digits, - and _ only, at most 64, as names of ACL accounts do")
	case a.method != methodModify && a.method != methodReset:
		return a, errors.New("rotation_method must be modify or reset")
	}
	return a, nil
}

// LoginIdentity is "": a connection logs in as an IAM user, which no role can name.
func (Type) LoginIdentity(provider.Connection) string { return "" }

// Lockout is that of the access key, or of the IAM user.
func (Type) Lockout(connection provider.Connection) provider.Lockout {
	return huaweicloud.Lockout(connection)
}

// Rules are those for passwords of ACL accounts:
// https://support.huaweicloud.com/intl/en-us/ally-visitor-1-api-dcs/UpdateAclAccountPassWord.html
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	name := target.Settings.String(fieldUsername)
	return password.Rules{
		MinLength:  8,
		MaxLength:  64,
		Allowed:    allowed,
		MinClasses: 3,
		Forbidden:  []string{name, password.Reverse(name)},
		Recipe: password.Recipe{
			Length: 32,
			Classes: []password.Class{
				{Characters: password.Lower, Min: 3},
				{Characters: password.Upper, Min: 3},
				{Characters: password.Digits, Min: 3},
				{Characters: specials, Min: 2},
			},
			LetterFirst: true,
		},
	}
}

// OldPassword is required by modify, and not by reset.
func (Type) OldPassword(target provider.Target) provider.OldPassword {
	if target.Settings.String(fieldMethod) == methodReset {
		return provider.OldPassword{}
	}
	return provider.OldPassword{Required: true, LockWindow: lockWindow, Otherwise: "set rotation_method=reset on the role"}
}

// SettleAfter is 0: a change is in force when the answer comes.
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
	return &Client{api: api}, nil
}

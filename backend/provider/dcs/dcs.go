// Package dcs sets the passwords of ACL accounts of Redis instances in Huawei Cloud's Distributed Cache Service:
// https://support.huaweicloud.com/intl/en-us/api-dcs/UpdateAclAccountPassWord.html
//
// The default method, modify, sends the current password. Five wrong passwords in a row lock the account for five
// minutes (https://support.huaweicloud.com/intl/en-us/usermanual-dcs/dcs-ug-0312040.html), so the number of attempts
// left is reported whenever a response contains it. The other method, reset, needs no current password:
// https://support.huaweicloud.com/eu/api-dcs/ResetAclAccountPassWord.html
//
// Each change first lists the accounts of the instance, to verify that the ID still belongs to the account that the role
// names: a deleted and recreated account has another ID. The connection's user therefore also needs permission to list
// accounts. Clients log in with the single string "name:password", which is why passwords must not contain a colon.
//
// A confirmed change comes into force when the account is available again, so each change also waits for that.
//
// Files: dcs.go defines connections and accounts, accounts.go looks up an account, client.go makes the calls, outcome.go
// maps responses to outcomes, inforce.go waits for a change to come into force, webcli.go proves a password.
package dcs

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Name is the value of the field "provider", and the name of the service in addresses.
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
	// lockWindow is how long five wrong passwords lock an account. Documented for the instance's own password; assumed
	// for ACL accounts.
	lockWindow = 5 * time.Minute

	// allowed are the documented password characters, except the backslash, on which editions of the documentation
	// differ: https://support.huaweicloud.com/intl/en-us/api-dcs/CreateAclAccount.html
	allowed = password.Lower + password.Upper + password.Digits + "`~!@#$%^&*()-_=+|{},<.>/?"
)

var (
	ids   = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)
	names = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
)

// Type is the provider "dcs". The zero value is ready to use.
type Type struct{ huaweicloud.Service }

var _ provider.Type = Type{}

// Name returns "dcs".
func (Type) Name() string { return Name }

// TargetFields returns the fields that identify the account, and rotation_method.
func (Type) TargetFields() []provider.Field {
	method := provider.TextField(fieldMethod, "Rotation method", "How the password is changed: modify sends the current "+
		"password; reset does not, and needs permission to reset passwords.").OneOf(methodModify, methodReset)
	method.Mutable = true
	return []provider.Field{
		provider.RequiredField(fieldInstanceID, "Instance ID", "ID of the DCS instance."),
		provider.RequiredField(fieldAccountID, "Account ID", "ID of the ACL account, not its name. The account list of the instance shows it."),
		provider.RequiredField(fieldUsername, "Account name", "Name of the ACL account that account_id identifies."),
		method,
	}
}

// Complete validates the connection and derives missing addresses from the region.
func (Type) Complete(connection *provider.Connection) error {
	return huaweicloud.Complete(connection, Name)
}

// Target validates the account. Its identity contains the project ID, which is unique in a cloud. Identities are in
// lower case, because it is not documented whether the service compares IDs case-sensitively.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	a, err := accountOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	name := a.name()
	project := connection.Settings.String(huaweicloud.FieldProjectID)
	return provider.Target{
		Names:      []string{name},
		Identities: []string{strings.ToLower(strings.Join([]string{Name, project, name}, "|"))},
		Address:    huaweicloud.Address(connection),
		Username:   a.username,
		Settings: provider.Settings{
			fieldInstanceID: a.instanceID,
			fieldAccountID:  a.accountID,
			fieldUsername:   a.username,
			fieldMethod:     a.method,
		},
	}, nil
}

// account holds the fields of a target.
type account struct {
	instanceID, accountID, username, method string
}

// name identifies the account within a project.
func (a account) name() string { return a.instanceID + "/" + a.accountID }

func accountOf(settings provider.Settings) (account, error) {
	a := account{
		instanceID: settings.String(fieldInstanceID),
		accountID:  settings.String(fieldAccountID),
		username:   settings.String(fieldUsername),
		method:     cmp.Or(settings.String(fieldMethod), methodModify),
	}
	switch {
	case a.instanceID == "":
		return a, errors.New("instance_id is required: the ID of the DCS instance")
	case !ids.MatchString(a.instanceID):
		return a, errors.New("instance_id must be at most 64 letters, digits and -; it is not the name of the instance")
	case a.accountID == "":
		return a, errors.New("account_id is required: the ID of the ACL account, as shown in the account list of the instance")
	case !ids.MatchString(a.accountID):
		return a, errors.New("account_id must be at most 64 letters, digits and -; it is not the name of the account")
	case a.username == "":
		return a, errors.New("username is required: the name of the ACL account")
	case !names.MatchString(a.username):
		return a, errors.New("username must be the name of an ACL account: a letter, then letters, digits, - and _, at most 64 characters")
	case a.method != methodModify && a.method != methodReset:
		return a, errors.New("rotation_method must be modify or reset")
	}
	return a, nil
}

// Rules returns the password rules for ACL accounts:
// https://support.huaweicloud.com/intl/en-us/ally-visitor-1-api-dcs/UpdateAclAccountPassWord.html
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	name := target.Settings.String(fieldUsername)
	return password.Rules{
		MinLength:  8,
		MaxLength:  64,
		Allowed:    allowed,
		Present:    allowed + `\`,
		MinClasses: 3,
		Forbidden:  []string{name, password.Reverse(name)},
		Recipe:     password.Mixed(34, password.Lower, password.Upper, password.Plain),
	}
}

// OldPassword is required for modify, and not for reset.
func (Type) OldPassword(target provider.Target) provider.OldPassword {
	if target.Settings.String(fieldMethod) == methodReset {
		return provider.OldPassword{}
	}
	return provider.OldPassword{Required: true, LockWindow: lockWindow, Otherwise: "set rotation_method=reset on the role"}
}

// Logins returns the logins at the Redis instance, and at its Web CLI.
func (Type) Logins(provider.Connection, provider.Target) []provider.Login {
	return []provider.Login{{Kind: provider.LoginRedis}, {Kind: provider.LoginWebCLI}}
}

// Open returns a client. It returns an error only for invalid TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	api, err := huaweicloud.Open(connection, Name)
	if err != nil {
		return nil, err
	}
	return &Client{api: api}, nil
}

// Package mediatemple sets the two passwords of a (mt) Media Temple service with the customer API v1, those of the
// server's root and of the Plesk administrator:
// http://wiki.mediatemple.net/w/(mt):Set_root_password and http://wiki.mediatemple.net/w/(mt):Set_Plesk_password
//
// The API was deprecated in April 2018: existing keys keep working until further notice, and no new keys are issued
// (https://mediatemple.net/community/products/all/204645350/api%3A-add-service). It is not known whether the API is still
// available, so this package has only been tested against its documentation and a simulated API; url sets the address.
//
// The API only queues a change: it responds with 202 "Accepted". There is no job to query and no password to read back,
// and probing with a second request, which is refused while the first is in progress, would itself change the password.
// So a change is Staged, never Applied, and the connection sets how long it takes (settle_after).
//
// Every response except a 200 to a GET repeats its status in the body, and clients are told to compare the two
// (https://mediatemple.net/community/products/all/204645330/parsing-api-responses). This distinguishes responses of the
// API from those of a proxy or another service; a response that fails the comparison proves nothing.
//
// Files: mediatemple.go defines connections and accounts, client.go makes the calls, answer.go parses responses,
// outcome.go maps them to outcomes.
package mediatemple

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Name is the value of the field "provider".
const Name = "mediatemple"

// Names of the fields.
const (
	fieldAPIKey      = "api_key"
	fieldSettleAfter = "settle_after"
	fieldServiceID   = "service_id"
	fieldAccount     = "account"
)

// Values of account.
const (
	accountRoot  = "root"
	accountPlesk = "plesk"
)

// logins are the user names of the accounts.
var logins = map[string]string{accountRoot: "root", accountPlesk: "admin"}

const (
	// defaultURL is the documented base address.
	defaultURL = "https://api.mediatemple.net/api/v1"

	// How long an accepted change may take, in seconds. This is not documented: the default is an assumption.
	defaultSettleAfter = 60
	minSettleAfter     = time.Second
	maxSettleAfter     = time.Hour

	// specials are assumed to pass safely through the provisioning of the service, which is older than the API: none
	// has a special meaning to shells, markup languages, chpasswd or Plesk. The API documents no rules, only the error
	// InvalidPassword.
	specials = "!@#%^*?_~-+=."

	// generated are the specials of generated passwords: the plain ones that count in Plesk's strength estimate:
	// https://support.plesk.com/hc/en-us/articles/213912245-Password-strength-policy-in-Plesk-How-it-works-
	generated = "_"
)

// serviceIDs matches positive decimal numbers in canonical form.
var serviceIDs = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// Type is the provider "mediatemple". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "mediatemple".
func (Type) Name() string { return Name }

// ConnectionFields returns the API key and settle_after. Keys have no scopes, and the API cannot create or revoke keys.
func (Type) ConnectionFields() []provider.Field {
	return []provider.Field{
		provider.SecretField(fieldAPIKey, "API key", "API key of the Media Temple account, from its Account Center. It grants access to every service of the "+
			"account and must be replaced manually."),
		{Name: fieldSettleAfter, Local: true, Schema: &framework.FieldSchema{
			Type:    framework.TypeDurationSecond,
			Default: defaultSettleAfter,
			Description: "Maximum time Media Temple takes to set an accepted password, 1 to 3600 seconds. The API does not report " +
				"completion, so a new password counts as in force after this time; for a role with verify, the engine then logs in to see whether it is.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Settle after"},
		}},
	}
}

// CredentialForms returns the only form, an API key.
func (Type) CredentialForms() [][]string { return [][]string{{fieldAPIKey}} }

// TargetFields returns the fields that identify the service and one of its two accounts.
func (Type) TargetFields() []provider.Field {
	return []provider.Field{
		provider.RequiredField(fieldServiceID, "Service ID", "Number of the service, as shown in the Account Center."),
		provider.RequiredField(fieldAccount, "Account", "Account of the service: root, the administrator of the server, or plesk, the administrator of its "+
			"Plesk, who logs in as admin.").OneOf(accountRoot, accountPlesk),
	}
}

// Complete validates the connection and sets the defaults of the address and settle_after.
func (Type) Complete(connection *provider.Connection) error {
	canonical, err := transport.ParseURL("url", cmp.Or(connection.URL, defaultURL), connection.TLS.Insecure)
	if err != nil {
		return err
	}
	if err := checkKey(connection.Settings.String(fieldAPIKey)); err != nil {
		return err
	}
	settleAfter := defaultSettleAfter * time.Second
	if connection.Settings.Has(fieldSettleAfter) {
		settleAfter = connection.Settings.Seconds(fieldSettleAfter)
	}
	if settleAfter < minSettleAfter || settleAfter > maxSettleAfter || settleAfter%time.Second != 0 {
		return errors.New("settle_after must be between 1 and 3600 seconds: how long Media Temple takes to set an accepted password")
	}
	connection.URL = canonical
	connection.Settings = connection.Settings.Clone()
	connection.Settings[fieldSettleAfter] = int(settleAfter / time.Second)
	return nil
}

// checkKey validates the key, which is sent in a header. Its length is not documented, and not checked.
func checkKey(key string) error {
	if key == "" {
		return errors.New("api_key is required: the API key of the Media Temple account, from its Account Center")
	}
	if rule := password.ControlRule(key); rule != "" {
		return errors.New("api_key " + rule)
	}
	for _, c := range key {
		if c < '!' || c > '~' {
			return errors.New("api_key must be printable ASCII without spaces; copy only the key from the Account Center")
		}
	}
	return nil
}

// Target validates the service and the account. The two accounts of a service are separate targets.
func (t Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	a, err := accountOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	host := t.Host(connection)
	if host == "" {
		return provider.Target{}, errors.New("url of the connection cannot be parsed; write the connection again")
	}
	return provider.Target{
		Names:      []string{a.serviceID},
		Identities: []string{strings.Join([]string{Name, host, a.serviceID, a.name}, "|")},
		Username:   logins[a.name],
		Settings:   provider.Settings{fieldServiceID: a.serviceID, fieldAccount: a.name},
	}, nil
}

// account holds the fields of a target.
type account struct {
	serviceID, name string
}

func accountOf(settings provider.Settings) (account, error) {
	a := account{serviceID: settings.String(fieldServiceID), name: settings.String(fieldAccount)}
	switch {
	case a.serviceID == "":
		return a, errors.New("service_id is required: the number of the service, as shown in the Account Center")
	case !serviceIDs.MatchString(a.serviceID):
		return a, errors.New("service_id must be the number of the service, in digits without leading zeros; it is not the name of the service")
	case a.name == "":
		return a, errors.New("account is required: root or plesk")
	case logins[a.name] == "":
		return a, errors.New("account must be root or plesk")
	}
	return a, nil
}

// Host returns the host of the API.
func (Type) Host(connection provider.Connection) string {
	return transport.CanonicalHost(connection.URL)
}

// LoginIdentity returns "": a connection logs in with a key, which no role can name.
func (Type) LoginIdentity(provider.Connection) string { return "" }

// Lockout returns no lockout: the API documents none for its keys.
func (Type) Lockout(provider.Connection) provider.Lockout { return provider.Lockout{} }

// Rules returns rules stricter than any known one. The API documents none; what Plesk and the server accept is inferred
// from the help pages, which recommend eight characters of all kinds. See specials.
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	name := logins[target.Settings.String(fieldAccount)]
	return password.Rules{
		MinLength:  8,
		MaxLength:  64,
		Allowed:    password.Lower + password.Upper + password.Digits + specials,
		MinClasses: 3,
		Forbidden:  []string{name, password.Reverse(name)},
		Recipe:     password.Mixed(28, password.Lower, password.Upper, generated),
	}
}

// OldPassword returns no requirement: the API does not ask for the current password.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// SettleAfter returns the connection's settle_after.
func (Type) SettleAfter(connection provider.Connection) time.Duration {
	return connection.Settings.Seconds(fieldSettleAfter)
}

// Logins returns the login at the SSH server or, for the Plesk password, at the XML API of the panel.
func (Type) Logins(_ provider.Connection, target provider.Target) []provider.Login {
	if target.Settings.String(fieldAccount) == accountPlesk {
		return []provider.Login{{Kind: provider.LoginPlesk}}
	}
	return []provider.Login{{Kind: provider.LoginSSH}}
}

// Open returns a client. It returns an error only for invalid TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	endpoint := transport.Endpoint{TLS: connection.TLS, Field: "url"}
	if connection.URL == defaultURL {
		endpoint.Derived = transport.Derivation{Address: defaultURL, From: "the default", Otherwise: "set url if the API has another address"}
	}
	client, err := transport.New(endpoint)
	if err != nil {
		return nil, err
	}
	return &Client{
		http: client,
		base: connection.URL,
		key:  transport.NewSecret(connection.Settings.String(fieldAPIKey)),
	}, nil
}

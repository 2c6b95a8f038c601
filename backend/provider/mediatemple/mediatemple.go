// Package mediatemple sets the two passwords of a service at (mt) Media Temple, by its customer API v1: that of the
// server's root and that of the Plesk administrator:
// http://wiki.mediatemple.net/w/(mt):Set_root_password and http://wiki.mediatemple.net/w/(mt):Set_Plesk_password
//
// The API was declared deprecated in April 2018: keys from before keep working until further notice, new ones are not
// made (https://mediatemple.net/community/products/all/204645350/api%3A-add-service). Whether it still answers is not
// known, so that all this is proved against documents and a simulated API only; url says where it is.
//
// A change that the API takes is not made yet: the answer is 202, "accepted". There is no job to ask about and no
// password to read back, and a second request, which is refused while the first is under way, would change the password
// itself. So a change is Staged, never Applied, and the connection says how long it takes (settle_after).
//
// Every answer but a 200 to a GET repeats its status in its body, and clients are told to compare the two
// (https://mediatemple.net/community/products/all/204645330/parsing-api-responses). That comparison is what tells the
// API's own answers from those of a proxy or of another service; an answer without it proves nothing.
//
// To find one's way: mediatemple.go says what a connection and an account are, client.go makes the calls, answer.go
// reads answers, outcome.go says what they prove.
package mediatemple

import (
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

const (
	// defaultURL is the documented base address.
	defaultURL = "https://api.mediatemple.net/api/v1"

	// How long a change may take that was accepted, in seconds. Nothing about it is documented: the default is an
	// assumption.
	defaultSettleAfter = 60
	minSettleAfter     = time.Second
	maxSettleAfter     = time.Hour

	// specials are those that a root password is presumed to survive on its way through the provisioning of the service,
	// which is older than the API: nothing that a shell, a markup language, chpasswd or Plesk takes for its own. The API
	// documents no rule, only the error InvalidPassword.
	specials = "!@#%^*?_~-+=."

	// generated are the specials of generated passwords: those that stand for themselves in shells and URLs, and that
	// Plesk's strength estimate counts:
	// https://support.plesk.com/hc/en-us/articles/213912245-Password-strength-policy-in-Plesk-How-it-works-
	generated = "_~"
)

// serviceIDs are positive decimal numbers, written in the one way that they can be compared in.
var serviceIDs = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// Type is the provider "mediatemple". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "mediatemple".
func (Type) Name() string { return Name }

// ConnectionFields are the API key and how long a change takes. Keys have no scopes and all are equal, and there is no
// call to make or revoke one.
func (Type) ConnectionFields() []provider.Field {
	return []provider.Field{
		{Name: fieldAPIKey, Secret: true, Schema: &framework.FieldSchema{
			Type: framework.TypeString,
			Description: "API key of the Media Temple account, from its Account Center. It reaches every service of the account, " +
				"and has to be replaced by hand.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "API key", Sensitive: true},
		}},
		{Name: fieldSettleAfter, Local: true, Schema: &framework.FieldSchema{
			Type:    framework.TypeDurationSecond,
			Default: defaultSettleAfter,
			Description: "How long Media Temple takes at most to set a password that it has accepted, 1 to 3600 seconds. Its API " +
				"cannot be asked, so a new password counts as in force when this time is over.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Settle after"},
		}},
	}
}

// CredentialForms is an API key.
func (Type) CredentialForms() [][]string { return [][]string{{fieldAPIKey}} }

// TargetFields are the service, and which of its two accounts.
func (Type) TargetFields() []provider.Field {
	return []provider.Field{
		{Name: fieldServiceID, Schema: &framework.FieldSchema{
			Type:         framework.TypeString,
			Required:     true,
			Description:  "Number of the service, as in the Account Center.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Service ID"},
		}},
		{Name: fieldAccount, Schema: &framework.FieldSchema{
			Type:          framework.TypeString,
			Required:      true,
			AllowedValues: []any{accountRoot, accountPlesk},
			Description: "Whose password of the service is kept: root, the server's, or plesk, the administrator's of its Plesk, " +
				"who logs in as admin.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Account"},
		}},
	}
}

// Complete checks the connection, and fills in the address and settle_after where they are not given.
func (Type) Complete(connection *provider.Connection) error {
	address := connection.URL
	if address == "" {
		address = defaultURL
	}
	canonical, err := transport.ParseURL(address, connection.TLS.Insecure)
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
		return errors.New("settle_after must be between 1 and 3600 seconds: how long Media Temple takes to set a password that it has accepted")
	}
	connection.URL = canonical
	connection.Settings = connection.Settings.Clone()
	connection.Settings[fieldSettleAfter] = int(settleAfter / time.Second)
	return nil
}

// checkKey: the key is sent as a part of a header value. Its length is not documented, and not checked.
func checkKey(key string) error {
	if key == "" {
		return errors.New("api_key is required: the API key of the Media Temple account, from its Account Center")
	}
	for _, c := range key {
		if c < '!' || c > '~' {
			return errors.New("api_key must be printable ASCII without blanks and line ends; copy the bare key from the Account Center")
		}
	}
	return nil
}

// Target checks the service and the account. The two accounts of a service are two targets.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	a, err := accountOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	host := transport.CanonicalHost(connection.URL)
	if host == "" {
		return provider.Target{}, errors.New("url of the connection cannot be read; write the connection again")
	}
	return provider.Target{
		Names:      []string{a.serviceID},
		Identities: []string{strings.Join([]string{Name, host, a.serviceID, a.name}, "|")},
		Username:   login(a.name),
		Settings:   provider.Settings{fieldServiceID: a.serviceID, fieldAccount: a.name},
	}, nil
}

// account is a target's fields.
type account struct {
	serviceID, name string
}

func accountOf(settings provider.Settings) (account, error) {
	a := account{serviceID: settings.String(fieldServiceID), name: settings.String(fieldAccount)}
	switch {
	case a.serviceID == "":
		return a, errors.New("service_id is required: the number of the service, as in the Account Center")
	case !serviceIDs.MatchString(a.serviceID):
		return a, errors.New("service_id must be the number of the service, in digits without leading zeros; it is not the service's name")
	case a.name == "":
		return a, errors.New("account is required: root or plesk")
	case a.name != accountRoot && a.name != accountPlesk:
		return a, errors.New("account must be root or plesk")
	}
	return a, nil
}

// login is what one logs in with; "" for no account.
func login(name string) string {
	switch name {
	case accountRoot:
		return "root"
	case accountPlesk:
		return "admin"
	default:
		return ""
	}
}

// LoginIdentity is "": a connection logs in with a key, which no role can name.
func (Type) LoginIdentity(provider.Connection) string { return "" }

// Lockout is none: the API documents no lock of its keys.
func (Type) Lockout(provider.Connection) provider.Lockout { return provider.Lockout{} }

// Rules are stricter than any that is known: the API documents none, and what Plesk and the server behind it take is
// presumed from the help pages, which advise eight characters of all kinds. See specials.
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	name := login(target.Settings.String(fieldAccount))
	return password.Rules{
		MinLength:  8,
		MaxLength:  64,
		Allowed:    password.Lower + password.Upper + password.Digits + specials,
		MinClasses: 3,
		Forbidden:  []string{name, password.Reverse(name)},
		Recipe: password.Recipe{
			Length: 24,
			Classes: []password.Class{
				{Characters: password.Lower, Min: 3},
				{Characters: password.Upper, Min: 3},
				{Characters: password.Digits, Min: 3},
				{Characters: generated, Min: 2},
			},
			LetterFirst: true,
		},
	}
}

// OldPassword demands nothing: the API does not ask for the present password.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// SettleAfter is the connection's settle_after.
func (Type) SettleAfter(connection provider.Connection) time.Duration {
	return connection.Settings.Seconds(fieldSettleAfter)
}

// Open returns a client. An error is the user's mistake in the TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	client, err := transport.New(connection.TLS)
	if err != nil {
		return nil, err
	}
	return &Client{
		http: client,
		base: connection.URL,
		key:  transport.NewSecret(connection.Settings.String(fieldAPIKey)),
	}, nil
}

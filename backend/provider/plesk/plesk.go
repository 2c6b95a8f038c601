// Package plesk sets passwords of additional administrators of a Plesk server, by the operation set-admin-alias of its
// XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-plesk-server/managing-additional-administrator-accounts/setting-up-additional-administrator-account.75893/
//
// Each call is one packet with one operation, so that the one result in the answer means one thing. The XML API has no
// operation that reads or lists additional administrators; whether a login exists is known only from the first change.
//
// To find one's way: plesk.go says what a connection and an account are, packet.go writes packets, response.go reads
// them, codes.go says what each error code proves, client.go makes the calls.
package plesk

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Name is the value of the field "provider".
const Name = "plesk"

// Names of the fields.
const (
	fieldUsername  = "username"
	fieldPassword  = "password"
	fieldSecretKey = "secret_key"
	fieldLogin     = "login"
)

const (
	// maxLogin and the bounds of a password:
	// https://plesk.com/kb/support/what-limits-are-set-in-plesk-for-username-password
	maxLogin          = 255
	minPasswordLength = 5
	maxPasswordLength = 255

	// mainAdministrator is the login of the main administrator, whom set-admin-alias does not know.
	mainAdministrator = "admin"

	// specials are those that Plesk's older strength estimate counts, without the ones that XML, shells (Plesk's event
	// handlers) or people trip over:
	// https://support.plesk.com/hc/en-us/articles/213912245-Password-strength-policy-in-Plesk-How-it-works-
	specials = "!@#%^*?_~"
)

// printable are the characters that Plesk takes in a password: ASCII without white space and quotes.
const printable = password.Lower + password.Upper + password.Digits + "!#$%&()*+,-./:;<=>?@[\\]^_`{|}~"

// Type is the provider "plesk". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "plesk".
func (Type) Name() string { return Name }

// ConnectionFields are the two ways to log in to the XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722
func (Type) ConnectionFields() []provider.Field {
	return []provider.Field{
		{Name: fieldUsername, Schema: &framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  "Login of the Plesk administrator that changes the passwords of the others, usually admin. Needs password.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Administrator's login"},
		}},
		{Name: fieldPassword, Secret: true, Schema: &framework.FieldSchema{
			Type:         framework.TypeString,
			Description:  "Password of the Plesk administrator.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Administrator's password", Sensitive: true},
		}},
		{Name: fieldSecretKey, Secret: true, Schema: &framework.FieldSchema{
			Type: framework.TypeString,
			Description: "Secret key of the main administrator, instead of username and password. Plesk binds a key to IP addresses: " +
				"name those of every Vault node when it is made.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Secret key", Sensitive: true},
		}},
	}
}

// CredentialForms are username with password, and a secret key.
func (Type) CredentialForms() [][]string {
	return [][]string{{fieldUsername, fieldPassword}, {fieldSecretKey}}
}

// TargetFields is the login of an additional administrator.
func (Type) TargetFields() []provider.Field {
	return []provider.Field{{Name: fieldLogin, Schema: &framework.FieldSchema{
		Type:         framework.TypeString,
		Required:     true,
		Description:  "Login of the additional administrator whose password is kept. Not admin, the main administrator.",
		DisplayAttrs: &framework.DisplayAttributes{Name: "Login"},
	}}}
}

// Complete checks the address and that there is one credential, whole.
func (Type) Complete(connection *provider.Connection) error {
	if connection.URL == "" {
		return errors.New("url is required: the address of the Plesk server, such as https://plesk.example.com:8443")
	}
	canonical, err := transport.ParseURL(connection.URL, connection.TLS.Insecure)
	if err != nil {
		return err
	}
	if u, err := url.Parse(canonical); err != nil || u.Path != "" {
		return errors.New("url must be the bare address of the Plesk server, without a path, such as https://plesk.example.com:8443")
	}
	if err := checkCredential(connection.Settings); err != nil {
		return err
	}
	connection.URL = canonical
	return nil
}

func checkCredential(settings provider.Settings) error {
	byPassword := settings.Has(fieldUsername) || settings.Has(fieldPassword)
	byKey := settings.Has(fieldSecretKey)
	switch {
	case byPassword && byKey:
		return errors.New("give either username and password or secret_key, not both")
	case !byPassword && !byKey:
		return errors.New("a credential is required: username and password of the Plesk administrator, or secret_key")
	case byPassword && !settings.Has(fieldUsername):
		return errors.New("username is required with password")
	case byPassword && !settings.Has(fieldPassword):
		return errors.New("password is required with username")
	}
	// They are sent as header values, where outer spaces are lost and nothing but ASCII is safe.
	for _, name := range []string{fieldUsername, fieldPassword, fieldSecretKey} {
		value := settings.String(name)
		if strings.TrimSpace(value) != value || !ascii(value, ' ') {
			return errors.New(name + " must be printable ASCII without spaces around it; Plesk takes nothing else")
		}
	}
	return nil
}

// Target checks the login. Plesk compares logins without regard to case, so names and identities are in lower case.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	login := settings.String(fieldLogin)
	if err := checkLogin(login); err != nil {
		return provider.Target{}, err
	}
	who := identity(connection, login)
	if who == "" {
		return provider.Target{}, errors.New("url of the connection cannot be read; write the connection again")
	}
	return provider.Target{
		Names:      []string{strings.ToLower(login)},
		Identities: []string{who},
		Username:   login,
		Settings:   provider.Settings{fieldLogin: login},
	}, nil
}

func checkLogin(login string) error {
	switch {
	case login == "":
		return errors.New("login is required: the login of an additional administrator")
	case len(login) > maxLogin:
		return errors.New("login is too long: at most 255 characters are allowed")
	case !ascii(login, '!'):
		return errors.New("login must be printable ASCII without white space")
	case strings.EqualFold(login, mainAdministrator):
		return errors.New("login must not be admin: that is the main administrator, and this operation is for additional ones")
	}
	return nil
}

// ascii tells whether every byte is printable ASCII from first on.
func ascii(text string, first byte) bool {
	for i := range len(text) {
		if text[i] < first || text[i] > '~' {
			return false
		}
	}
	return true
}

func identity(connection provider.Connection, login string) string {
	host := transport.CanonicalHost(connection.URL)
	if host == "" {
		return ""
	}
	return strings.Join([]string{Name, host, strings.ToLower(login)}, "|")
}

// LoginIdentity is the administrator that the connection logs in with; a secret key is nobody's login.
func (Type) LoginIdentity(connection provider.Connection) string {
	if !connection.Settings.Has(fieldUsername) {
		return ""
	}
	return identity(connection, connection.Settings.String(fieldUsername))
}

// loginRefusals in a row are assumed to lock a login (code 1012). Plesk documents no number, and its protection against
// brute force can be set to others.
const loginRefusals = 5

// loginWindow is how long Plesk is presumed to remember a refusal: as long as it is presumed to lock.
const loginWindow = 15 * time.Minute

// Lockout is that of the login; a secret key is not locked.
func (t Type) Lockout(connection provider.Connection) provider.Lockout {
	login := t.LoginIdentity(connection)
	if login == "" {
		return provider.Lockout{}
	}
	return provider.Lockout{Credential: login, Refusals: loginRefusals, Window: loginWindow}
}

// Rules are Plesk's rules for passwords of its users. The server's strength policy comes on top and cannot be read
// (https://github.com/plesk/whmcs-plugin/pull/32); a password made by the recipe passes its strictest level.
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	return password.Rules{
		MinLength: minPasswordLength,
		MaxLength: maxPasswordLength,
		Allowed:   printable,
		Forbidden: []string{target.Settings.String(fieldLogin)},
		Recipe: password.Recipe{
			Length: 24,
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

// OldPassword demands nothing: Plesk does not ask for the present password.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// SettleAfter is 0: a change is in force when the answer comes.
func (Type) SettleAfter(provider.Connection) time.Duration { return 0 }

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
		http:     client,
		endpoint: connection.URL + agentPath,
		username: connection.Settings.String(fieldUsername),
		password: transport.NewSecret(connection.Settings.String(fieldPassword)),
		key:      transport.NewSecret(connection.Settings.String(fieldSecretKey)),
	}, nil
}

// Package plesk sets the passwords of additional administrators of a Plesk server with the operation set-admin-alias of
// its XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-plesk-server/managing-additional-administrator-accounts/setting-up-additional-administrator-account.75893/
//
// Each call is one packet with one operation, so the response has exactly one result. The XML API has no operation to
// read or list additional administrators; the first change shows whether a login exists.
//
// Files: plesk.go defines connections and accounts, packet.go encodes packets, response.go parses responses, codes.go
// maps error codes to outcomes, client.go makes the calls, login.go logs in as an additional administrator.
package plesk

import (
	"errors"
	"net/url"
	"strings"
	"time"

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

	// mainAdministrator is the login of the main administrator, which set-admin-alias does not support.
	mainAdministrator = "admin"

	// specials are the plain ones that Plesk's older strength estimate counts:
	// https://support.plesk.com/hc/en-us/articles/213912245-Password-strength-policy-in-Plesk-How-it-works-
	specials = "_"
)

// printable are the characters that Plesk accepts in a password: ASCII without white space and quotes.
const printable = password.Lower + password.Upper + password.Digits + "!#$%&()*+,-./:;<=>?@[\\]^_`{|}~"

// present are the rules that every password in force follows.
var present = password.Rules{Present: printable, MaxLength: maxPasswordLength}

// Type is the provider "plesk". The zero value is ready to use.
type Type struct{}

var _ provider.Type = Type{}

// Name returns "plesk".
func (Type) Name() string { return Name }

// ConnectionFields returns the fields of the two ways to log in to the XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722
func (Type) ConnectionFields() []provider.Field {
	return []provider.Field{
		provider.TextField(fieldUsername, "Administrator's login", "Login of the Plesk administrator that changes the passwords of additional administrators, usually admin. Requires password."),
		provider.SecretField(fieldPassword, "Administrator's password", "Password of the Plesk administrator."),
		provider.SecretField(fieldSecretKey, "Secret key", "Secret key of the main administrator, as an alternative to username and password. Plesk binds a key to "+
			"IP addresses: create it for the addresses of all Vault nodes."),
	}
}

// CredentialForms returns the two forms: username and password, and a secret key.
func (Type) CredentialForms() [][]string {
	return [][]string{{fieldUsername, fieldPassword}, {fieldSecretKey}}
}

// TargetFields returns the login of an additional administrator.
func (Type) TargetFields() []provider.Field {
	return []provider.Field{
		provider.RequiredField(fieldLogin, "Login", "Login of the additional administrator. Must not be admin, the main administrator."),
	}
}

// Complete validates the address, and that there is exactly one complete credential.
func (Type) Complete(connection *provider.Connection) error {
	if connection.URL == "" {
		return errors.New("url is required: the address of the Plesk server, such as https://plesk.example.com:8443")
	}
	canonical, err := transport.ParseURL("url", connection.URL, connection.TLS.Insecure)
	if err != nil {
		return err
	}
	if u, err := url.Parse(canonical); err != nil || u.Path != "" {
		return errors.New("url must be the address of the Plesk server without a path, such as https://plesk.example.com:8443")
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
	// They are sent as header values, where leading and trailing spaces are lost and only ASCII is safe.
	for _, name := range []string{fieldUsername, fieldPassword, fieldSecretKey} {
		value := settings.String(name)
		if rule := password.ControlRule(value); rule != "" {
			return errors.New(name + " " + rule)
		}
		if strings.TrimSpace(value) != value || !ascii(value, ' ') {
			return errors.New(name + " must be printable ASCII without leading or trailing spaces; Plesk accepts nothing else")
		}
	}
	var broken *password.RuleError
	if errors.As(present.CheckPresent(settings.String(fieldPassword)), &broken) {
		return errors.New(fieldPassword + " " + broken.Rule)
	}
	return nil
}

// Target validates the login. Logins in Plesk are case-insensitive, so names and identities are in lower case.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	login := settings.String(fieldLogin)
	if err := checkLogin(login); err != nil {
		return provider.Target{}, err
	}
	who := identity(connection, login)
	if who == "" {
		return provider.Target{}, errors.New("url of the connection cannot be parsed; write the connection again")
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
		return errors.New("login must not be admin: the main administrator is not supported, only additional administrators are")
	}
	return nil
}

// ascii reports whether every byte is printable ASCII and not less than first.
func ascii(text string, first byte) bool {
	for i := range len(text) {
		if text[i] < first || text[i] > '~' {
			return false
		}
	}
	return true
}

func identity(connection provider.Connection, login string) string {
	host := Type{}.Host(connection)
	if host == "" {
		return ""
	}
	return strings.Join([]string{Name, host, strings.ToLower(login)}, "|")
}

// Host returns the host of the Plesk server.
func (Type) Host(connection provider.Connection) string {
	return transport.CanonicalHost(connection.URL)
}

// LoginIdentity returns the identity of the administrator that the connection logs in as, or "" with a secret key.
func (Type) LoginIdentity(connection provider.Connection) string {
	if !connection.Settings.Has(fieldUsername) {
		return ""
	}
	return identity(connection, connection.Settings.String(fieldUsername))
}

// loginRefusals is the assumed number of consecutive refusals that lock a login (code 1012). Plesk documents no number,
// and its brute-force protection is configurable.
const loginRefusals = 5

// loginWindow is how long Plesk is assumed to remember a refusal: as long as it is assumed to lock a login.
const loginWindow = 15 * time.Minute

const (
	// senderRefusals is how many refusals per server the engine may cause in senderWindow. By default, Fail2Ban (jail
	// plesk-panel) drops all packets of an address for ten minutes after five refusals in ten minutes, over all logins and
	// secret keys:
	// https://docs.plesk.com/en-US/obsidian/administrator-guide/server-administration/protection-against-brute-force-attacks-fail2ban.73381/
	// Proofs of passwords count, too. One credential that is known to work may be refused beyond it, so at most four are.
	senderRefusals = 3
	senderWindow   = 10 * time.Minute
)

// Lockout returns the lockout of the login, and the ban of the sender, to which refused secret keys count too. Plesk does
// not lock secret keys.
func (t Type) Lockout(connection provider.Connection) provider.Lockout {
	out := provider.Lockout{Sender: SenderAt(t.Host(connection))}
	if login := t.LoginIdentity(connection); login != "" {
		out.Credential, out.Refusals, out.Window = login, loginRefusals, loginWindow
	}
	return out
}

// SenderAt returns how the Plesk server at this host and port bans senders; zero if it is "".
func SenderAt(host string) provider.Sender {
	if host == "" {
		return provider.Sender{}
	}
	return provider.Sender{Server: Name + "|" + host, Refusals: senderRefusals, Window: senderWindow}
}

// Rules returns Plesk's rules for user passwords. The strength policy of the server applies in addition and cannot be read
// (https://github.com/plesk/whmcs-plugin/pull/32); generated passwords meet its strictest level.
func (Type) Rules(_ provider.Connection, target provider.Target) password.Rules {
	return password.Rules{
		MinLength: minPasswordLength,
		MaxLength: maxPasswordLength,
		Allowed:   printable,
		Present:   printable,
		Forbidden: []string{target.Settings.String(fieldLogin)},
		Recipe:    password.Mixed(28, password.Lower, password.Upper, specials),
	}
}

// OldPassword returns no requirement: Plesk does not ask for the current password.
func (Type) OldPassword(provider.Target) provider.OldPassword { return provider.OldPassword{} }

// SettleAfter returns 0: a change is in force when the response arrives.
func (Type) SettleAfter(provider.Connection) time.Duration { return 0 }

// Logins returns the login at the XML API of the same server. Whether an additional administrator may use it is not
// documented: an answer that says so proves nothing.
func (t Type) Logins(connection provider.Connection, _ provider.Target) []provider.Login {
	return []provider.Login{{Kind: provider.LoginPlesk, Address: t.Host(connection), TLS: connection.TLS}}
}

// Open returns a client. It returns an error only for invalid TLS settings or an incomplete connection.
func (t Type) Open(connection provider.Connection) (provider.Client, error) {
	if err := t.Complete(&connection); err != nil {
		return nil, err
	}
	client, err := transport.New(transport.Endpoint{TLS: connection.TLS, Field: "url"})
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

package huaweicloud

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Names of the connection fields.
const (
	FieldUsername      = "username"
	FieldPassword      = "password"
	FieldDomainName    = "domain_name"
	FieldIAMURL        = "iam_url"
	FieldIAMServerName = "iam_tls_server_name"
	FieldAccessKey     = "access_key"
	FieldSecretKey     = "secret_key"
	FieldSecurityToken = "security_token"
	FieldProjectID     = "project_id"
	FieldRegion        = "region"
)

var (
	projectIDs = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`)
	regions    = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	accessKeys = regexp.MustCompile(`^[0-9A-Za-z_-]{1,128}$`)
)

// Service is the part of a provider's Type that all services share.
type Service struct{}

// ConnectionFields returns the fields of a connection to a regional service.
func (Service) ConnectionFields() []provider.Field {
	iam := provider.TextField(FieldIAMURL, "IAM address", "URL of the identity service IAM, without /v3. Defaults to the IAM endpoint of region. Used only with username.")
	iam.Address = true
	iamName := provider.TextField(FieldIAMServerName, "IAM TLS server name", "Name to verify in IAM's certificate instead of the host in iam_url. If it is not set, tls_server_name is used for IAM too. Changing it requires the credential.")
	iamName.Address = true
	return []provider.Field{
		provider.TextField(FieldAccessKey, "Access key", "Access key (AK) used to sign requests. Requires secret_key."),
		provider.SecretField(FieldSecretKey, "Secret key", "Secret key (SK) of the access key."),
		provider.SecretField(FieldSecurityToken, "Security token", "Security token. Required if access_key and secret_key are temporary."),
		provider.TextField(FieldUsername, "IAM user", "Name of the IAM user to obtain tokens for, as an alternative to access_key. Requires password and domain_name."),
		provider.SecretField(FieldPassword, "IAM password", "Password of the IAM user."),
		provider.TextField(FieldDomainName, "Account name", "Name of the Huawei Cloud account (domain) of the IAM user."),
		iam,
		iamName,
		provider.TextField(FieldProjectID, "Project ID", "ID of the project of the instances, as shown under My Credentials in the console. Required."),
		provider.TextField(FieldRegion, "Region", "Region, such as ap-southeast-3. Used to derive url and iam_url if these are not set."),
	}
}

// CredentialForms returns the two forms: an access key, permanent or temporary, and an IAM user.
func (Service) CredentialForms() [][]string {
	return [][]string{
		{FieldAccessKey, FieldSecretKey, FieldSecurityToken},
		{FieldUsername, FieldPassword, FieldDomainName},
	}
}

const (
	// keyRefusals failures in a row lock an access key for five minutes, for all services:
	// https://support.huaweicloud.com/intl/en-us/ocr_faq/ocr_01_0063.html ("more than 5"; 5 is used to be safe)
	keyRefusals = 5
	// userRefusals wrong passwords lock an IAM user for 15 to 30 minutes. This is the default; accounts can change it.
	userRefusals = 5
)

// The windows in which refusals are counted are not documented; they are assumed to be as long as the locks.
const keyWindow = 5 * time.Minute

// Lockout returns the lockout of the access key or the IAM user at the address that it is shown to: the service for a key,
// IAM for a user. In the public cloud, it is the same for all services and regions.
func (Service) Lockout(connection provider.Connection) provider.Lockout {
	settings := connection.Settings
	if settings.Has(FieldAccessKey) {
		key := settings.String(FieldAccessKey)
		return provider.Lockout{
			Credential: credential("key", Address(connection), key),
			Former:     credential("key", key),
			Refusals:   keyRefusals,
			Window:     keyWindow,
		}
	}
	iam, domain, user := settings.String(FieldIAMURL), settings.String(FieldDomainName), settings.String(FieldUsername)
	return provider.Lockout{
		Credential: credential("user", addressOf(iam), domain, user),
		Former:     credential("user", transport.CanonicalHost(iam), domain, user),
		Refusals:   userRefusals,
		Window:     userLock,
		Session:    true,
	}
}

func credential(parts ...string) string { return "huaweicloud|" + strings.Join(parts, "|") }

// publicCloud is the address of the public cloud, which has many: a project, a key and a user are the same at all of them.
const publicCloud = "huaweicloud"

// publicHosts matches the hosts that are derived from a region, and the one of IAM that has none. Nobody but the cloud
// answers there. Other hosts of its domain may be those of its customers: the name of an OBS bucket is one.
var publicHosts = regexp.MustCompile(`^((clouddc|dcs|ecs|iam)\.[a-z]+(-[a-z]+)+-[0-9]+|iam)\.myhuaweicloud\.com:443$`)

// Address returns what distinguishes the cloud of a connection from all others: its host and port, or that it is the public
// one. The same ID names another account there, and the same key is another one.
func Address(connection provider.Connection) string { return addressOf(connection.URL) }

func addressOf(url string) string {
	host := transport.CanonicalHost(url)
	if publicHosts.MatchString(host) {
		return publicCloud
	}
	return host
}

// Host returns the host and port of the regional service.
func (Service) Host(connection provider.Connection) string {
	return transport.CanonicalHost(connection.URL)
}

// LoginIdentity returns "": a connection logs in as an IAM user, which no role can name.
func (Service) LoginIdentity(provider.Connection) string { return "" }

// SettleAfter returns 0: a change is in force when the response arrives, or when a server is restarted.
func (Service) SettleAfter(provider.Connection) time.Duration { return 0 }

// Complete validates a connection to the service (the first part of its host name, such as "dcs") and derives missing
// addresses from the region. Errors are sentences for the user.
func Complete(connection *provider.Connection, service string) error {
	settings := connection.Settings
	if !settings.Has(FieldProjectID) {
		return errors.New("project_id is required: the ID of the project of the instances")
	}
	if !projectIDs.MatchString(settings.String(FieldProjectID)) {
		return errors.New("project_id must be at most 64 letters, digits, - and _; it is not the name of the project")
	}
	region := settings.String(FieldRegion)
	if region != "" && !regions.MatchString(region) {
		return errors.New("region must be lower-case letters, digits and -, such as ap-southeast-3")
	}
	byKey, err := checkCredential(settings)
	if err != nil {
		return err
	}

	address, err := derive(connection.URL, "url", service, region, connection.TLS.Insecure)
	if err != nil {
		return err
	}
	iam := settings.String(FieldIAMURL)
	if iam != "" || !byKey {
		if iam, err = derive(iam, FieldIAMURL, "iam", region, connection.TLS.Insecure); err != nil {
			return err
		}
		if strings.HasSuffix(iam, "/v3") {
			return errors.New("iam_url must be the URL of IAM without /v3, such as https://iam.ap-southeast-3.myhuaweicloud.com")
		}
	}

	connection.URL = address
	if iam != "" {
		connection.Settings = settings.Clone()
		connection.Settings[FieldIAMURL] = iam
	}
	return nil
}

// derive validates an address, or derives it from the region in the form that most public regions use. Some regions and
// all private clouds use other addresses, so each address can be set.
func derive(address, field, service, region string, insecure bool) (string, error) {
	if address == "" {
		if region == "" {
			return "", fmt.Errorf("%s or region is required; the address is derived from region", field)
		}
		address = derived(service, region)
	}
	return transport.ParseURL(field, address, insecure)
}

// derived returns the address of a service in a region.
func derived(service, region string) string {
	return "https://" + service + "." + region + ".myhuaweicloud.com"
}

// endpoint returns the endpoint of a service of a completed connection.
func endpoint(connection provider.Connection, field, address, service string) transport.Endpoint {
	out := transport.Endpoint{TLS: connection.TLS, Field: field}
	if address == derived(service, connection.Settings.String(FieldRegion)) {
		out.Derived = transport.Derivation{
			Address: address, From: "derived from region",
			Otherwise: "correct region, or set url (and iam_url, for an IAM user) to the addresses of your cloud",
		}
	}
	if name := connection.Settings.String(FieldIAMServerName); field == FieldIAMURL && name != "" {
		out.TLS.ServerName = name
	}
	return out
}

// checkCredential requires exactly one complete credential, and reports whether it is an access key.
func checkCredential(settings provider.Settings) (bool, error) {
	byKey := settings.Has(FieldAccessKey) || settings.Has(FieldSecretKey) || settings.Has(FieldSecurityToken)
	byPassword := settings.Has(FieldUsername) || settings.Has(FieldPassword) || settings.Has(FieldDomainName)
	switch {
	case byKey && byPassword:
		return false, errors.New("give either access_key and secret_key or username, password and domain_name, not both")
	case byKey:
		return true, checkKey(settings)
	case byPassword:
		return false, checkUser(settings)
	default:
		return false, errors.New("a credential is required: access_key and secret_key, or username, password and domain_name of an IAM user")
	}
}

// checkKey validates an access key. Its parts are used in header values, where white space and control characters are
// lost or refused.
func checkKey(settings provider.Settings) error {
	switch {
	case !settings.Has(FieldAccessKey):
		return errors.New("access_key is required with secret_key")
	case !settings.Has(FieldSecretKey):
		return errors.New("secret_key is required with access_key")
	case !accessKeys.MatchString(settings.String(FieldAccessKey)):
		return errors.New("access_key must be letters, digits, - and _ only")
	}
	for _, name := range []string{FieldSecretKey, FieldSecurityToken} {
		if rule := password.ControlRule(settings.String(name)); rule != "" {
			return errors.New(name + " " + rule)
		}
		for _, c := range settings.String(name) {
			if c <= ' ' || c > '~' {
				return errors.New(name + " must be printable ASCII without white space")
			}
		}
	}
	return nil
}

func checkUser(settings provider.Settings) error {
	for _, name := range []string{FieldUsername, FieldPassword, FieldDomainName} {
		value := settings.String(name)
		if value == "" {
			return errors.New(name + " is required: an IAM user logs in with username, password and domain_name")
		}
		if rule := password.ControlRule(value); rule != "" {
			return errors.New(name + " " + rule)
		}
		if !utf8.ValidString(value) {
			return errors.New(name + " must be text")
		}
	}
	return nil
}

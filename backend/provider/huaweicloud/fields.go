package huaweicloud

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Names of the connection fields.
const (
	FieldUsername      = "username"
	FieldPassword      = "password"
	FieldDomainName    = "domain_name"
	FieldIAMURL        = "iam_url"
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

// ConnectionFields are the fields of a connection to a regional service.
func ConnectionFields() []provider.Field {
	return []provider.Field{
		text(FieldAccessKey, "Access key", "Access key (AK) that signs the requests. Needs secret_key."),
		secret(FieldSecretKey, "Secret key", "Secret key (SK) of the access key."),
		secret(FieldSecurityToken, "Security token", "Security token, if access_key and secret_key are temporary ones."),
		text(FieldUsername, "IAM user", "Name of the IAM user that tokens are got for, instead of an access key. Needs password and domain_name."),
		secret(FieldPassword, "IAM password", "Password of the IAM user."),
		text(FieldDomainName, "Account name", "Name of the account (domain) that the IAM user belongs to."),
		address(FieldIAMURL, "IAM address", "Address of the identity service IAM, without /v3; default: that of the region. Used with username only."),
		text(FieldProjectID, "Project ID", "ID of the project that the instances are in; see My Credentials in the console. Required."),
		text(FieldRegion, "Region", "Region, such as ap-southeast-3, that the addresses are derived from where none are given."),
	}
}

func text(name, display, description string) provider.Field {
	return provider.Field{Name: name, Schema: &framework.FieldSchema{
		Type:         framework.TypeString,
		Description:  description,
		DisplayAttrs: &framework.DisplayAttributes{Name: display},
	}}
}

func address(name, display, description string) provider.Field {
	field := text(name, display, description)
	field.Address = true
	return field
}

func secret(name, display, description string) provider.Field {
	field := text(name, display, description)
	field.Secret = true
	field.Schema.DisplayAttrs.Sensitive = true
	return field
}

// CredentialForms are an access key, permanent or temporary, and an IAM user.
func CredentialForms() [][]string {
	return [][]string{
		{FieldAccessKey, FieldSecretKey, FieldSecurityToken},
		{FieldUsername, FieldPassword, FieldDomainName},
	}
}

const (
	// keyRefusals failures in a row lock an access key for five minutes, for all services:
	// https://support.huaweicloud.com/intl/en-us/ocr_faq/ocr_01_0063.html ("more than 5"; one less is assumed)
	keyRefusals = 5
	// userRefusals wrong passwords lock an IAM user for 15 to 30 minutes: the default of an account, which can set others.
	userRefusals = 5
)

// The windows in which refusals are counted are not documented; they are presumed to be as long as the locks.
const keyWindow = 5 * time.Minute

// Lockout is that of the access key, or of the IAM user, whichever service it is used for.
func Lockout(connection provider.Connection) provider.Lockout {
	settings := connection.Settings
	if settings.Has(FieldAccessKey) {
		return provider.Lockout{
			Credential: strings.Join([]string{"huaweicloud", "key", settings.String(FieldAccessKey)}, "|"),
			Refusals:   keyRefusals,
			Window:     keyWindow,
		}
	}
	return provider.Lockout{
		Credential: strings.Join([]string{
			"huaweicloud", "user", transport.CanonicalHost(settings.String(FieldIAMURL)), settings.String(FieldDomainName), settings.String(FieldUsername),
		}, "|"),
		Refusals: userRefusals,
		Window:   userLock,
		Session:  true,
	}
}

// Complete checks a connection to the service (the first part of its address, such as "dcs") and derives the addresses
// that are not given from the region. Errors are sentences for the user.
func Complete(connection *provider.Connection, service string) error {
	settings := connection.Settings
	if !settings.Has(FieldProjectID) {
		return errors.New("project_id is required: the ID of the project that the instances are in")
	}
	if !projectIDs.MatchString(settings.String(FieldProjectID)) {
		return errors.New("project_id must be letters, digits, - and _, at most 64; it is not the project's name")
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
			return errors.New("iam_url must be the address of IAM without /v3, such as https://iam.ap-southeast-3.myhuaweicloud.com")
		}
	}

	connection.URL = address
	if iam != "" {
		connection.Settings = settings.Clone()
		connection.Settings[FieldIAMURL] = iam
	}
	return nil
}

// derive checks an address, or derives it from the region, as most regions of the public cloud have it. Some regions
// and all private stacks have others, so that each can be given.
func derive(address, field, service, region string, insecure bool) (string, error) {
	if address == "" {
		if region == "" {
			return "", fmt.Errorf("%s or region is required; the address is derived from region", field)
		}
		address = "https://" + service + "." + region + ".myhuaweicloud.com"
	}
	canonical, err := transport.ParseURL(address, insecure)
	if err != nil && field != "url" {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	return canonical, err
}

// checkCredential demands one credential, whole, and tells whether it is an access key.
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

// checkKey: the parts are sent or used as header values, where white space and control characters are lost or refused.
func checkKey(settings provider.Settings) error {
	switch {
	case !settings.Has(FieldAccessKey):
		return errors.New("access_key is required with secret_key")
	case !settings.Has(FieldSecretKey):
		return errors.New("secret_key is required with access_key")
	case !accessKeys.MatchString(settings.String(FieldAccessKey)):
		return errors.New("access_key must be letters and digits only")
	}
	for _, name := range []string{FieldSecretKey, FieldSecurityToken} {
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
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return errors.New(name + " must be text without control characters")
		}
	}
	return nil
}

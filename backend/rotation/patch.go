package rotation

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Patch holds the fields of a connection that a request gives; nil means unchanged.
type Patch struct {
	Provider               *string
	Address                *string
	CACert                 *string
	ServerName             *string
	Insecure               *bool
	AllowedRoles           *[]string
	AllowedTargets         *[]string
	AllowedVerifyAddresses *[]string
	PasswordPolicy         *string
	VerifyConnection       *bool
	RequestTimeout         *int
	MaxInFlight            *int
	// Settings are the provider's own fields that were given.
	Settings provider.Settings
}

// merge applies a patch to a stored connection, or to the defaults.
func (e *Engine) merge(name string, stored *Connection, patch Patch) (*Connection, provider.Type, error) {
	next := Connection{
		Name: name, AllowedTargets: []string{"*"}, VerifyConnection: true,
		RequestTimeout: DefaultRequestTimeout, MaxInFlight: DefaultMaxInFlight,
		Settings: provider.Settings{},
	}
	if stored != nil {
		next = *stored
		next.Settings = stored.Settings.Clone()
	}
	switch {
	case patch.Provider == nil && stored == nil:
		return nil, nil, Mistake("provider is missing: one of %s", e.typeNames())
	case patch.Provider != nil && stored != nil && *patch.Provider != stored.Provider:
		return nil, nil, Mistake("provider cannot be changed (it is %q): make another connection", stored.Provider)
	case patch.Provider != nil:
		next.Provider = *patch.Provider
	}
	kind := e.types[next.Provider]
	if kind == nil {
		return nil, nil, Mistake("provider %q is not known: one of %s", next.Provider, e.typeNames())
	}
	if err := mergeSettings(&next, kind, patch.Settings); err != nil {
		return nil, nil, err
	}
	set(&next.Address, patch.Address)
	set(&next.TLS.CACert, patch.CACert)
	set(&next.TLS.ServerName, patch.ServerName)
	set(&next.TLS.Insecure, patch.Insecure)
	set(&next.AllowedRoles, patch.AllowedRoles)
	set(&next.AllowedTargets, patch.AllowedTargets)
	set(&next.AllowedVerifyAddresses, patch.AllowedVerifyAddresses)
	set(&next.PasswordPolicy, patch.PasswordPolicy)
	set(&next.VerifyConnection, patch.VerifyConnection)
	set(&next.RequestTimeout, patch.RequestTimeout)
	set(&next.MaxInFlight, patch.MaxInFlight)
	return &next, kind, nil
}

func set[T any](field, given *T) {
	if given != nil {
		*field = *given
	}
}

func (e *Engine) typeNames() string {
	names := make([]string, 0, len(e.types))
	for name := range e.types {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// mergeSettings applies the provider's own fields. A secret that is given replaces the whole credential: the fields of
// another form, and the secrets of the same form that are not given again, belong to the old one.
func mergeSettings(next *Connection, kind provider.Type, given provider.Settings) error {
	fields := map[string]provider.Field{}
	for _, field := range kind.ConnectionFields() {
		fields[field.Name] = field
	}
	for name := range given {
		if _, ok := fields[name]; !ok {
			return Mistake("the field %q is not one of provider %q", name, kind.Name())
		}
	}
	for _, form := range kind.CredentialForms() {
		if !slices.ContainsFunc(form, func(name string) bool { return fields[name].Secret && given.Has(name) }) {
			continue
		}
		for _, other := range kind.CredentialForms() {
			for _, name := range other {
				if !slices.Contains(form, name) || fields[name].Secret {
					delete(next.Settings, name)
				}
			}
		}
	}
	for name, value := range given {
		next.Settings[name] = value
	}
	return nil
}

// validate checks the fields that every connection has.
func (c *Connection) validate() error {
	switch {
	case c.RequestTimeout < minRequestTimeout || c.RequestTimeout > maxRequestTimeout:
		return Mistake("request_timeout must be between %d and %d seconds", minRequestTimeout, maxRequestTimeout)
	case c.MaxInFlight < 1 || c.MaxInFlight > maxMaxInFlight:
		return Mistake("max_in_flight must be between 1 and %d", maxMaxInFlight)
	}
	for _, address := range c.AllowedVerifyAddresses {
		if !ValidAllowedAddress(address) {
			return Mistake("allowed_verify_addresses: %q is neither host:port nor a CIDR", address)
		}
	}
	return nil
}

// compare tells whether the address, the TLS settings or the credential changed, counts the revision if so, and refuses
// a new address without the credential: who may update a connection could have the stored one sent elsewhere.
func (e *Engine) compare(stored, next *Connection, kind provider.Type, complete provider.Connection, patch Patch) (fresh bool, err error) {
	if stored == nil {
		next.Revision = 1
		return true, nil
	}
	before, err := stored.Complete(kind)
	if err != nil {
		return false, err
	}
	for _, field := range kind.ConnectionFields() {
		if field.Immutable && !equal(before.Settings[field.Name], complete.Settings[field.Name]) {
			return false, Mistake("%s cannot be changed (it is %q): make another connection", field.Name, fmt.Sprint(before.Settings[field.Name]))
		}
	}
	moved := before.URL != complete.URL || before.TLS != complete.TLS || slices.ContainsFunc(kind.ConnectionFields(), func(f provider.Field) bool {
		return f.Address && before.Settings.String(f.Name) != complete.Settings.String(f.Name)
	})
	if moved {
		if missing := missingSecrets(kind, complete, patch.Settings); len(missing) > 0 {
			return false, Mistake("the address and the TLS settings can be changed only together with the credential: give %s too", strings.Join(missing, " and "))
		}
	}
	fresh = moved || !sameLogin(kind, before, complete)
	if fresh {
		next.Revision++
	}
	return fresh, nil
}

// givesSecret tells whether a request holds a secret.
func givesSecret(kind provider.Type, given provider.Settings) bool {
	return slices.ContainsFunc(kind.ConnectionFields(), func(f provider.Field) bool { return f.Secret && given.Has(f.Name) })
}

// sameLogin tells whether two versions of a connection send the same.
func sameLogin(kind provider.Type, before, after provider.Connection) bool {
	for _, field := range kind.ConnectionFields() {
		if !field.Local && !reflect.DeepEqual(before.Settings[field.Name], after.Settings[field.Name]) &&
			!equal(before.Settings[field.Name], after.Settings[field.Name]) {
			return false
		}
	}
	return true
}

// missingSecrets lists the secrets in use that a request does not give.
func missingSecrets(kind provider.Type, c provider.Connection, given provider.Settings) []string {
	var missing []string
	for _, field := range kind.ConnectionFields() {
		if field.Secret && c.Settings.Has(field.Name) && !given.Has(field.Name) {
			missing = append(missing, field.Name)
		}
	}
	return missing
}

package connection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Patch holds the connection fields of a request.
type Patch struct {
	// Provider is nil if the request does not name one.
	Provider *string
	// Change sets the fields that every connection has; nil if there is nothing to set.
	Change func(*Options)
	// Settings are the provider's own fields in the request.
	Settings provider.Settings
	// Force: check the credential even if one more refusal could lock it.
	Force bool
	// Warn is called with a warning for the user; nil if nobody reads it.
	Warn func(text string)
}

// Apply applies the patch to a stored connection, or to the defaults if stored is nil. Its errors, and those of the other
// functions in this file, are for the user who made the request.
func (p Patch) Apply(name string, stored *Connection, types map[string]provider.Type) (*Connection, provider.Type, error) {
	next := Connection{
		Name: name, Settings: provider.Settings{},
		Options: Options{
			AllowedTargets: []string{"*"}, VerifyConnection: true,
			RequestTimeout: DefaultRequestTimeout, MaxInFlight: DefaultMaxInFlight,
		},
	}
	if stored != nil {
		next = *stored
		next.Settings = stored.Settings.Clone()
	}
	names := strings.Join(slices.Sorted(maps.Keys(types)), ", ")
	switch {
	case p.Provider == nil && stored == nil:
		return nil, nil, fmt.Errorf("provider is missing: use one of %s", names)
	case p.Provider != nil && stored != nil && *p.Provider != stored.Provider:
		return nil, nil, fmt.Errorf("provider cannot be changed (it is %q): create another connection instead", stored.Provider)
	case p.Provider != nil:
		next.Provider = *p.Provider
	}
	kind := types[next.Provider]
	if kind == nil {
		return nil, nil, fmt.Errorf("provider %q is not supported: use one of %s", next.Provider, names)
	}
	if err := next.mergeSettings(kind, p.Settings); err != nil {
		return nil, nil, err
	}
	if p.Change != nil {
		p.Change(&next.Options)
	}
	return &next, kind, nil
}

// mergeSettings applies the provider's own fields. A secret in the request replaces the whole credential: the fields of
// other forms, and the secrets of the same form that the request does not repeat, belong to the old credential.
func (c *Connection) mergeSettings(kind provider.Type, given provider.Settings) error {
	fields := map[string]provider.Field{}
	for _, field := range kind.ConnectionFields() {
		fields[field.Name] = field
	}
	for name := range given {
		if _, ok := fields[name]; !ok {
			return fmt.Errorf("%s does not belong to provider %q", name, kind.Name())
		}
	}
	for _, form := range kind.CredentialForms() {
		if !slices.ContainsFunc(form, func(name string) bool { return fields[name].Secret && given.Has(name) }) {
			continue
		}
		for _, other := range kind.CredentialForms() {
			for _, name := range other {
				if !slices.Contains(form, name) || fields[name].Secret {
					delete(c.Settings, name)
				}
			}
		}
	}
	maps.Copy(c.Settings, given)
	return nil
}

// Compare reports whether the address, a TLS setting or the credential of the patched connection differs from the stored
// one (nil if there is none), and increments the revision if so. It returns an error for a new address without the
// credential, because the stored credential would be sent to an address that anyone with update access can choose. A stored
// connection that an earlier version accepted and this one does not counts as one with another address.
func (p Patch) Compare(stored, next *Connection, kind provider.Type, complete provider.Connection) (fresh bool, err error) {
	if stored == nil {
		next.Revision = 1
		return true, nil
	}
	before, invalid := stored.Complete(kind)
	for _, field := range kind.ConnectionFields() {
		if field.Immutable && (invalid == nil || before.Settings.Has(field.Name)) && !Equal(before.Settings[field.Name], complete.Settings[field.Name]) {
			return false, fmt.Errorf("%s cannot be changed (it is %q): create another connection instead", field.Name, fmt.Sprint(before.Settings[field.Name]))
		}
	}
	moved := invalid != nil || before.URL != complete.URL || before.TLS != complete.TLS || slices.ContainsFunc(kind.ConnectionFields(), func(f provider.Field) bool {
		return f.Address && before.Settings.String(f.Name) != complete.Settings.String(f.Name)
	})
	if moved {
		if missing := missingSecrets(kind, complete, p.Settings); len(missing) > 0 {
			return false, errors.New("changing the address or a TLS setting requires the credential in the same request: add " + strings.Join(missing, " and "))
		}
	}
	fresh = moved || slices.ContainsFunc(kind.ConnectionFields(), func(f provider.Field) bool {
		return !f.Local && !Equal(before.Settings[f.Name], complete.Settings[f.Name])
	})
	if fresh {
		next.Revision++
	}
	return fresh, nil
}

// HasSecret reports whether the request contains a secret.
func (p Patch) HasSecret(kind provider.Type) bool {
	return slices.ContainsFunc(kind.ConnectionFields(), func(f provider.Field) bool { return f.Secret && p.Settings.Has(f.Name) })
}

// missingSecrets returns the secrets of the connection that the request does not contain.
func missingSecrets(kind provider.Type, c provider.Connection, given provider.Settings) []string {
	var missing []string
	for _, field := range kind.ConnectionFields() {
		if field.Secret && c.Settings.Has(field.Name) && !given.Has(field.Name) {
			missing = append(missing, field.Name)
		}
	}
	return missing
}

// Equal reports whether two values of a setting are the same. Lists are compared as sets, because tools do not keep their
// order. Numbers of different types can be equal, because storage changes their type.
func Equal(a, b any) bool {
	if list, ok := a.([]string); ok {
		return slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(provider.Settings{"": b}.Strings(""))))
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

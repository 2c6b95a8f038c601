package connection

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/strutil"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// NotAllowedError is the error for a role that its connection does not allow. It is for the user who made the request.
type NotAllowedError struct {
	Connection, Role string
	// Target is the canonical name that allowed_targets does not match; "" if allowed_roles does not match the role.
	Target string
}

func (e *NotAllowedError) Error() string {
	if e.Target != "" {
		return fmt.Sprintf("connection %q does not allow the target %q: add it to allowed_targets of config/%s", e.Connection, e.Target, e.Connection)
	}
	return fmt.Sprintf("connection %q does not allow role %q: add it to allowed_roles of config/%s", e.Connection, e.Role, e.Connection)
}

// NotAllowed checks a role against allowed_roles and allowed_targets, and returns nil if they allow it.
func (c *Connection) NotAllowed(role string, target provider.Target) *NotAllowedError {
	if !strutil.StrListContainsGlob(c.AllowedRoles, role) {
		return &NotAllowedError{Connection: c.Name, Role: role}
	}
	for _, name := range target.Names {
		// Names that differ only in case are one account.
		matches := func(allowed string) bool {
			return strutil.StrListContainsGlob([]string{strings.ToLower(allowed)}, strings.ToLower(name))
		}
		if !slices.ContainsFunc(c.AllowedTargets, matches) {
			return &NotAllowedError{Connection: c.Name, Role: role, Target: name}
		}
	}
	return nil
}

// roleGlobs matches the names of roles with * in place of any text. Vault's globs have no other wildcard.
var roleGlobs = regexp.MustCompile(`^[\w*]([\w.*-]*[\w*])?$`)

// validateGlobs refuses entries of allowed_roles and allowed_targets that match nothing.
func (o Options) validateGlobs() error {
	for _, text := range o.AllowedRoles {
		if !roleGlobs.MatchString(text) {
			return fmt.Errorf("allowed_roles: %q matches no role: use letters, digits, _ - . and the wildcard *", text)
		}
	}
	for _, text := range o.AllowedTargets {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("allowed_targets: %q matches no target: use printable ASCII without white space, and the wildcard *", text)
		}
	}
	return nil
}

// AllowsPolicy reports whether a role may name the password policy; "" names none.
func (c *Connection) AllowsPolicy(name string) bool {
	return name == "" || name == c.PasswordPolicy || strutil.StrListContainsGlob(c.AllowedPasswordPolicies, name)
}

// NoPolicy returns the error for a password policy that a role names, or, for "", for that of the connection. For a role, the
// error does not tell which policies exist: whoever writes a role need not have rights on them.
func (c *Connection) NoPolicy(name string) error {
	if name == "" {
		return fmt.Errorf("the password policy %q of connection %q does not exist or returns no password: see sys/policies/password", c.PasswordPolicy, c.Name)
	}
	return fmt.Errorf("connection %q does not allow the password policy %q, or it does not exist or returns no password: use a policy that matches allowed_password_policies of config/%s, or none", c.Name, name, c.Name)
}

// AllowsAddress checks a verify_address against allowed_verify_addresses: it must be listed, in whatever form, or its literal
// address must lie in a listed network.
func (c *Connection) AllowsAddress(address string) error {
	wanted, err := provider.ParseAddress("verify_address", address)
	if err != nil {
		return err //nolint:wrapcheck // it is a sentence for the user
	}
	host, _, _ := net.SplitHostPort(wanted)
	ip, notLiteral := netip.ParseAddr(host)
	for _, text := range c.AllowedVerifyAddresses {
		if listed, err := provider.ParseAddress("", text); err == nil && listed == wanted {
			return nil
		}
		if network, err := netip.ParsePrefix(text); err == nil && notLiteral == nil && network.Contains(ip) {
			return nil
		}
	}
	return fmt.Errorf("connection %q does not allow the verify_address %q: add it to allowed_verify_addresses of config/%s", c.Name, wanted, c.Name)
}

// checkAllowedAddress checks an entry of allowed_verify_addresses: host:port or a CIDR.
func checkAllowedAddress(text string) error {
	_, err := provider.ParseAddress("the address", text)
	if _, notNetwork := netip.ParsePrefix(text); err != nil && notNetwork != nil {
		return fmt.Errorf("allowed_verify_addresses: %q is neither host:port nor a CIDR: %w", text, err)
	}
	return nil
}

// RefusesLogin returns why no password may be sent to a verify_address, or to the connection's own remote system if it is "": the
// connection or the settings of the mount do not allow it. insecure means that nothing authenticates the server. The address of a
// host name may still be refused when it is dialed. It must be asked before each login, because both may have changed since the
// role was written. The error is a [*problem.Error], or one of storage.
func (h *Handle) RefusesLogin(address string, insecure bool) error {
	var err error
	switch {
	case h.limits.Unknown != nil:
		return problem.Storage("reading the settings of the mount", h.limits.Unknown)
	case insecure && h.limits.ForbidInsecureTLS:
		err = errors.New("forbid_insecure_tls in the mount's settings forbids verify_tls=false")
	case address == "":
		err = h.limits.Refuses(h.Kind, h.Completed)
	default:
		err = cmp.Or(h.AllowsAddress(address), h.limits.RefusesAddress(address))
	}
	if err != nil {
		return problem.Mistake("%s", err)
	}
	return nil
}

// MayRestart reports whether the engine restarts the parts of a target, and the connection still allows it.
func (h *Handle) MayRestart(target provider.Target) bool {
	if target.Restart == "" {
		return false
	}
	_, err := h.Kind.Target(h.Completed, target.Settings)
	return err == nil
}

// Account returns the account that a stored target names on this connection, whatever the fields say that do not name it: the
// connection may no longer allow what they ask for, such as restarts.
func (h *Handle) Account(stored provider.Target) (provider.Target, error) {
	naming := stored.Settings.Clone()
	for _, field := range h.Kind.TargetFields() {
		if field.Mutable {
			delete(naming, field.Name)
		}
	}
	return h.Kind.Target(h.Completed, naming)
}

// MergeTarget applies target fields of a request to a stored target. Fields that name the account cannot change.
func (h *Handle) MergeTarget(stored provider.Target, given provider.Settings) (provider.Target, error) {
	merged := stored.Settings.Clone()
	for name, value := range given {
		merged[name] = value
	}
	target, err := h.Kind.Target(h.Completed, merged)
	if err != nil {
		return stored, err
	}
	for _, field := range h.Kind.TargetFields() {
		if !field.Mutable && !Equal(target.Settings[field.Name], stored.Settings[field.Name]) {
			return stored, errors.New(field.Name + " names the account and cannot be changed: create another role for another account")
		}
	}
	return target, nil
}

package role

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/verify"
)

// Names of the fields of the addresses, host keys and certificates in Options.
const (
	fieldAddress = "verify_address"
	fieldHostKey = "verify_host_key"
	fieldCACert  = "verify_ca_cert"
)

// LoginKind is a kind of login, as stored: earlier versions stored a boolean without effect.
type LoginKind string

// UnmarshalJSON decodes a boolean as "".
func (k *LoginKind) UnmarshalJSON(data []byte) error {
	var kind string
	if json.Unmarshal(data, &kind) != nil {
		var former bool
		if err := json.Unmarshal(data, &former); err != nil {
			return err //nolint:wrapcheck // it is wrapped where the entry is decoded
		}
	}
	*k = LoginKind(kind)
	return nil
}

// Proves reports whether passwords of the role are proved by a login.
func (o Options) Proves() bool { return o.Verify != "" && o.Verify != provider.LoginNone }

// Verification returns the options that [Role.Logins] depends on, for comparison.
func (o Options) Verification() [5]any {
	return [5]any{o.Verify, o.VerifyAddress, o.VerifyHostKey, o.VerifyCACert, o.VerifyTLS}
}

// Login is one login that proves passwords.
type Login struct {
	// Part is the part of the account that is logged in to, one of Target.Parts; "" if there are none.
	Part string
	// Own: the address is that of the connection's remote system, so allowed_verify_addresses need not list it.
	Own bool
	// Login has everything but the password. If its kind is provider.LoginWebCLI, the login is one of [provider.Prover].
	verify.Login
}

// Logins returns how to prove a password of the role: one login for each part, in order, or none if the role does not verify
// passwords. ways are the possible ones, of provider.Type. An error says what is wrong with the options, for the user who set
// them. The caller has to check that the addresses are allowed. The long options must have been read: see store.Expand.
func (r *Role) Logins(ways []provider.Login) ([]Login, error) {
	o := r.Options
	if !o.Proves() {
		return nil, nil
	}
	at := slices.IndexFunc(ways, func(way provider.Login) bool { return way.Kind == string(o.Verify) })
	if at < 0 {
		return nil, errors.New("verify must be " + kinds(ways))
	}
	if err := o.checkEffect(); err != nil {
		return nil, err
	}
	parts := r.Target.Parts
	if len(parts) == 0 {
		parts = []string{""}
	}
	addresses, err := o.addresses(parts, ways[at])
	if err != nil {
		return nil, err
	}
	keys, err := byPart(fieldHostKey, o.VerifyHostKey, parts)
	if err != nil {
		return nil, err
	}
	if o.Verify == provider.LoginSSH {
		if err := missing(fieldHostKey, keys, parts, "The server's public key is required, because no password is sent to a server that is not known: read it on the server, from /etc/ssh/ssh_host_ed25519_key.pub"); err != nil {
			return nil, err
		}
	}
	logins := make([]Login, 0, len(parts))
	for _, part := range parts {
		login, err := r.login(part, addresses[part], keys[part], ways[at])
		if err != nil {
			return nil, err
		}
		logins = append(logins, login)
	}
	return logins, nil
}

// login returns the login for one part.
func (r *Role) login(part, address string, keys []string, way provider.Login) (Login, error) {
	o := r.Options
	login := Login{Part: part, Own: address == way.Address, Login: verify.Login{
		Kind: way.Kind, Address: address, Username: r.Target.Username, HostKeys: keys, Plain: !o.VerifyTLS,
	}}
	if way.Kind == provider.LoginWebCLI {
		return login, nil
	}
	if login.Own {
		login.TLS, login.AddressField = way.TLS, "url"
	}
	if o.VerifyCACert != "" {
		login.TLS.CACert, login.TLS.Insecure, login.AddressField = o.VerifyCACert, false, ""
	}
	err := login.Validate()
	if err != nil && part != "" {
		err = fmt.Errorf("server %s: %w", part, err)
	}
	return login, err
}

// validateVerification checks the options about proofs that do not depend on the account.
func (o Options) validateVerification() error {
	switch {
	case o.VerifyPeriod != 0 && o.VerifyPeriod < int(minVerify/time.Second):
		return fmt.Errorf("verify_period must be at least %d seconds, or 0 for no verification while the password stays the same", int(minVerify/time.Second))
	case o.OnDrift != DriftReport && o.OnDrift != DriftRecover && o.OnDrift != DriftRotate:
		return fmt.Errorf("on_drift must be %q, %q or %q", DriftReport, DriftRecover, DriftRotate)
	case o.VerifyPeriod != 0 && !o.Proves():
		return errors.New("verify_period requires verify, the kind of login that proves the password: set it, or set verify_period=0")
	case o.OnDrift != DriftReport && !o.Proves():
		return fmt.Errorf("on_drift=%s requires verify, the kind of login that proves the password: set it, or set on_drift=%s", o.OnDrift, DriftReport)
	}
	for _, c := range [][2]string{{fieldHostKey, o.VerifyHostKey}, {fieldCACert, o.VerifyCACert}} {
		if strings.Contains(c[1], "PRIVATE KEY") || strings.Contains(c[1], "PuTTY-User-Key-File") { // which a read would return
			return errors.New(c[0] + " contains a private key, which was not stored: give only what is public. Replace the key if others could see this request")
		}
	}
	return nil
}

// checkEffect refuses options that have no effect with this kind of login.
func (o Options) checkEffect() error {
	kind := string(o.Verify)
	for _, c := range []struct {
		field, value string
		kinds        []string // that need it
	}{
		{fieldAddress, o.VerifyAddress, []string{provider.LoginSSH, provider.LoginRedis, provider.LoginPlesk}},
		{fieldHostKey, o.VerifyHostKey, []string{provider.LoginSSH}},
		{fieldCACert, o.VerifyCACert, []string{provider.LoginRedis, provider.LoginPlesk}},
	} {
		if c.value != "" && !slices.Contains(c.kinds, kind) {
			return fmt.Errorf("%s has no effect with verify=%s: remove it with %s=\"\"", c.field, kind, c.field)
		}
	}
	switch {
	case !o.VerifyTLS && kind != provider.LoginRedis:
		return fmt.Errorf("verify_tls=false has no effect with verify=%s: set verify_tls=true", kind)
	case !o.VerifyTLS && o.VerifyCACert != "":
		return fmt.Errorf("%s has no effect with verify_tls=false: remove it with %s=\"\", or set verify_tls=true", fieldCACert, fieldCACert)
	default:
		return nil
	}
}

// verifyWarnings returns what is unusual about valid options about proofs.
func (o Options) verifyWarnings() []string {
	switch {
	case !o.Proves() && o.VerifyAddress+o.VerifyHostKey+o.VerifyCACert != "":
		return []string{"The addresses, host keys and certificates of the role are not checked, and have no effect until verify is set."}
	case o.Proves() && !o.VerifyTLS:
		return []string{"With verify_tls=false, anyone between Vault and the server can read the passwords of the role."}
	default:
		return nil
	}
}

// addresses returns the canonical address for each part.
func (o Options) addresses(parts []string, way provider.Login) (map[string]string, error) {
	given, err := byPart(fieldAddress, o.VerifyAddress, parts)
	if err != nil {
		return nil, err
	}
	if way.Kind != provider.LoginWebCLI && way.Address == "" {
		if err := missing(fieldAddress, given, parts, fmt.Sprintf("verify=%s requires the host:port to log in to", way.Kind)); err != nil {
			return nil, err
		}
	}
	out, used := map[string]string{}, map[string]string{}
	for _, part := range parts {
		entries := given[part]
		switch {
		case len(entries) == 0:
			out[part] = way.Address
			continue
		case len(entries) > 1 && part == "":
			return nil, fmt.Errorf("%s has %d entries, but the role has one account: give one host:port", fieldAddress, len(entries))
		case len(entries) > 1:
			return nil, fmt.Errorf("%s has %d entries for server %s: give one", fieldAddress, len(entries), part)
		}
		address, err := provider.ParseAddress(fieldAddress+of(part), entries[0])
		if err != nil {
			return nil, err //nolint:wrapcheck // it is a sentence for the user
		}
		if other, twice := used[address]; twice {
			return nil, fmt.Errorf("%s has the same address for the servers %s and %s, so a login could not tell them apart: give each its own", fieldAddress, other, part)
		}
		out[part], used[address] = address, part
	}
	return out, nil
}

// byPart returns the lines of a field for each part, without comments. Unless there is only one part, each line begins with ID=. The errors do
// not quote the lines, which may hold a secret by mistake.
func byPart(field, lines string, parts []string) (map[string][]string, error) {
	out := map[string][]string{}
	number := 0
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") { // ssh-keyscan writes comments
			continue
		}
		number++
		id, rest, named := strings.Cut(line, "=")
		named = named && !strings.ContainsAny(id, " \t:/+@|") // of which a key or an address has some before any "="
		at := slices.IndexFunc(parts, func(part string) bool { return part != "" && strings.EqualFold(part, id) })
		switch {
		case named && at >= 0:
			out[parts[at]] = append(out[parts[at]], strings.TrimSpace(rest))
		case named && parts[0] == "":
			return nil, fmt.Errorf("%s: entry %d begins with the ID of a server, but the role has one account without servers: leave out ID=", field, number)
		case named:
			return nil, fmt.Errorf("%s: entry %d begins with an ID that is not one of the role's servers", field, number)
		case len(parts) > 1:
			return nil, fmt.Errorf("%s: entry %d does not say which server it is for: begin each entry with ID= and the ID of a server of the role", field, number)
		default:
			out[parts[0]] = append(out[parts[0]], line)
		}
	}
	return out, nil
}

// missing returns an error that begins with what is missing if a part has no entry, and otherwise nil.
func missing(field string, entries map[string][]string, parts []string, why string) error {
	var without []string
	for _, part := range parts {
		if len(entries[part]) == 0 {
			without = append(without, part)
		}
	}
	switch {
	case len(without) == 0:
		return nil
	case len(parts) == 1:
		return fmt.Errorf("%s is missing. %s", field, why)
	default:
		return fmt.Errorf("%s is missing for %s. %s", field, strings.Join(without, ", "), why)
	}
}

// of names a part in an error, or is "" if there are none.
func of(part string) string {
	if part == "" {
		return ""
	}
	return " of server " + part
}

// kinds lists the possible values of verify.
func kinds(ways []provider.Login) string {
	names := fmt.Sprintf("%q", provider.LoginNone)
	for i, way := range ways {
		between := ", "
		if i == len(ways)-1 {
			between = " or "
		}
		names += fmt.Sprintf("%s%q", between, way.Kind)
	}
	if len(ways) == 0 {
		return names + " for this account: no login can prove its password"
	}
	return names + " for this account"
}

package proof

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
)

// Names of the fields of the addresses, host keys and certificates in role.Options.
const (
	fieldAddress = "verify_address"
	fieldHostKey = "verify_host_key"
	fieldCACert  = "verify_ca_cert"
)

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
// passwords. An error says what is wrong with the options, or why no login may be made, for the user who set them. It has to be
// asked before each login, because the connection and the settings may have changed. The long options must have been read: see
// store.Expand.
func Logins(h *connection.Handle, r *role.Role) ([]Login, error) {
	logins, err := loginsOf(r, h.Kind.Logins(h.Completed, r.Target))
	if err != nil {
		return nil, problem.Mistake("%s", err)
	}
	for _, login := range logins {
		address := login.Address
		if login.Own {
			address = ""
		}
		if err := h.RefusesLogin(address, login.Plain); err != nil {
			return nil, err
		}
	}
	return logins, nil
}

// loginsOf returns the logins for the options of a role. ways are the possible ones.
func loginsOf(r *role.Role, ways []provider.Login) ([]Login, error) {
	o := r.Options
	if !o.Proves() {
		return nil, nil
	}
	at := slices.IndexFunc(ways, func(way provider.Login) bool { return way.Kind == string(o.Verify) })
	if at < 0 {
		return nil, errors.New("verify must be " + kinds(ways))
	}
	if err := checkEffect(o); err != nil {
		return nil, err
	}
	parts := r.Target.Parts
	if len(parts) == 0 {
		parts = []string{""}
	}
	addresses, err := addressesOf(o, parts, ways[at])
	if err != nil {
		return nil, err
	}
	keys, err := byPart(fieldHostKey, o.VerifyHostKey, parts)
	if err != nil {
		return nil, err
	}
	if o.Verify == provider.LoginSSH {
		why := "The server's public key is required, because no password is sent to a server that is not known: read it on the server, from /etc/ssh/ssh_host_ed25519_key.pub"
		if len(parts) > 1 {
			why += ". Separate the servers' keys by line breaks or repeat the field: commas do not separate them"
		}
		if err := missing(fieldHostKey, keys, parts, why); err != nil {
			return nil, err
		}
	}
	logins := make([]Login, 0, len(parts))
	for _, part := range parts {
		login, err := loginOf(r, part, addresses[part], keys[part], ways[at])
		if err != nil {
			return nil, err
		}
		logins = append(logins, login)
	}
	return logins, nil
}

// loginOf returns the login for one part.
func loginOf(r *role.Role, part, address string, keys []string, way provider.Login) (Login, error) {
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

// checkEffect refuses options that have no effect with this kind of login.
func checkEffect(o role.Options) error {
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

// addressesOf returns the canonical address for each part.
func addressesOf(o role.Options, parts []string, way provider.Login) (map[string]string, error) {
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

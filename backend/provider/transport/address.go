package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"

	"vault-plugin-secrets-hosting/backend/provider"
)

// forbiddenError reports an address that no request may go to.
type forbiddenError struct{ address netip.Addr }

func (e *forbiddenError) Error() string {
	return provider.ForbiddenReason(e.address)
}

// notAllowedError reports a host that the mount's allowed_hosts do not allow. It does not tell what its name resolves to.
type notAllowedError struct{}

func (notAllowedError) Error() string {
	return "allowed_hosts in the mount's settings does not allow the host"
}

// control checks the address in the dialer, after name resolution, so that a name cannot resolve to another address
// between check and use. With a proxy it sees only the proxy's address: the proxy's own rules apply then.
func control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("the address cannot be parsed")
	}
	if provider.Forbidden(target.Addr()) {
		return &forbiddenError{target.Addr()}
	}
	if way := routeOf(ctx); way.proxy == nil && !way.allowed && !provider.HostsOf(ctx).AllowsAddress(target.Addr()) {
		return notAllowedError{}
	}
	return nil
}

// ParseURL validates a base address and returns its canonical form for comparison: host in lower case, no default port,
// no trailing slash. It returns a canonical form unchanged. field is the name of the field that holds the address, and
// tlsInsecure is the connection's insecure_tls. The error is a sentence for the user; it does not quote raw, which may hold
// a password.
func ParseURL(field, raw string, tlsInsecure bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", errors.New(field + " cannot be parsed; write it as https://host or https://host:port")
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case scheme != "https" && scheme != "http":
		return "", errors.New(field + " must begin with https://")
	case u.User != nil:
		return "", errors.New(field + " must not contain a user name or password; use the connection's credential fields")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return "", errors.New(field + " must not contain a query or a fragment")
	}
	host, err := parseHost(field, u)
	if err != nil {
		return "", err
	}
	if scheme == "http" {
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || !address.IsLoopback() {
			return "", errors.New(field + " must begin with https://; http:// is allowed only for a literal loopback address, such as http://127.0.0.1:8080")
		}
		if !tlsInsecure {
			return "", errors.New(field + " must begin with https://; http:// to a loopback address needs insecure_tls=true")
		}
	}
	port, err := parsePort(field, u, scheme)
	if err != nil {
		return "", err
	}
	base := strings.TrimRight(u.Path, "/")
	if u.RawPath != "" || strings.ContainsAny(base, "%\\ ") || (base != "" && path.Clean(base) != base) {
		return "", errors.New("the path in " + field + " must be plain: no escapes, no dot segments, no double slashes")
	}
	out := scheme + "://" + host
	if port != defaultPort(scheme) {
		out += ":" + port
	}
	return out + base, nil
}

// parseHost returns the host in canonical form, with IPv6 addresses in brackets.
func parseHost(field string, u *url.URL) (string, error) {
	host, err := provider.ParseHost(field, u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, err
}

func parsePort(field string, u *url.URL, scheme string) (string, error) {
	if u.Port() == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", errors.New(field + " has a colon but no port")
		}
		return defaultPort(scheme), nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return "", errors.New("the port in " + field + " must be a number from 1 to 65535")
	}
	return strconv.FormatUint(port, 10), nil
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// CanonicalHost returns the host:port of a canonical address, always with the port, for use in target identities. It
// returns "" if the address cannot be parsed.
func CanonicalHost(canonical string) string {
	u, err := url.Parse(canonical)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

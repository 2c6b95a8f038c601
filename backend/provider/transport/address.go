package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// ForbiddenAddressError is an address that no request may go to. Clouds hand out the credentials of a machine at
// link-local addresses; whoever may write a connection must not reach these through Vault.
type ForbiddenAddressError struct {
	Address netip.Addr
}

func (e *ForbiddenAddressError) Error() string {
	return "the address " + e.Address.String() + " is link-local, multicast or unspecified, which a connection may not use; correct url"
}

// forbidden tells whether no request may go to the address.
func forbidden(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified() || address.IsInterfaceLocalMulticast()
}

// control is the dialer's last look at an address after names are resolved, so that no name can lead elsewhere between
// a check and its use. Through a proxy it sees the proxy's address only: the proxy's own rules decide then.
func control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("the address cannot be read")
	}
	if forbidden(target.Addr()) {
		return &ForbiddenAddressError{Address: target.Addr()}
	}
	return nil
}

// hostNames are lower-case names; an underscore is no letter of a host name but is seen in private networks.
var hostNames = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// ParseURL checks a base address and returns its canonical form, by which addresses can be compared: host in lower
// case, no default port, no trailing slash. ParseURL of a canonical form returns it unchanged. tlsInsecure is the connection's
// insecure_tls. The error is a sentence for the user; it does not quote raw, which may hold a password.
func ParseURL(raw string, tlsInsecure bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", errors.New("url cannot be read; write it as https://host or https://host:port")
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case scheme != "https" && scheme != "http":
		return "", errors.New("url must begin with https://")
	case u.User != nil:
		return "", errors.New("url must not hold a user name or password; they have fields of their own")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return "", errors.New("url must not have a query or a fragment")
	}
	host, err := parseHost(u)
	if err != nil {
		return "", err
	}
	if scheme == "http" {
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || !address.IsLoopback() {
			return "", errors.New("url must begin with https://; http:// is for a literal loopback address only, such as http://127.0.0.1:8080")
		}
		if !tlsInsecure {
			return "", errors.New("url must begin with https://; http:// to a loopback address needs insecure_tls=true")
		}
	}
	port, err := parsePort(u, scheme)
	if err != nil {
		return "", err
	}
	base := strings.TrimRight(u.Path, "/")
	if u.RawPath != "" || strings.ContainsAny(base, "%\\ ") || (base != "" && path.Clean(base) != base) {
		return "", errors.New("the path in url must be plain: no escapes, no dots, no doubled slashes")
	}
	out := scheme + "://" + host
	if port != defaultPort(scheme) {
		out += ":" + port
	}
	return out + base, nil
}

// parseHost returns the host in the one form that it is compared in; IPv6 addresses in brackets.
func parseHost(u *url.URL) (string, error) {
	host := strings.ToLower(u.Hostname())
	if address, err := netip.ParseAddr(host); err == nil {
		if address.Zone() != "" {
			return "", errors.New("the address in url must not have a zone")
		}
		if forbidden(address) {
			return "", fmt.Errorf("url: %w", &ForbiddenAddressError{Address: address})
		}
		address = address.Unmap()
		if address.Is6() {
			return "[" + address.String() + "]", nil
		}
		return address.String(), nil
	}
	if strings.HasSuffix(host, ".") {
		return "", errors.New("the host in url must not end in a dot")
	}
	if !hostNames.MatchString(host) || strings.Contains(host, "..") {
		return "", errors.New("the host in url cannot be read; write names with other letters than a-z in their ASCII form, xn--…")
	}
	// 127.1, 0x7f000001 and the like: some resolvers take them for addresses.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil {
		return "", errors.New("the host in url looks like an address but is none; write IPv4 addresses as four decimal numbers")
	}
	return host, nil
}

func parsePort(u *url.URL, scheme string) (string, error) {
	if u.Port() == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", errors.New("url has a colon but no port")
		}
		return defaultPort(scheme), nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return "", errors.New("the port in url must be a number from 1 to 65535")
	}
	return strconv.FormatUint(port, 10), nil
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// CanonicalHost returns host:port of a canonical address, always with the port: what identities of accounts are made
// of. It is "" for what ParseURL would not take.
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

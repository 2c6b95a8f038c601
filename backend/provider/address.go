package provider

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// hostNames matches lower-case host names. Underscores are not valid in host names, but private networks use them.
var hostNames = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// ParseHost validates a host, an IPv6 address without brackets, and returns its canonical form for comparison: a host name in
// lower case, or an address that nothing else can mean. It returns a canonical form unchanged. The error is for the user who
// wrote the field; it does not quote the host, which may hold a secret by mistake.
func ParseHost(field, host string) (string, error) {
	host = strings.ToLower(host)
	if address, err := netip.ParseAddr(host); err == nil {
		if address.Zone() != "" {
			return "", errors.New("the address in " + field + " must not contain a zone")
		}
		if Forbidden(address) {
			return "", errors.New(field + ": " + ForbiddenReason(address))
		}
		return address.Unmap().String(), nil
	}
	if strings.HasSuffix(host, ".") {
		return "", errors.New("the host in " + field + " must not end in a dot")
	}
	if !hostNames.MatchString(host) || strings.Contains(host, "..") {
		return "", errors.New("the host in " + field + " cannot be parsed; write internationalized names in their ASCII form, xn--…")
	}
	// Some resolvers accept forms such as 127.1 and 0x7f000001 as addresses.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil {
		return "", errors.New("the host in " + field + " looks like an IPv4 address but is not valid; write IPv4 addresses as four decimal numbers")
	}
	return host, nil
}

// ParseAddress is [ParseHost] for host:port, with IPv6 addresses in brackets.
func ParseAddress(field, text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "" || strings.Trim(port, "0123456789") != "" {
		return "", errors.New(field + " must be host:port, such as server.example.com:22 or [2001:db8::1]:22")
	}
	if host, err = ParseHost(field, host); err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port in " + field + " must be a number from 1 to 65535")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

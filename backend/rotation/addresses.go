package rotation

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/hashicorp/go-secure-stdlib/strutil"
)

// validAddress tells whether the text is host:port.
func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// ValidAllowedAddress tells whether the text may stand in allowed_verify_addresses: host:port or a CIDR.
func ValidAllowedAddress(text string) bool {
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	return validAddress(text)
}

// allowsAddress tells whether host:port is listed, or its literal address lies in a listed network.
func allowsAddress(allowed []string, address string) bool {
	if strutil.StrListContains(allowed, address) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, text := range allowed {
		if network, err := netip.ParsePrefix(text); err == nil && network.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}

package provider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/strutil"
)

// Bounds of a list of hosts.
const (
	maxHosts    = 256
	maxHostText = 256
)

// Hosts are the hosts that connections may lead to, as globs that match host names, and as networks (CIDR) and addresses.
// An empty list allows any host.
type Hosts []string

// Validate checks the list. Its errors are for the user who set it.
func (h Hosts) Validate() error {
	if len(h) > maxHosts {
		return fmt.Errorf("allowed_hosts must have at most %d entries", maxHosts)
	}
	for _, text := range h {
		_, isNetwork := network(text)
		switch {
		case text == "" || len(text) > maxHostText:
			return fmt.Errorf("allowed_hosts: each entry must have between 1 and %d bytes", maxHostText)
		case isNetwork:
		case strings.ContainsAny(text, "/:[]") || text != "*" && strings.Trim(text, "0123456789.*") == "": // a name may begin with 10.
			return errors.New("allowed_hosts: write a network as CIDR, such as 10.0.0.0/8, and a host as a name or a glob without a port, such as *.example.com")
		}
	}
	return nil
}

// AllowsHost reports whether the list allows a host as it is written: a name, whatever address it has, or an address.
func (h Hosts) AllowsHost(host string) bool {
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return h.AllowsAddress(address)
	}
	return h.AllowsName(host)
}

// MayAllow is AllowsHost, or true if the address of a name decides, which is known when it is dialed.
func (h Hosts) MayAllow(host string) bool {
	if h.AllowsHost(host) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err != nil && slices.ContainsFunc(h, func(text string) bool {
		_, isNetwork := network(text)
		return isNetwork
	})
}

// AllowsName reports whether a glob of the list matches the host name, so that it does not matter where it leads.
func (h Hosts) AllowsName(name string) bool {
	for _, text := range h {
		if _, isNetwork := network(text); !isNetwork && strutil.StrListContainsGlob([]string{strings.ToLower(text)}, name) {
			return true
		}
	}
	return len(h) == 0
}

// AllowsAddress reports whether a network of the list contains the address.
func (h Hosts) AllowsAddress(address netip.Addr) bool {
	for _, text := range h {
		if in, isNetwork := network(text); text == "*" || isNetwork && in.Contains(address.Unmap().WithZone("")) {
			return true
		}
	}
	return len(h) == 0
}

// network parses a network, or an address as a network of one.
func network(text string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), true
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Prefix{}, false
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), true
}

// hostsKey is the key of a value of contexts; see WithHosts.
type hostsKey struct{}

// WithHosts returns a context for calls of a client, which connect to these hosts only.
func WithHosts(ctx context.Context, hosts Hosts) context.Context {
	return context.WithValue(ctx, hostsKey{}, hosts)
}

// HostsOf returns the hosts that calls with this context may connect to.
func HostsOf(ctx context.Context) Hosts {
	hosts, _ := ctx.Value(hostsKey{}).(Hosts)
	return hosts
}

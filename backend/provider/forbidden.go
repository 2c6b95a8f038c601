package provider

import (
	"net/netip"
	"slices"
)

// forbidden are the networks that no connection may lead to. Clouds serve the credentials of the machine that Vault runs on
// at link-local and a few other addresses; a user who may write a connection must not reach them through Vault.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),              // this host, RFC 1122; Linux connects 0.0.0.0 to itself
	netip.MustParsePrefix("169.254.0.0/16"),         // link-local, RFC 3927: metadata of AWS, Azure, Google, Huawei, Oracle, Tencent, OpenStack and others
	netip.MustParsePrefix("224.0.0.0/4"),            // multicast, RFC 5771
	netip.MustParsePrefix("255.255.255.255/32"),     // broadcast, RFC 919
	netip.MustParsePrefix("100.100.100.200/32"),     // Alibaba Cloud: ECS metadata
	netip.MustParsePrefix("168.63.129.16/32"),       // Azure: WireServer, "What is IP address 168.63.129.16?"
	netip.MustParsePrefix("192.0.0.192/32"),         // Oracle Cloud Infrastructure Classic: instance metadata
	netip.MustParsePrefix("::/128"),                 // unspecified, RFC 4291
	netip.MustParsePrefix("fe80::/10"),              // link-local, RFC 4291; OpenStack: fe80::a9fe:a9fe
	netip.MustParsePrefix("ff00::/8"),               // multicast, RFC 4291
	netip.MustParsePrefix("fd00:ec2::/32"),          // AWS: ::254 instance metadata, ::23 EKS Pod Identity
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google Cloud: metadata server of IPv6-only instances
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle Cloud Infrastructure: instance metadata
	netip.MustParsePrefix("fd00:100::100:200/128"),  // Alibaba Cloud: ECS metadata
	netip.MustParsePrefix("fd00:a9fe:a9fe::1/128"),  // Akamai: Linode metadata
	netip.MustParsePrefix("fd00:42::42/128"),        // Scaleway: instance metadata
}

// Forbidden reports whether no connection may use the address, or the IPv4 address in it, to which a translator or a tunnel
// would lead. Loopback addresses are allowed.
func Forbidden(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if address.IsLoopback() {
		return false
	}
	return listed(address) || slices.ContainsFunc(embedded(address), listed)
}

// ForbiddenReason says why a forbidden address may not be used.
func ForbiddenReason(address netip.Addr) string {
	return "the address " + address.String() + " is link-local, multicast, unspecified or a metadata service of a cloud, which a connection may not use"
}

func listed(address netip.Addr) bool {
	return slices.ContainsFunc(forbidden, func(p netip.Prefix) bool { return p.Contains(address) })
}

// Prefixes of IPv6 addresses that contain an IPv4 address.
var (
	compatible = netip.MustParsePrefix("::/96")           // IPv4-compatible, RFC 4291
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // IPv4-translated, RFC 2765
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // NAT64, RFC 6052
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // NAT64 of a network, RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // 6to4, RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // Teredo, RFC 4380
)

// embedded returns the IPv4 addresses that an IPv6 address may contain.
func embedded(address netip.Addr) []netip.Addr {
	if !address.Is6() {
		return nil
	}
	b := address.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := at(12, 13, 14, 15)
	var out []netip.Addr
	switch {
	case compatible.Contains(address), translated.Contains(address), nat64.Contains(address):
		out = append(out, last)
	case localNAT64.Contains(address): // the length of its prefix is not known: RFC 6052, section 2.2
		for _, one := range []netip.Addr{at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last} {
			if one.As4()[0] != 0 { // with another length, these are zeros of the prefix or the suffix
				out = append(out, one)
			}
		}
	case sixToFour.Contains(address):
		out = append(out, at(2, 3, 4, 5))
	case teredo.Contains(address): // the server, and the client behind a NAT, which is inverted
		out = append(out, at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP, RFC 5214
		out = append(out, last)
	}
	return out
}

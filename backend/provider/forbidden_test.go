package provider

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForbiddenAddresses(t *testing.T) {
	for _, address := range []string{
		"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.23", "224.0.0.1", "239.255.255.255", "255.255.255.255",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"::", "fe80::1", "fe80::a9fe:a9fe", "fe80::1%eth0", "febf::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:100::100:200", "fd00:a9fe:a9fe::1", "fd00:42::42",
	} {
		require.True(t, Forbidden(netip.MustParseAddr(address)), address)
	}
	for _, address := range []string{
		"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "100.64.0.1", "100.100.100.201", "168.63.129.17", "192.0.0.193", "192.0.2.1", "198.51.100.1",
		"2001:db8::1", "fd00::1", "fd20:ce::253", "fec0::1",
	} {
		require.False(t, Forbidden(netip.MustParseAddr(address)), address)
	}
}

// A translator, a relay or the kernel would connect to the address inside.
func TestForbiddenAddressInsideAnother(t *testing.T) {
	for _, address := range []string{
		"::ffff:169.254.169.254", "::169.254.169.254", "::ffff:0:169.254.169.254", "::100.100.100.200",
		"64:ff9b::169.254.169.254", "64:ff9b::a83f:8110", "64:ff9b:1::169.254.169.254", "64:ff9b:1:ffff:ffff:ffff:100.100.100.200",
		"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:5a9:fe:a9fe::", "64:ff9b:1:5:a9:fea9:fe00:0",
		"2002:a9fe:a9fe::1", "2002:a83f:8110:5:6:7:8:9",
		"2001:0:a9fe:a9fe::1", "2001:0:c000:201:0:0:5601:5601",
		"2001:db8::5efe:169.254.169.254", "2001:db8::200:5efe:100.100.100.200",
	} {
		require.True(t, Forbidden(netip.MustParseAddr(address)), address)
	}
	for _, address := range []string{
		"64:ff9b::192.0.2.1", "64:ff9b:1::192.0.2.1", "64:ff9b:2::169.254.169.254", "2002:c000:201::1", "2001:0:c000:201:0:0:3ffe:fdfe",
		"2001:db8::5efe:192.0.2.1", "2001:db8::169.254.169.254",
	} {
		require.False(t, Forbidden(netip.MustParseAddr(address)), address)
	}
}

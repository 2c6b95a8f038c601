package provider

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostsMatchNamesAndAddresses(t *testing.T) {
	hosts := Hosts{"*.Example.com", "panel", "10.0.0.0/8", "192.0.2.7", "2001:db8::/32"}
	for name, want := range map[string]bool{
		"a.example.com": true, "example.com": false, "panel": true, "panel2": false, "a.example.com.evil": false,
		"10.0.0.1": false, "192.0.2.7": false, // a name cannot look like an address, and addresses are matched as such
	} {
		require.Equal(t, want, hosts.AllowsName(name), name)
	}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false, "2001:db8::1": true, "2001:db9::1": false,
	} {
		require.Equal(t, want, hosts.AllowsAddress(netip.MustParseAddr(address)), address)
	}
	require.True(t, Hosts(nil).AllowsName("any") && Hosts(nil).AllowsAddress(netip.MustParseAddr("11.0.0.1")))
	require.True(t, Hosts{"*"}.AllowsName("any") && Hosts{"*"}.AllowsAddress(netip.MustParseAddr("11.0.0.1")))
}

func TestHostsAreValidated(t *testing.T) {
	require.NoError(t, Hosts(slices.Repeat([]string{"*.example.com"}, 256)).Validate())
	require.NoError(t, Hosts{"*", "host_a", "10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1", "10.example.com"}.Validate())
	for _, wrong := range []string{"", "10.*", "10.0.0.*", "10.0.0", "https://example.com", "example.com:443", "[::1]", "10.0.0.0/33", strings.Repeat("a", 257)} {
		require.ErrorContains(t, Hosts{wrong}.Validate(), "allowed_hosts", wrong)
	}
	require.ErrorContains(t, Hosts(make([]string, 257)).Validate(), "256")
}

package provider

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two spellings of one address are equal in canonical form, which stays as it is.
func TestParseAddressCanonicalizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Cache.Example:06379":      "cache.example:6379",
		"[cache.example]:22":       "cache.example:22",
		"host_a:1":                 "host_a:1",
		"xn--bcher-kva.example:22": "xn--bcher-kva.example:22",
		"10.0.0.7:65535":           "10.0.0.7:65535",
		"[::FFFF:10.0.0.7]:22":     "10.0.0.7:22",
		"[2001:DB8:0:0::1]:22":     "[2001:db8::1]:22",
		"[0:0:0:0:0:0:0:1]:22":     "[::1]:22",
	} {
		got, err := ParseAddress("verify_address", text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		again, err := ParseAddress("verify_address", got)
		require.NoError(t, err, got)
		require.Equal(t, got, again)
	}
}

func TestParseAddressRejects(t *testing.T) {
	t.Parallel()
	const form, host, port = "verify_address must be host:port", "the host in verify_address", "the port in verify_address must be a number"
	for text, want := range map[string]string{
		"": form, "host": form, ":22": form, "host:": form, "::1:22": form, "ssh://host:22": form, "2001:db8::1:22": form, "10.0.0.0/8": form,
		"host:0": port, "host:65536": port, "host:ssh": form, "host:-1": form, "host:+22": form, "host:22 ": form, "host:22/path": form,
		"*:22": host, "*.example:22": host, "-host:22": host, "ho..st:22": host, "bücher.example:22": host, "user@host:22": host, " host:22": host,
		"host.:22": host, "127.1:22": host, "2130706433:22": host, "0x7f000001:22": host, "1.2.3.4.5:22": host,
		"[fe80::1%eth0]:22":          "must not contain a zone",
		"169.254.169.254:80":         "verify_address: the address 169.254.169.254 is link-local",
		"[::ffff:169.254.169.254]:1": "metadata service",
		"[64:ff9b::a9fe:a9fe]:80":    "metadata service",
		"0.0.0.0:22":                 "unspecified",
	} {
		_, err := ParseAddress("verify_address", text)
		require.ErrorContains(t, err, want, "%q", text)
	}
}

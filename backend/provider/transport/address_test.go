package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseURLCanonicalizes(t *testing.T) {
	for raw, want := range map[string]string{
		"https://Plesk.Example.COM:8443":     "https://plesk.example.com:8443",
		"HTTPS://plesk.example.com/":         "https://plesk.example.com",
		"https://plesk.example.com:443":      "https://plesk.example.com",
		"https://plesk.example.com:0443//":   "https://plesk.example.com",
		"https://api.example.net/api/v1/":    "https://api.example.net/api/v1",
		"https://192.0.2.1:8443":             "https://192.0.2.1:8443",
		"https://[2001:DB8:0::1]:8443":       "https://[2001:db8::1]:8443",
		"https://[::ffff:192.0.2.1]":         "https://192.0.2.1",
		"https://xn--bcher-kva.example":      "https://xn--bcher-kva.example",
		"https://host_a":                     "https://host_a",
		"http://127.0.0.1:8080":              "http://127.0.0.1:8080",
		"http://127.0.0.1:80":                "http://127.0.0.1",
		"http://[::1]:8080":                  "http://[::1]:8080",
		"http://127.9.9.9":                   "http://127.9.9.9",
		"https://10.0.0.1":                   "https://10.0.0.1",
		"https://dcs.ap-southeast-3.example": "https://dcs.ap-southeast-3.example",
	} {
		got, err := ParseURL("url", raw, true)
		require.NoError(t, err, raw)
		require.Equal(t, want, got)
		again, err := ParseURL("url", got, true)
		require.NoError(t, err)
		require.Equal(t, got, again, "a canonical address must not change")
	}
}

func TestParseURLRejects(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                 "cannot be parsed",
		"plesk.example.com":                "cannot be parsed",
		"plesk.example.com:8443":           "cannot be parsed",
		"https:plesk":                      "cannot be parsed",
		"https://":                         "cannot be parsed",
		"https://:8443":                    "cannot be parsed",
		"ftp://host":                       "https://",
		"//host":                           "https://",
		"https://" + canary + "@host":      "user name",
		"https://u:" + canary + "@host":    "user name",
		"https://@host":                    "user name",
		"https://host?" + canary:           "query",
		"https://host?":                    "query",
		"https://host#" + canary:           "fragment",
		"https://host#":                    "fragment",
		"https://host:":                    "no port",
		"https://host:0":                   "port",
		"https://host:65536":               "port",
		"https://host:" + canary:           "cannot be parsed",
		"https://host/a%2fb":               "path",
		"https://host/a/../b":              "path",
		"https://host/./b":                 "path",
		"https://host/a//b":                "path",
		"https://host/a b":                 "path",
		"https://host.":                    "dot",
		"https://ho..st":                   "host",
		"https://-host":                    "host",
		"https://bücher.example":           "xn--",
		"https://ho%73t":                   "cannot be parsed",
		"https://127.1":                    "four decimal",
		"https://2130706433":               "four decimal",
		"https://0x7f000001":               "four decimal",
		"https://1.2.3.4.5":                "four decimal",
		"https://169.254.169.254":          "link-local",
		"https://[fe80::1]":                "link-local",
		"https://[fe80::1%25eth0]":         "zone",
		"https://[::ffff:169.254.169.254]": "link-local",
		"https://224.0.0.1":                "multicast",
		"https://[ff02::1]":                "multicast",
		"https://0.0.0.0":                  "unspecified",
		"https://[::]":                     "unspecified",
		"http://localhost":                 "loopback",
		"http://10.0.0.1":                  "loopback",
		"http://plesk.example.com":         "loopback",
		"https://host\x00":                 "cannot be parsed",
		"https://host/\n":                  "cannot be parsed",
	} {
		_, err := ParseURL("url", raw, true)
		require.ErrorContains(t, err, want, raw)
		require.NotContains(t, err.Error(), canary)
	}
	_, err := ParseURL("url", "http://127.0.0.1:8080", false)
	require.ErrorContains(t, err, "insecure_tls")
}

func TestCanonicalHostIncludesPort(t *testing.T) {
	for canonical, want := range map[string]string{
		"https://plesk.example.com":      "plesk.example.com:443",
		"https://plesk.example.com:8443": "plesk.example.com:8443",
		"http://127.0.0.1":               "127.0.0.1:80",
		"https://[2001:db8::1]/x":        "[2001:db8::1]:443",
		"":                               "",
		"\x00":                           "",
	} {
		require.Equal(t, want, CanonicalHost(canonical))
	}
}

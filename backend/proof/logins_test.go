package proof

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
)

// Host keys and certificates of tests. The package verify checks what they are.
const (
	keyA = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	keyB = "SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"
	keyC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN832jAEYG1Bhb9Xx6MYG2FTMthdmbMp8aLz8CQy/BsA root@c"

	caOfConnection = `-----BEGIN CERTIFICATE-----
MIIBIDCB06ADAgECAgEBMAUGAytlcDAfMR0wGwYDVQQDExRDQSBvZiB0aGUgY29u
bmVjdGlvbjAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowHzEdMBsG
A1UEAxMUQ0Egb2YgdGhlIGNvbm5lY3Rpb24wKjAFBgMrZXADIQBJK027D2wNkPSm
gc6sQJfKWVAw2RgOba1z3bJjHCsRUaMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNV
HQ4EFgQUPwGK1GcOs2tBrB06V1lpbEToSI8wBQYDK2VwA0EA/6pZcAkhbEiSNIA1
aZYZqzS28Of8/TJdpqrHn6wj2aTMDMzT6XCDm9lUW9rdgBgKR73SFBIKtyXiYYzq
q749CA==
-----END CERTIFICATE-----
`
	caOfRole = `-----BEGIN CERTIFICATE-----
MIIBFDCBx6ADAgECAgEBMAUGAytlcDAZMRcwFQYDVQQDEw5DQSBvZiB0aGUgcm9s
ZTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGTEXMBUGA1UEAxMO
Q0Egb2YgdGhlIHJvbGUwKjAFBgMrZXADIQDfN9owBGBtQYW/V8ejGBthUzLYXZmz
KfGi8/AkMvwbAKMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUzGo2oz5J
FRnq+mVtX3fZVhfx3DMwBQYDK2VwA0EAYKNF9rgggFKVZG+myMNT/EbkOtyYfAeC
rrEnL7CR3ZRhoi0miyspK8JQQKmv0AcxFt2jMt2+CaBRSSmqmyknAw==
-----END CERTIFICATE-----
`
)

var (
	sshOnly   = []provider.Login{{Kind: provider.LoginSSH}}
	ofRedis   = []provider.Login{{Kind: provider.LoginRedis}, {Kind: provider.LoginWebCLI}}
	pleskOnly = []provider.Login{{Kind: provider.LoginPlesk}}
	ownPlesk  = []provider.Login{{Kind: provider.LoginPlesk, Address: "panel.example:8443", TLS: provider.TLS{CACert: caOfConnection, ServerName: "panel"}}}
	insecure  = []provider.Login{{Kind: provider.LoginPlesk, Address: "panel.example:8443", TLS: provider.TLS{CACert: caOfConnection, Insecure: true}}}
)

// logins returns the logins of a role with these servers and options.
func logins(servers []string, ways []provider.Login, change func(*role.Options)) ([]Login, error) {
	r := &role.Role{Target: provider.Target{Parts: servers, Username: "root"}, Options: role.Defaults()}
	change(&r.Options)
	return loginsOf(r, ways)
}

func TestLoginsOfParts(t *testing.T) {
	t.Parallel()
	ssh := func(part, address string, keys ...string) Login {
		return Login{Part: part, Login: verify.Login{Kind: "ssh", Address: address, Username: "root", HostKeys: keys}}
	}
	tls := func(kind, address string, own bool, tls provider.TLS) Login {
		field := ""
		if own && kind == "plesk" && tls.CACert != caOfRole {
			field = "url"
		}
		return Login{Own: own, Login: verify.Login{Kind: kind, Address: address, AddressField: field, Username: "root", TLS: tls}}
	}
	plain := tls("redis", "10.0.0.7:6379", false, provider.TLS{})
	plain.Plain = true
	for name, c := range map[string]struct {
		servers []string
		ways    []provider.Login
		change  func(*role.Options)
		want    []Login
	}{
		"none": {nil, sshOnly, func(*role.Options) {}, nil},
		"none, with settings kept": {nil, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyHostKey = "none", "anything", "anything"
		}, nil},
		"one account": {nil, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyHostKey = "ssh", "Host.Example:022", keyA+"\r\n\n# h:22 SSH-2.0\n "+keyB
		}, []Login{ssh("", "host.example:22", keyA, keyB)}},
		"one server": {[]string{"a"}, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyHostKey = "ssh", "[2001:DB8::1]:22", keyA
		}, []Login{ssh("a", "[2001:db8::1]:22", keyA)}},
		"one server with its ID": {[]string{"a"}, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyHostKey = "ssh", "A=host:22", "a= "+keyA
		}, []Login{ssh("a", "host:22", keyA)}},
		"several servers": {[]string{"a", "B-1", "c"}, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress = "ssh", "c=10.0.0.3:22\na=10.0.0.1:22\nb-1=10.0.0.2:22"
			o.VerifyHostKey = "a=" + keyA + "\nb-1=" + keyB + "\nc=" + keyC + "\nb-1=" + keyA
		}, []Login{ssh("a", "10.0.0.1:22", keyA), ssh("B-1", "10.0.0.2:22", keyB, keyA), ssh("c", "10.0.0.3:22", keyC)}},
		"redis": {nil, ofRedis, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyCACert = "redis", "cache:6379", caOfRole
		}, []Login{tls("redis", "cache:6379", false, provider.TLS{CACert: caOfRole})}},
		"redis without TLS": {nil, ofRedis, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyTLS = "redis", "10.0.0.7:6379", false
		}, []Login{plain}},
		"webcli": {nil, ofRedis, func(o *role.Options) { o.Verify = "webcli" }, []Login{tls("webcli", "", true, provider.TLS{})}},
		"own plesk": {nil, ownPlesk, func(o *role.Options) { o.Verify = "plesk" },
			[]Login{tls("plesk", "panel.example:8443", true, ownPlesk[0].TLS)}},
		"own plesk, written out": {nil, ownPlesk, func(o *role.Options) { o.Verify, o.VerifyAddress = "plesk", "PANEL.example:8443" },
			[]Login{tls("plesk", "panel.example:8443", true, ownPlesk[0].TLS)}},
		"own plesk with another CA": {nil, insecure, func(o *role.Options) { o.Verify, o.VerifyCACert = "plesk", caOfRole },
			[]Login{tls("plesk", "panel.example:8443", true, provider.TLS{CACert: caOfRole})}},
		"own plesk, not verified": {nil, insecure, func(o *role.Options) { o.Verify = "plesk" },
			[]Login{tls("plesk", "panel.example:8443", true, insecure[0].TLS)}},
		"plesk elsewhere": {nil, insecure, func(o *role.Options) { o.Verify, o.VerifyAddress = "plesk", "other.example:8443" },
			[]Login{tls("plesk", "other.example:8443", false, provider.TLS{})}},
		"plesk of mediatemple": {nil, pleskOnly, func(o *role.Options) { o.Verify, o.VerifyAddress = "plesk", "host.example:8443" },
			[]Login{tls("plesk", "host.example:8443", false, provider.TLS{})}},
	} {
		got, err := logins(c.servers, c.ways, c.change)
		require.NoError(t, err, name)
		require.Len(t, got, len(c.want), name)
		for i := range got { // whose fields fmt does not print
			require.True(t, got[i].Part == c.want[i].Part && got[i].Own == c.want[i].Own, name)
			require.Equal(t, c.want[i].Login, got[i].Login, "%s: %s", name, got[i].Address)
		}
	}
}

// Each mistake has a message that names the field. None repeats what was written.
func TestLoginsRefuseMistakes(t *testing.T) {
	t.Parallel()
	complete := func(o *role.Options) {
		o.Verify, o.VerifyAddress, o.VerifyHostKey = "ssh", "a=h1:22\nb=h2:22", "a="+keyA+"\nb="+keyB
	}
	both, one := []string{"a", "b"}, []string(nil)
	for want, c := range map[string]struct {
		servers []string
		ways    []provider.Login
		change  func(*role.Options)
	}{
		`verify must be "none" or "ssh" for this account`:              {one, sshOnly, func(o *role.Options) { o.Verify = "true" }},
		`verify must be "none", "redis" or "webcli" for this account`:  {one, ofRedis, func(o *role.Options) { o.Verify = "ssh" }},
		`verify must be "none" for this account: no login can prove`:   {one, nil, func(o *role.Options) { o.Verify = "ssh" }},
		`verify_address is missing. verify=redis requires`:             {one, ofRedis, func(o *role.Options) { o.Verify = "redis" }},
		`verify_address is missing. verify=plesk requires`:             {one, pleskOnly, func(o *role.Options) { o.Verify = "plesk" }},
		`verify_address is missing. verify=ssh requires`:               {one, sshOnly, func(o *role.Options) { o.Verify, o.VerifyHostKey = "ssh", keyA }},
		`verify_address is missing for b. verify=ssh`:                  {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress = "a=h1:22" }},
		`verify_address has 2 entries, but the role has one account`:   {one, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress = "h1:22\nh2:22" }},
		`verify_address has 2 entries for server a: give one`:          {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress += "\nA=h3:22" }},
		`verify_address: entry 3 begins with an ID that is not one of`: {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress += "\nsecret=h3:22" }},
		`verify_address: entry 1 does not say which server it is for`:  {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress = "secret:22" }},
		`verify_address: entry 1 begins with the ID of a server, but`:  {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyAddress = "redis", "secret=h1:22" }},
		`verify_address has the same address for the servers a and b`:  {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress = "a=h:22\nb=H:022" }},
		`verify_address of server b must be host:port`:                 {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyAddress = "a=h:22\nb=secret" }},
		`verify_address must be host:port`:                             {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyAddress = "redis", "secret" }},
		`verify_address: the address 169.254.169.254 is link-local`:    {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyAddress = "redis", "169.254.169.254:80" }},
		`verify_address has no effect with verify=webcli: remove it`:   {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyAddress = "webcli", "h:22" }},
		`verify_host_key is missing. The server's public key is requi`: {one, sshOnly, func(o *role.Options) { o.Verify, o.VerifyAddress = "ssh", "h:22" }},
		`verify_host_key is missing for a, b.`:                         {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyHostKey = "" }},
		`verify_host_key is missing for a. The`:                        {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyHostKey = "b=" + keyB }},
		`verify_host_key: entry 2 does not say which server it is for`: {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyHostKey = "a=" + keyA + "\nssh-rsa secret==" }},
		`verify_host_key: entry 1 begins with an ID that is not one of`: {both, sshOnly, func(o *role.Options) {
			complete(o)
			o.VerifyHostKey = "secret=" + keyA
		}},
		`verify_host_key has no effect with verify=redis: remove it`: {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyHostKey = "redis", keyA }},
		`verify_ca_cert has no effect with verify=ssh: remove it`:    {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyCACert = caOfRole }},
		`verify_ca_cert has no effect with verify_tls=false`: {one, ofRedis, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyTLS, o.VerifyCACert = "redis", "h:22", false, caOfRole
		}},
		`verify_tls=false has no effect with verify=ssh: set verify_tls=true`: {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyTLS = false }},
		`verify_tls=false has no effect with verify=plesk: set`:               {one, ownPlesk, func(o *role.Options) { o.Verify, o.VerifyTLS = "plesk", false }},
		`verify_host_key: key 2 cannot be parsed`: {one, sshOnly, func(o *role.Options) {
			o.Verify, o.VerifyAddress, o.VerifyHostKey = "ssh", "h:22", keyA+"\nssh-rsa secret"
		}},
		`server b: verify_host_key: key 1 is not a complete fingerprint`: {both, sshOnly, func(o *role.Options) { complete(o); o.VerifyHostKey = "a=" + keyA + "\nb=SHA256:secret" }},
		`verify_ca_cert contains no certificate`:                         {one, ofRedis, func(o *role.Options) { o.Verify, o.VerifyAddress, o.VerifyCACert = "redis", "h:22", "secret" }},
	} {
		_, err := logins(c.servers, c.ways, c.change)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := logins(both, sshOnly, complete)
	require.NoError(t, err)
}

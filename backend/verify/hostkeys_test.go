package verify

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// kinds are the types of host keys.
var kinds = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA}

func signersOf(kinds ...string) []ssh.Signer {
	out := make([]ssh.Signer, 0, len(kinds))
	for _, kind := range kinds {
		out = append(out, signers()[kind])
	}
	return out
}

// strangers are a key and a fingerprint that no server has.
func strangers(t *testing.T) (key, digest string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	wrapped, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return string(ssh.MarshalAuthorizedKey(wrapped)), ssh.FingerprintSHA256(wrapped)
}

func TestAnyHostKeyOfServerIsAccepted(t *testing.T) {
	stranger, digest := strangers(t)
	for _, kind := range kinds {
		for name, keys := range map[string][]string{
			"key":                    {authorized(kind)},
			"key among others":       {stranger, digest, authorized(kind)},
			"known_hosts":            {"[192.0.2.7]:2222 " + authorized(kind)},
			"hashed known_hosts":     {"|1|c2FsdHNhbHRzYWx0c2FsdHNhbHQ=|aGFzaGhhc2hoYXNoaGFzaGhhc2g= " + authorized(kind) + " comment"},
			"output of ssh-keyscan":  {"# 192.0.2.7:22 SSH-2.0-OpenSSH_9.6\n192.0.2.7 " + stranger + "\n192.0.2.7 " + authorized(kind) + "\n"},
			"fingerprint":            {fingerprint(kind)},
			"padded fingerprint":     {" " + fingerprint(kind) + "=\n"},
			"fingerprint and others": {stranger, digest, fingerprint(kind)},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				s := newSSH(t, nil, signersOf(kinds...)...)
				works("accepted").require(t, prove(t.Context(), t, s.login(right, keys...)), int(s.passwords.Load()))
				if name == "key" {
					require.EqualValues(t, 1, s.connections.Load(), "the server is asked for the key of this type")
				}
				require.LessOrEqual(t, s.connections.Load(), int32(len(kinds)))
			})
		}
	}
}

func TestWrongHostKeyGetsNoPassword(t *testing.T) {
	stranger, digest := strangers(t)
	for name, test := range map[string]struct {
		server      []string
		keys        []string
		presented   []string
		expected    []string
		connections int32
	}{
		"other key of the type":  {kinds, []string{stranger}, kinds[:1], []string{digest + " (ssh-ed25519)"}, 1},
		"other fingerprint":      {kinds, []string{digest}, kinds, []string{digest}, 5},
		"one key, fingerprint":   {kinds[:1], []string{digest}, kinds[:1], []string{digest}, 2},
		"server lacks the type":  {[]string{ssh.KeyAlgoRSA}, []string{stranger}, []string{ssh.KeyAlgoRSA}, []string{digest}, 3},
		"two keys expected":      {kinds[:2], []string{stranger, authorized(ssh.KeyAlgoRSA)}, kinds[:1], []string{digest, fingerprint(ssh.KeyAlgoRSA)}, 2},
		"fingerprint of another": {kinds[:1], []string{fingerprint(ssh.KeyAlgoRSA)}, kinds[:1], []string{fingerprint(ssh.KeyAlgoRSA)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSSH(t, nil, signersOf(test.server...)...)
			proof := prove(t.Context(), t, s.login(right, test.keys...))
			notSent("the password was not sent").require(t, proof, int(s.passwords.Load()))
			before, after, ok := strings.Cut(proof.Reason, ", but ")
			require.True(t, ok)
			for _, kind := range test.presented {
				require.Contains(t, before, fingerprint(kind)+" ("+kind+")")
			}
			for _, digest := range test.expected {
				require.Contains(t, after, digest)
			}
			require.Equal(t, test.connections, s.connections.Load())
		})
	}
}

// Signatures with SHA-1 prove too little about a server.
func TestHostKeyWithSHA1IsNotAsked(t *testing.T) {
	signer, ok := signers()[ssh.KeyAlgoRSA].(ssh.AlgorithmSigner)
	require.True(t, ok)
	old, err := ssh.NewSignerWithAlgorithms(signer, []string{ssh.KeyAlgoRSA})
	require.NoError(t, err)
	s := newSSH(t, nil, old)
	for _, key := range []string{authorized(ssh.KeyAlgoRSA), fingerprint(ssh.KeyAlgoRSA)} {
		notSent("it presented none of a supported type").require(t, prove(t.Context(), t, s.login(right, key)), int(s.passwords.Load()))
	}
}

func TestHostKeyErrorsSayWhichAndQuoteNothing(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	secret := string(pem.EncodeToMemory(block))
	good := authorized(ssh.KeyAlgoED25519)
	for name, test := range map[string]struct {
		keys   []string
		reason string
	}{
		"none":                  {nil, "verify_host_key is required with verify=ssh"},
		"blank":                 {[]string{" \n# comment\n"}, "verify_host_key is required"},
		"private key":           {[]string{good, secret}, "contains a private key; give the public host key"},
		"private key of PuTTY":  {[]string{"PuTTY-User-Key-File-3: ssh-ed25519\n" + secret}, "contains a private key"},
		"cut private key":       {[]string{good, strings.Split(secret, "\n")[1]}, "key 2 cannot be parsed"},
		"garbage":               {[]string{good, good + "\nssh-ed25519 AAAA"}, "key 3 cannot be parsed"},
		"cut key":               {[]string{good[:len(good)-6]}, "key 1 cannot be parsed"},
		"short fingerprint":     {[]string{good, "SHA256:abc"}, "key 2 is not a complete fingerprint"},
		"fingerprint with more": {[]string{fingerprint(ssh.KeyAlgoRSA) + " root@host (RSA)"}, "key 1 is not a complete fingerprint"},
		"hexadecimal":           {[]string{"SHA256:" + strings.Repeat("ab", 32)}, "key 1 is not a complete fingerprint"},
		"MD5":                   {[]string{"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"}, "key 1 cannot be parsed"},
		"authority":             {[]string{"@cert-authority *.example.com " + good}, "key 1 has a marker"},
		"revoked":               {[]string{"@revoked " + good}, "key 1 has a marker"},
		"DSA":                   {[]string{"ssh-dss AAAAB3NzaC1kc3MAAAABAwAAAAEDAAAAAQMAAAABAw=="}, "key 1"},
		"security key":          {[]string{"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo="}, "key 1 has a type that is not supported"},
		"too many":              {[]string{strings.Repeat(good+"\n", maxHostKeys+1)}, "at most 16 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			login := (&sshServer{address: "127.0.0.1:1"}).login(right)
			login.HostKeys = test.keys
			err := login.Validate()
			require.ErrorContains(t, err, test.reason)
			for _, key := range test.keys {
				for _, word := range strings.Fields(key) {
					require.False(t, len(word) > 15 && strings.Contains(err.Error(), word), "the error quotes the key")
				}
			}
			notSent(test.reason).require(t, login.Prove(t.Context()), 0)
		})
	}
}

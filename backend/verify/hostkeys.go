package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxHostKeys is the maximum number of host keys of one server. It has one per type, and new ones during a change.
const maxHostKeys = 16

// families are the types of host keys, preferred first, with the algorithms that their signatures may use: no SHA-1.
var families = []family{
	{ssh.KeyAlgoED25519, []string{ssh.KeyAlgoED25519}},
	{ssh.KeyAlgoECDSA256, []string{ssh.KeyAlgoECDSA256}},
	{ssh.KeyAlgoECDSA384, []string{ssh.KeyAlgoECDSA384}},
	{ssh.KeyAlgoECDSA521, []string{ssh.KeyAlgoECDSA521}},
	{ssh.KeyAlgoRSA, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}},
}

type family struct {
	kind       string
	algorithms []string
}

// hostKey is a host key to accept. Its kind is "" if only the fingerprint is known.
type hostKey struct{ fingerprint, kind string }

type hostKeys []hostKey

// String lists the keys for a sentence.
func (keys hostKeys) String() string {
	out := make([]string, 0, len(keys))
	for _, key := range keys {
		text := key.fingerprint
		if key.kind != "" {
			text += " (" + key.kind + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// accept reports whether the key is one of the keys.
func (keys hostKeys) accept(key ssh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k hostKey) bool { return k.fingerprint == ssh.FingerprintSHA256(key) })
}

// offer returns the types of host keys to ask the server for, and those that none of the keys has. With a fingerprint, the
// key may have any type.
func (keys hostKeys) offer() (wanted, others []family) {
	anyKind := slices.ContainsFunc(keys, func(k hostKey) bool { return k.kind == "" })
	for _, f := range families {
		if slices.ContainsFunc(keys, func(k hostKey) bool { return k.kind == f.kind }) {
			wanted = append(wanted, f)
		} else {
			others = append(others, f)
		}
	}
	if anyKind {
		return append(wanted, others...), nil
	}
	return wanted, others
}

// parseHostKeys parses public keys and fingerprints. The errors count the keys, and quote none: an entry may be a private key.
func parseHostKeys(entries []string) (hostKeys, error) {
	var out hostKeys
	for _, entry := range entries {
		if strings.Contains(entry, "PRIVATE KEY") || strings.HasPrefix(strings.TrimSpace(entry), "PuTTY-User-Key-File") {
			return nil, errors.New("verify_host_key contains a private key; give the public host key of the server, and replace the private key, because it may be in logs now")
		}
		for text := range strings.Lines(entry) {
			text = strings.TrimSpace(text)
			if text == "" || strings.HasPrefix(text, "#") {
				continue // ssh-keyscan writes comments
			}
			key, err := parseHostKey(text)
			if err != nil {
				return nil, fmt.Errorf("verify_host_key: key %d %w", len(out)+1, err)
			}
			out = append(out, key)
		}
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("verify_host_key is required with verify=ssh: public host keys of the server as ssh-keyscan prints them, or SHA256 fingerprints; check them on the server itself")
	case len(out) > maxHostKeys:
		return nil, fmt.Errorf("verify_host_key must have at most %d keys", maxHostKeys)
	}
	return out, nil
}

func parseHostKey(text string) (hostKey, error) {
	if digest, ok := strings.CutPrefix(text, "SHA256:"); ok {
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimSuffix(digest, "="))
		if err != nil || len(raw) != sha256.Size {
			return hostKey{}, errors.New("is not a complete fingerprint; it has 43 characters after SHA256:, as ssh-keygen -l prints it")
		}
		return hostKey{fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(raw)}, nil
	}
	// In a line of known_hosts, host names come first, which are taken for the options of authorized_keys.
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	switch {
	case strings.HasPrefix(text, "@"):
		return hostKey{}, errors.New("has a marker such as @cert-authority, which is not supported; give the server's own key")
	case err != nil:
		return hostKey{}, errors.New("cannot be parsed; write a public key such as ssh-ed25519 AAAA…, a line of ssh-keyscan, or a fingerprint SHA256:…")
	case !slices.ContainsFunc(families, func(f family) bool { return f.kind == key.Type() }):
		return hostKey{}, errors.New("has a type that is not supported; use ssh-ed25519, ecdsa-sha2-nistp… or ssh-rsa")
	}
	return hostKey{fingerprint: ssh.FingerprintSHA256(key), kind: key.Type()}, nil
}

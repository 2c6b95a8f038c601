package backend

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// verifyOptions lists the options of a role about proving its passwords by a login.
func verifyOptions() []option[role.Options] {
	group := &framework.DisplayAttributes{Group: "Verification"}
	return []option[role.Options]{
		{"verify", framework.FieldSchema{
			Type: framework.TypeString, Default: provider.LoginNone, DisplayAttrs: group,
			AllowedValues: []any{provider.LoginNone, provider.LoginSSH, provider.LoginRedis, provider.LoginPlesk, provider.LoginWebCLI},
			Description:   "Kind of login that proves a password: ssh (ecs, and mediatemple with account=root), plesk (plesk, and mediatemple with account=plesk), redis or webcli (dcs). webcli logs in through the cloud's own API and is experimental. none: passwords are not proved.",
		}, func(o *role.Options) any { return kindForm{&o.Verify} }},
		{"verify_address", framework.FieldSchema{
			Type: framework.TypeCommaStringSlice, DisplayAttrs: group,
			Description: "Address to log in to, as host:port; for a role with several servers, a list of ID=host:port with one entry for each server. The connection's allowed_verify_addresses must list it. Required with ssh and redis, and with plesk unless the connection leads to the panel itself, whose address is the default. Not accepted with webcli.",
		}, func(o *role.Options) any { return linesForm{&o.VerifyAddress} }},
		{"verify_host_key", framework.FieldSchema{
			Type: framework.TypeStringSlice, DisplayAttrs: &framework.DisplayAttributes{EditType: "textarea", Group: "Verification"},
			Description: "Public host keys of which the SSH server must present one, as a list or one per line: in the format of authorized_keys, or as a fingerprint SHA256:…. For a role with several servers, ID=KEY, at least one for each. Required with ssh: no password is sent to a server whose key is not known.",
		}, func(o *role.Options) any { return linesForm{&o.VerifyHostKey} }},
		{"verify_ca_cert", framework.FieldSchema{
			Type: framework.TypeString, DisplayAttrs: &framework.DisplayAttributes{EditType: "file", Group: "Verification"},
			Description: "PEM bundle of the CA certificates to trust when logging in to redis or plesk. Default: the system's or, at the address of the connection, the connection's ca_cert.",
		}, func(o *role.Options) any { return &o.VerifyCACert }},
		{"verify_tls", framework.FieldSchema{
			Type: framework.TypeBool, Default: true, DisplayAttrs: group,
			Description: "Log in over TLS. false is accepted with redis only: anyone between Vault and the server can then read the passwords.",
		}, func(o *role.Options) any { return &o.VerifyTLS }},
		{"verify_period", framework.FieldSchema{
			Type: framework.TypeDurationSecond, DisplayAttrs: group,
			Description: "How often to prove the password in force again, at least 3600 seconds. 0: only after a change. Requires verify.",
		}, func(o *role.Options) any { return &o.VerifyPeriod }},
		{"on_drift", framework.FieldSchema{
			Type: framework.TypeString, Default: role.DriftReport, DisplayAttrs: group,
			AllowedValues: []any{role.DriftReport, role.DriftRecover, role.DriftRotate},
			Description:   "What to do when a login shows that the password in force no longer works. report: show it in status. recover: find the one that works among those that Vault has, as recover-role does. rotate: set a new one, which is not possible if that requires the current one (dcs with rotation_method=modify). recover and rotate require verify.",
		}, func(o *role.Options) any { return &o.OnDrift }},
	}
}

// kindForm is a kind of login. Earlier versions had a boolean, which had no effect, so false means none.
type kindForm struct{ of *role.LoginKind }

func (f kindForm) read() any { return cmp.Or(string(*f.of), provider.LoginNone) }

func (f kindForm) write(value any) {
	text := fmt.Sprint(value)
	if former, err := parseutil.ParseBool(text); text == provider.LoginNone || err == nil && !former {
		text = ""
	}
	*f.of = role.LoginKind(text)
}

// linesForm is a list of texts, stored as lines. An entry of a request may have several.
type linesForm struct{ of *string }

func (f linesForm) read() any {
	out := []string{}
	for line := range strings.Lines(*f.of) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func (f linesForm) write(value any) {
	entries, _ := value.([]string)
	*f.of = strings.Join(entries, "\n")
	lines, _ := f.read().([]string)
	*f.of = strings.Join(lines, "\n")
}

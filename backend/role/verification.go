package role

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// LoginKind is a kind of login, as stored: earlier versions stored a boolean without effect.
type LoginKind string

// UnmarshalJSON decodes a boolean as "".
func (k *LoginKind) UnmarshalJSON(data []byte) error {
	var kind string
	if json.Unmarshal(data, &kind) != nil {
		var former bool
		if err := json.Unmarshal(data, &former); err != nil {
			return err //nolint:wrapcheck // it is wrapped where the entry is decoded
		}
	}
	*k = LoginKind(kind)
	return nil
}

// Proves reports whether passwords of the role are proved by a login.
func (o Options) Proves() bool { return o.Verify != "" && o.Verify != provider.LoginNone }

// Verification returns the options that decide how passwords are proved, for comparison.
func (o Options) Verification() [5]any {
	return [5]any{o.Verify, o.VerifyAddress, o.VerifyHostKey, o.VerifyCACert, o.VerifyTLS}
}

// validateVerification checks the options about proofs that do not depend on the account.
func (o Options) validateVerification() error {
	switch {
	case o.VerifyPeriod != 0 && o.VerifyPeriod < int(minVerify/time.Second):
		return fmt.Errorf("verify_period must be at least %d seconds, or 0 for no verification while the password stays the same", int(minVerify/time.Second))
	case o.OnDrift != DriftReport && o.OnDrift != DriftRecover && o.OnDrift != DriftRotate:
		return fmt.Errorf("on_drift must be %q, %q or %q", DriftReport, DriftRecover, DriftRotate)
	case o.VerifyPeriod != 0 && !o.Proves():
		return errors.New("verify_period requires verify, the kind of login that proves the password: set it, or set verify_period=0")
	case o.OnDrift != DriftReport && !o.Proves():
		return fmt.Errorf("on_drift=%s requires verify, the kind of login that proves the password: set it, or set on_drift=%s", o.OnDrift, DriftReport)
	}
	for _, c := range [][2]string{{"verify_host_key", o.VerifyHostKey}, {"verify_ca_cert", o.VerifyCACert}} {
		if strings.Contains(c[1], "PRIVATE KEY") || strings.Contains(c[1], "PuTTY-User-Key-File") { // which a read would return
			return errors.New(c[0] + " contains a private key, which was not stored: give only what is public. Replace the key if others could see this request")
		}
	}
	return nil
}

// verifyWarnings returns what is unusual about valid options about proofs.
func (o Options) verifyWarnings() []string {
	switch {
	case !o.Proves() && o.VerifyAddress+o.VerifyHostKey+o.VerifyCACert != "":
		return []string{"The addresses, host keys and certificates of the role are not checked, and have no effect until verify is set."}
	case o.Proves() && !o.VerifyTLS:
		return []string{"With verify_tls=false, anyone between Vault and the server can read the passwords of the role."}
	default:
		return nil
	}
}

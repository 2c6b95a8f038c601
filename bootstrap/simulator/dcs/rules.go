package dcs

import (
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// specials are the special characters that a password may have. A colon is not
// among them, as it parts name and password at login:
// https://support.huaweicloud.com/intl/en-us/api-dcs/CreateAclAccount.html
const specials = "`~!@#$%^&*()-_=+|{},<.>/?\\"

// acceptable tells whether an account may have a password: 8 to 64 characters of
// at least three classes, without the account's name or its reverse. Assumed:
// the name is looked for without regard to case.
func acceptable(name, password string) bool {
	p, n := strings.ToLower(password), strings.ToLower(name)
	return lab.Composed(password, specials, 8, 64) && !strings.Contains(p, n) && !strings.Contains(p, lab.Reverse(n))
}

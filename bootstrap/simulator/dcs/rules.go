package dcs

import (
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// specials are the special characters that a password may contain. A colon is not
// allowed, because it separates name and password at login:
// https://support.huaweicloud.com/intl/en-us/api-dcs/CreateAclAccount.html
const specials = "`~!@#$%^&*()-_=+|{},<.>/?\\"

// acceptable reports whether a password is allowed for an account: 8 to 64
// characters from at least three classes, without the account's name or the name
// reversed. Assumed: the name check ignores case.
func acceptable(name, password string) bool {
	p, n := strings.ToLower(password), strings.ToLower(name)
	return lab.Composed(password, specials, 8, 64) && !strings.Contains(p, n) && !strings.Contains(p, lab.Reverse(n))
}

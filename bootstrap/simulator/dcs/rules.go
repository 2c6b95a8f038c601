package dcs

import "strings"

// specials are the special characters that a password may have. A colon is not
// among them, as it parts name and password at login:
// https://support.huaweicloud.com/intl/en-us/api-dcs/CreateAclAccount.html
const specials = "`~!@#$%^&*()-_=+|{},<.>/?\\"

// acceptable tells whether an account may have a password: 8 to 64 characters of
// at least three classes, without the account's name or its reverse. Assumed:
// the name is looked for without regard to case.
func acceptable(name, password string) bool {
	if len(password) < 8 || len(password) > 64 {
		return false
	}
	var lower, upper, digit, special int
	for _, r := range password {
		switch {
		case r >= 'a' && r <= 'z':
			lower = 1
		case r >= 'A' && r <= 'Z':
			upper = 1
		case r >= '0' && r <= '9':
			digit = 1
		case strings.ContainsRune(specials, r):
			special = 1
		default:
			return false
		}
	}
	p, n := strings.ToLower(password), strings.ToLower(name)
	return lower+upper+digit+special >= 3 && !strings.Contains(p, n) && !strings.Contains(p, reverse(n))
}

func reverse(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

package mediatemple

import (
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// acceptable reports whether the API accepts a password. The documentation of the
// API says that it refuses some passwords but not which; its own sample has nine
// letters and digits. The strict reading is the advice of the help articles for
// the panels: 8 characters from all four classes and, for Plesk, several digits.
// Plesk also has its own rules: at most 255 characters, no quotes, and not the
// login, https://plesk.com/kb/support/what-limits-are-set-in-plesk-for-username-password .
// Assumed: neither accepts spaces or non-ASCII characters.
func acceptable(rules, kind, password string) bool {
	if rules == "none" {
		return password != ""
	}
	var lower, upper, digits, specials int
	for _, r := range password {
		switch {
		case r <= ' ' || r > '~':
			return false
		case r >= 'a' && r <= 'z':
			lower++
		case r >= 'A' && r <= 'Z':
			upper++
		case r >= '0' && r <= '9':
			digits++
		default:
			specials++
		}
	}
	if len(password) < 8 || lower == 0 || upper == 0 || digits == 0 || specials == 0 {
		return false
	}
	return kind == root || (digits > 1 && len(password) <= 255 && !strings.ContainsAny(password, `'"`) &&
		!strings.Contains(strings.ToLower(password), plesk.AdminLogin))
}

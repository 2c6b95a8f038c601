package mediatemple

import (
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// acceptable tells whether a password may be set. The API documents that it
// refuses some and not which; its own sample has nine letters and digits. What
// the help articles advise for the panels is the strict reading: 8 characters of
// all four classes and, for Plesk, several digits. Plesk also has rules of its
// own: at most 255 characters, no quotes, not the login in it,
// https://plesk.com/kb/support/what-limits-are-set-in-plesk-for-username-password .
// Assumed: neither takes spaces or characters outside of ASCII.
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

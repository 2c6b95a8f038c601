package lab

import "strings"

// Composed reports whether a password has between shortest and longest
// characters, consists only of letters, digits and specials, and uses at least
// three of the four classes (lower case, upper case, digits, specials).
func Composed(password, specials string, shortest, longest int) bool {
	if len(password) < shortest || len(password) > longest {
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
	return lower+upper+digit+special >= 3
}

// Reverse returns s with its characters in reverse order.
func Reverse(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

package lab

import "strings"

// Composed tells whether a password has from shortest to longest characters, all
// of them letters, digits or specials, of at least three of the four classes.
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

// Reverse turns a text around.
func Reverse(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

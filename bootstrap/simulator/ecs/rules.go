package ecs

import (
	"slices"
	"strings"
)

// Special characters that a password may have, of each service.
const (
	metalSpecials = "!@$%^-_=+[{}]:,./?"
	cloudSpecials = "!@%-_=+[]:./?"
)

const administrator = "administrator"

// acceptableMetal is CloudDC's rule, which it only checks if told to: 8 to 26
// characters of at least three classes, without the user's name or its reverse.
// Assumed: names are looked for without regard to case.
func acceptableMetal(user, password string) bool {
	p, u := strings.ToLower(password), strings.ToLower(user)
	return composed(password, metalSpecials) && !strings.Contains(p, u) && !strings.Contains(p, reverse(u))
}

// acceptableCloud is the rule of Elastic Cloud Server, which is one for all
// hosts: no administrator's name of any system, and no three characters in a row
// of Administrator. Assumed: all that without regard to case.
func acceptableCloud(password string) bool {
	p := strings.ToLower(password)
	for i := range len(administrator) - 2 {
		if strings.Contains(p, administrator[i:i+3]) {
			return false
		}
	}
	return composed(password, cloudSpecials) && !slices.ContainsFunc([]string{"root", reverse("root"), reverse(administrator)},
		func(name string) bool { return strings.Contains(p, name) })
}

func composed(password, specials string) bool {
	if len(password) < 8 || len(password) > 26 {
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

func reverse(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

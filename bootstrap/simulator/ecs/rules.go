package ecs

import (
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
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
	return lab.Composed(password, metalSpecials, 8, 26) && !strings.Contains(p, u) && !strings.Contains(p, lab.Reverse(u))
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
	return lab.Composed(password, cloudSpecials, 8, 26) && !slices.ContainsFunc([]string{"root", lab.Reverse("root"), lab.Reverse(administrator)},
		func(name string) bool { return strings.Contains(p, name) })
}

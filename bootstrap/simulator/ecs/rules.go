package ecs

import (
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// The special characters that each service allows in passwords.
const (
	metalSpecials = "!@$%^-_=+[{}]:,./?"
	cloudSpecials = "!@%-_=+[]:./?"
)

const administrator = "administrator"

// acceptableMetal implements CloudDC's password rule, which is checked only with
// the switch strict: 8 to 26 characters from at least three classes, without the
// user name or the user name reversed. Assumed: the name check ignores case.
func acceptableMetal(user, password string) bool {
	p, u := strings.ToLower(password), strings.ToLower(user)
	return lab.Composed(password, metalSpecials, 8, 26) && !strings.Contains(p, u) && !strings.Contains(p, lab.Reverse(u))
}

// acceptableCloud implements the password rule of Elastic Cloud Server, which is
// the same for all hosts: no administrator name of any system, and no three
// consecutive characters of "Administrator". Assumed: these checks ignore case.
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

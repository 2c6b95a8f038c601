package ecs

import (
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

const (
	// Specials of https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html and of
	// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html, of which each is one of the first.
	specialsOfInstances    = "!@$%^-_=+[{}]:,./?"
	specialsOfCloudServers = "!@%-_=+[]:./?"

	// Characters of made passwords. Every forbidden word has an a, an i or a t, so that no password without them has to
	// be thrown away, and each fits both services. The specials stand for themselves in shells.
	madeLower    = "bcdefghjklmnopqrsuvwxyz"
	madeUpper    = "BCDEFGHJKLMNOPQRSUVWXYZ"
	madeSpecials = "@%-_=+.:"
)

// Rules are those of the connection's service. They are the same for all targets: the name and the reversed name of
// neither administrator may occur, since it is the image that decides which of them it is.
func (Type) Rules(connection provider.Connection, _ provider.Target) password.Rules {
	rules := password.Rules{
		MinLength:  8,
		MaxLength:  26,
		Allowed:    password.Lower + password.Upper + password.Digits + specialsOfInstances,
		MinClasses: 3,
		Forbidden: []string{
			userLinux, password.Reverse(userLinux), userWindows, password.Reverse(userWindows),
		},
		Recipe: password.Recipe{
			Length: 24,
			Classes: []password.Class{
				{Characters: madeLower, Min: 3},
				{Characters: madeUpper, Min: 3},
				{Characters: password.Digits, Min: 3},
				{Characters: madeSpecials, Min: 2},
			},
			LetterFirst: true,
		},
	}
	if apiOf(connection) == apiCloudServers {
		rules.Allowed = password.Lower + password.Upper + password.Digits + specialsOfCloudServers
		// No three consecutive characters of the name, in any case.
		for i := range len(userWindows) - 2 {
			rules.Forbidden = append(rules.Forbidden, userWindows[i:i+3])
		}
	}
	return rules
}

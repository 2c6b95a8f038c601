package ecs

import (
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

const (
	// Specials of https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html and, as a subset of
	// these, of https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html.
	specialsOfInstances    = "!@$%^-_=+[{}]:,./?"
	specialsOfCloudServers = "!@%-_=+[]:./?"

	// Characters of generated passwords. Every forbidden word has an a, an i or a t, so a password without these never
	// contains one. Every generated password fits both services.
	madeLower = "bcdefghjklmnopqrsuvwxyz"
	madeUpper = "BCDEFGHJKLMNOPQRSUVWXYZ"

	maxLength = 26
)

// Rules returns the rules of the connection's service. They are the same for all targets: the password must contain
// neither administrator's name, forward or reversed, because the image determines which one it is.
func (Type) Rules(connection provider.Connection, _ provider.Target) password.Rules {
	rules := password.Rules{
		MinLength:  8,
		MaxLength:  maxLength,
		Allowed:    password.Lower + password.Upper + password.Digits + specialsOfInstances,
		MinClasses: 3,
		Forbidden: []string{
			userLinux, password.Reverse(userLinux), userWindows, password.Reverse(userWindows),
		},
		Recipe: password.Mixed(maxLength, madeLower, madeUpper, password.Plain),
	}
	if apiOf(connection) == apiCloudServers {
		rules.Allowed = password.Lower + password.Upper + password.Digits + specialsOfCloudServers
		// No three consecutive characters of the name, in upper or lower case.
		for i := range len(userWindows) - 2 {
			rules.Forbidden = append(rules.Forbidden, userWindows[i:i+3])
		}
	}
	return rules
}

package ecs

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

func rulesOf(api string) password.Rules {
	return Type{}.Rules(provider.Connection{Settings: provider.Settings{"api": api}}, provider.Target{})
}

func TestPasswordRulesOfBothServices(t *testing.T) {
	for candidate, test := range map[string]struct{ instances, cloudServers bool }{
		"Abcdefg1":                    {true, true},
		"abcdef1@":                    {true, true},
		strings.Repeat("Aa1@", 6):     {true, true},
		"Aa1!@%-_=+[]:./?":            {true, true},
		"Aa1$^{},bcd":                 {true, false},
		"Aa1bcdef$":                   {true, false},
		"Aa1bcdef{":                   {true, false},
		"Aa1bcdef,":                   {true, false},
		"My-admin-1":                  {true, false},
		"My-STR-12x":                  {true, false},
		"My-tOr-12x":                  {true, false},
		"Aa1#bcdef":                   {false, false},
		"Aa1&bcdef":                   {false, false},
		"Aa1*bcdef":                   {false, false},
		"Aa1 bcdef":                   {false, false},
		"Aa1<bcdef":                   {false, false},
		"Aa1\"bcdef":                  {false, false},
		"Äa1bcdefg":                   {false, false},
		"Abcdef1":                     {false, false},
		strings.Repeat("Aa1@", 7):     {false, false},
		"abcdefg1":                    {false, false},
		"ABCDEFG@":                    {false, false},
		"My-Root-12":                  {false, false},
		"My-tOOr-12":                  {false, false},
		"My-AdministratoR-1":          {false, false},
		"My-rotartsinimdA-1":          {false, false},
		"":                            {false, false},
		"Aa1@Aa1@Aa1@Aa1@Aa1@Aa1@Aa":  {true, true},
		"Aa1@Aa1@Aa1@Aa1@Aa1@Aa1@Aa1": {false, false},
	} {
		require.Equal(t, test.instances, rulesOf("instances").Check(candidate) == nil, candidate)
		require.Equal(t, test.instances, (Type{}).Rules(provider.Connection{}, provider.Target{}).Check(candidate) == nil, candidate)
		require.Equal(t, test.cloudServers, rulesOf("cloudservers").Check(candidate) == nil, candidate)
	}
}

// No three consecutive characters of Administrator are allowed.
func TestThreeLettersOfAdministratorAreForbidden(t *testing.T) {
	rules := rulesOf("cloudservers")
	for _, run := range []string{"adm", "dmi", "min", "ini", "nis", "ist", "str", "tra", "rat", "ato", "tor"} {
		require.Error(t, rules.Check("X1@-"+run+"-99"), run)
		require.Error(t, rules.Check("x1@-"+strings.ToUpper(run)+"-99"), run)
		require.NoError(t, rules.Check("X1@-"+run[:2]+"-99"), run)
	}
}

func TestGeneratedPasswordsMeetRulesOfBothServices(t *testing.T) {
	for _, api := range []string{"", "instances", "cloudservers"} {
		rules := rulesOf(api)
		for range 1000 {
			made, err := rules.Generate(rand.Reader)
			require.NoError(t, err)
			require.Len(t, made, 26)
			require.NoError(t, rulesOf("instances").Check(made))
			require.NoError(t, rulesOf("cloudservers").Check(made))
			require.Contains(t, password.Lower+password.Upper, made[:1])
		}
	}
}

// So no generated password is ever discarded.
func TestRecipeMakesNoForbiddenWord(t *testing.T) {
	made := madeLower + strings.ToLower(madeUpper) + password.Digits + password.Plain
	for _, word := range rulesOf("cloudservers").Forbidden {
		require.NotEmpty(t, strings.Trim(strings.ToLower(word), made), word)
	}
	for _, special := range password.Plain + specialsOfCloudServers {
		require.Contains(t, specialsOfInstances, string(special))
	}
	for _, special := range password.Plain {
		require.Contains(t, specialsOfCloudServers, string(special))
	}
}

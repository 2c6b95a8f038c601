package plesk

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCompleteIsIdempotent(t *testing.T) {
	connection := provider.Connection{URL: "https://Plesk.example.com:8443/", Settings: provider.Settings{fieldSecretKey: "k"}}
	require.NoError(t, Type{}.Complete(&connection))
	require.Equal(t, "https://plesk.example.com:8443", connection.URL)
	again := connection
	require.NoError(t, Type{}.Complete(&again))
	require.Equal(t, connection, again)
}

func TestCompleteValidation(t *testing.T) {
	const url = "https://plesk.example.com:8443"
	for name, test := range map[string]struct {
		url      string
		settings provider.Settings
		want     string
	}{
		"no address":         {"", provider.Settings{"secret_key": "k"}, "https://plesk.example.com:8443"},
		"plain":              {"http://plesk.example.com:8880", provider.Settings{"secret_key": "k"}, "https://"},
		"a path":             {url + "/enterprise/control/agent.php", provider.Settings{"secret_key": "k"}, "without a path"},
		"no credential":      {url, nil, "credential is required"},
		"both":               {url, provider.Settings{"secret_key": "cAnArY", "username": "a", "password": "cAnArY"}, "not both"},
		"both, incomplete":   {url, provider.Settings{"secret_key": "cAnArY", "password": "cAnArY"}, "not both"},
		"no password":        {url, provider.Settings{"username": "a"}, "password is required"},
		"no username":        {url, provider.Settings{"password": "cAnArY"}, "username is required"},
		"line feed":          {url, provider.Settings{"username": "a", "password": "cAnArY\nX: y"}, "password contains a control character"},
		"key with a line":    {url, provider.Settings{"secret_key": "cAnArY\n"}, "secret_key ends with a line break"},
		"trailing space":     {url, provider.Settings{"username": "a", "password": "cAnArY "}, "password must be"},
		"not ASCII":          {url, provider.Settings{"username": "a", "password": "cAnArYü"}, "password must be"},
		"not ASCII username": {url, provider.Settings{"username": "ä", "password": "cAnArY"}, "username must be"},
		"key with a tab":     {url, provider.Settings{"secret_key": "cAn\tArY"}, "secret_key contains a control character"},
	} {
		t.Run(name, func(t *testing.T) {
			connection := provider.Connection{URL: test.url, Settings: test.settings}
			err := Type{}.Complete(&connection)
			require.ErrorContains(t, err, test.want)
			providertest.RequireSecretFree(t, err)
			_, err = Type{}.Open(connection)
			require.Error(t, err)
		})
	}
}

func TestTargetsIgnoreCase(t *testing.T) {
	connection := provider.Connection{URL: "https://plesk.example.com", Settings: provider.Settings{"username": "Ops", "password": "p"}}
	target, err := Type{}.Target(connection, provider.Settings{"login": "User2"})
	require.NoError(t, err)
	require.Equal(t, provider.Target{
		Names:      []string{"user2"},
		Identities: []string{"plesk|plesk.example.com:443|user2"},
		Username:   "User2",
		Settings:   provider.Settings{"login": "User2"},
	}, target)

	own, err := Type{}.Target(connection, provider.Settings{"login": "OPS"})
	require.NoError(t, err)
	require.Equal(t, own.Identities[0], Type{}.LoginIdentity(connection))
	sender := provider.Sender{Server: "plesk|plesk.example.com:443", Refusals: 3, Window: 10 * time.Minute}
	require.Equal(t, provider.Lockout{Credential: own.Identities[0], Refusals: 5, Window: 15 * time.Minute, Sender: sender}, Type{}.Lockout(connection))
	connection.Settings = provider.Settings{"secret_key": "k"}
	require.Empty(t, Type{}.LoginIdentity(connection))
	require.Equal(t, provider.Lockout{Sender: sender}, Type{}.Lockout(connection), "Plesk locks logins, not keys")
}

func TestTargetValidation(t *testing.T) {
	connection := provider.Connection{URL: "https://plesk.example.com"}
	for login, want := range map[string]string{
		"":                       "login is required",
		"admin":                  "main administrator",
		"ADMIN":                  "main administrator",
		" user":                  "white space",
		"us er":                  "white space",
		"user\n":                 "white space",
		"üser":                   "ASCII",
		"u\x7f":                  "ASCII",
		strings.Repeat("u", 256): "too long",
	} {
		_, err := Type{}.Target(connection, provider.Settings{"login": login})
		require.ErrorContains(t, err, want)
	}
	_, err := Type{}.Target(provider.Connection{}, provider.Settings{"login": "user2"})
	require.Error(t, err)
}

func TestGeneratedPasswordsMeetStrictestPolicy(t *testing.T) {
	rules := Type{}.Rules(provider.Connection{}, provider.Target{Settings: provider.Settings{"login": "User2"}})
	for range 1000 {
		made, err := rules.Generate(rand.Reader)
		require.NoError(t, err)
		require.Len(t, made, 28)
		require.NoError(t, rules.Check(made))
		require.Contains(t, password.Lower+password.Upper, made[:1])
		count := func(set string) (n int) {
			for _, c := range made {
				if strings.ContainsRune(set, c) {
					n++
				}
			}
			return n
		}
		require.GreaterOrEqual(t, count(password.Digits), 3)
		require.GreaterOrEqual(t, count(specials), 2)
		require.Positive(t, count(password.Lower))
		require.Positive(t, count(password.Upper))
	}
	require.NoError(t, rules.Check(`Ab1$\<&>`), "every password that Plesk accepts is allowed")
	require.Error(t, rules.Check("xuser2x"))
}

func TestFieldsHaveDescriptions(t *testing.T) {
	fields := append(Type{}.ConnectionFields(), Type{}.TargetFields()...)
	names := map[string]bool{}
	for _, field := range fields {
		require.NotEmpty(t, field.Schema.Description, field.Name)
		require.Equal(t, field.Secret, field.Schema.DisplayAttrs.Sensitive, field.Name)
		names[field.Name] = true
	}
	for _, form := range (Type{}).CredentialForms() {
		for _, name := range form {
			require.True(t, names[name], name)
		}
	}
	require.Equal(t, "plesk", Type{}.Name())
	require.False(t, Type{}.OldPassword(provider.Target{}).Required)
}

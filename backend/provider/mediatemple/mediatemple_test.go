package mediatemple

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCompleteSetsDefaults(t *testing.T) {
	given := provider.Settings{"api_key": apiKey}
	connection := provider.Connection{Settings: given}
	require.NoError(t, Type{}.Complete(&connection))
	require.Equal(t, "https://api.mediatemple.net/api/v1", connection.URL)
	require.Equal(t, provider.Settings{"api_key": apiKey, "settle_after": 60}, connection.Settings)
	require.Equal(t, provider.Settings{"api_key": apiKey}, given, "the caller's settings are not modified")
	require.Equal(t, time.Minute, Type{}.SettleAfter(connection))

	again := connection
	again.Settings = maps.Clone(connection.Settings)
	require.NoError(t, Type{}.Complete(&again))
	require.Equal(t, connection, again)

	stored, err := json.Marshal(connection.Settings)
	require.NoError(t, err)
	again.Settings = nil
	require.NoError(t, json.Unmarshal(stored, &again.Settings))
	require.NoError(t, Type{}.Complete(&again))
	require.Equal(t, connection, again, "as read from storage")
}

func TestCompleteKeepsGivenValues(t *testing.T) {
	for _, seconds := range []any{90, int64(90), float64(90), json.Number("90")} {
		connection := provider.Connection{
			URL: "https://MT.example.com:443/v1/", Settings: provider.Settings{"api_key": "k", "settle_after": seconds},
		}
		require.NoError(t, Type{}.Complete(&connection))
		require.Equal(t, "https://mt.example.com/v1", connection.URL)
		require.Equal(t, 90, connection.Settings["settle_after"])
		require.Equal(t, 90*time.Second, Type{}.SettleAfter(connection))
	}
	for _, seconds := range []int{1, 3600} {
		connection := provider.Connection{Settings: provider.Settings{"api_key": "k", "settle_after": seconds}}
		require.NoError(t, Type{}.Complete(&connection))
		require.Equal(t, seconds, connection.Settings["settle_after"])
	}
	for _, key := range []string{"k", strings.Repeat("k", 65), strings.Repeat("k", 500)} {
		require.NoError(t, Type{}.Complete(&provider.Connection{Settings: provider.Settings{"api_key": key}}), "the length is not documented")
	}
}

func TestCompleteValidation(t *testing.T) {
	for name, test := range map[string]struct {
		url      string
		settings provider.Settings
		want     string
	}{
		"no key":             {"", nil, "api_key is required"},
		"empty key":          {"", provider.Settings{"api_key": ""}, "api_key is required"},
		"key not a string":   {"", provider.Settings{"api_key": 7}, "api_key is required"},
		"key with a line":    {"", provider.Settings{"api_key": "cAnArY\n"}, "api_key ends with a line break"},
		"key with a space":   {"", provider.Settings{"api_key": "cAn ArY"}, "api_key must be"},
		"key with a tab":     {"", provider.Settings{"api_key": "cAnArY\t"}, "api_key contains a control character"},
		"key with DEL":       {"", provider.Settings{"api_key": "cAnArY\x7f"}, "api_key contains a control character"},
		"key beyond ASCII":   {"", provider.Settings{"api_key": "cAnArYü"}, "api_key must be"},
		"key of raw bytes":   {"", provider.Settings{"api_key": "cAnArY\xff"}, "api_key must be"},
		"plain":              {"http://api.mediatemple.net/api/v1", provider.Settings{"api_key": "cAnArY"}, "https://"},
		"key in the address": {"https://api.mediatemple.net/api/v1?apikey=cAnArY", provider.Settings{"api_key": "cAnArY"}, "query"},
		"zero time":          {"", provider.Settings{"api_key": "cAnArY", "settle_after": 0}, "between 1 and 3600 seconds"},
		"negative time":      {"", provider.Settings{"api_key": "cAnArY", "settle_after": -60}, "between 1 and 3600 seconds"},
		"too long":           {"", provider.Settings{"api_key": "cAnArY", "settle_after": 3601}, "between 1 and 3600 seconds"},
		"far too long":       {"", provider.Settings{"api_key": "cAnArY", "settle_after": 18446744075}, "between 1 and 3600 seconds"},
		"time not a number":  {"", provider.Settings{"api_key": "cAnArY", "settle_after": "soon"}, "between 1 and 3600 seconds"},
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
	_, err := Type{}.Open(provider.Connection{TLS: provider.TLS{CACert: "none"}, Settings: provider.Settings{"api_key": "k"}})
	require.ErrorContains(t, err, "ca_cert")
}

func TestServiceAccountsAreSeparateTargets(t *testing.T) {
	connection := provider.Connection{Settings: provider.Settings{"api_key": "k"}}
	require.NoError(t, Type{}.Complete(&connection))
	for account, username := range map[string]string{"root": "root", "plesk": "admin"} {
		settings := provider.Settings{"service_id": "556", "account": account}
		target, err := Type{}.Target(connection, settings)
		require.NoError(t, err)
		require.Equal(t, provider.Target{
			Names:      []string{"556"},
			Identities: []string{"mediatemple|api.mediatemple.net:443|556|" + account},
			Username:   username,
			Settings:   settings,
		}, target)
	}
	require.Empty(t, Type{}.LoginIdentity(connection))
	require.Zero(t, Type{}.Lockout(connection))
	require.False(t, Type{}.OldPassword(provider.Target{}).Required)
}

func TestTargetValidation(t *testing.T) {
	connection := provider.Connection{URL: "https://api.mediatemple.net/api/v1"}
	refused := func(id, account, want string) {
		t.Helper()
		_, err := Type{}.Target(connection, provider.Settings{"service_id": id, "account": account})
		require.ErrorContains(t, err, want, id+account)
	}
	refused("", "root", "service_id is required")
	for _, id := range []string{
		"0", "0556", "-556", "+556", "5e2", "556.0", " 556", "556\n", "556/../557", "556?apikey=x", "٥٥٦", "web1", "1234567890123456789",
	} {
		refused(id, "root", "number of the service")
	}
	refused("556", "", "account is required")
	for _, account := range []string{"admin", "Root", "root ", "root,plesk"} {
		refused("556", account, "root or plesk")
	}
	_, err := Type{}.Target(provider.Connection{}, provider.Settings{"service_id": "556", "account": "root"})
	require.ErrorContains(t, err, "write the connection again")
}

func TestGeneratedPasswordsMeetAdvice(t *testing.T) {
	for account, name := range map[string]string{"root": "root", "plesk": "admin"} {
		rules := Type{}.Rules(provider.Connection{}, provider.Target{Settings: provider.Settings{"account": account}})
		for range 1000 {
			made, err := rules.Generate(rand.Reader)
			require.NoError(t, err)
			require.Len(t, made, 28)
			require.NoError(t, rules.Check(made))
			require.Contains(t, password.Lower+password.Upper, made[:1])
			require.NotContains(t, strings.ToLower(made), name)
			for _, class := range []string{password.Lower, password.Upper, password.Digits, generated} {
				require.True(t, strings.ContainsAny(made, class))
			}
			require.Empty(t, strings.Trim(made, password.Lower+password.Upper+password.Digits+generated), "no character has a special meaning in shells")
		}
	}
}

func TestPasswordRulesFollowAccount(t *testing.T) {
	check := func(account, candidate string) error {
		return Type{}.Rules(provider.Connection{}, provider.Target{Settings: provider.Settings{"account": account}}).Check(candidate)
	}
	for _, good := range []string{"Abcdef12", "abcdef1!", "ABCDEF1.", "Abcdefg~", "A1!@#%^*?_~-+=.", "My-Admin-1", strings.Repeat("Aa1-", 16)} {
		require.NoError(t, check("root", good), good)
	}
	for bad, why := range map[string]string{
		"Abcde12": "too short", strings.Repeat("Aa1-", 16) + "a": "too long", "abcdefg1": "too few kinds",
		"My-ROOT-1": "forbids", "My-tooR-1": "forbids",
	} {
		require.ErrorContains(t, check("root", bad), why)
	}
	for _, bad := range []string{"My-Admin-1", "My-nimdA-1"} {
		require.ErrorContains(t, check("plesk", bad), "forbids")
	}
	require.NoError(t, check("plesk", "My-Root-1"))
	for _, c := range "\"'`\\$&<>: ;|(){}[]üé\u2028" {
		require.ErrorContains(t, check("root", "Abcdef12"+string(c)), "does not accept")
	}
	for _, c := range "\t\n\x00" {
		require.Error(t, check("root", "Abcdef12"+string(c)))
	}
	require.Error(t, check("root", "Abcdef12\xff"))
	require.NoError(t, Type{}.Rules(provider.Connection{}, provider.Target{}).Check("Abcdef12"), "a policy is tested before there is a target")
}

func TestFieldsHaveDescriptions(t *testing.T) {
	names := map[string]provider.Field{}
	for _, field := range append(Type{}.ConnectionFields(), Type{}.TargetFields()...) {
		require.NotEmpty(t, field.Schema.Description, field.Name)
		require.Equal(t, field.Secret, field.Schema.DisplayAttrs.Sensitive, field.Name)
		require.False(t, field.Mutable, field.Name)
		names[field.Name] = field
	}
	require.True(t, names["api_key"].Secret)
	require.False(t, names["api_key"].Local)
	require.True(t, names["settle_after"].Local)
	require.Equal(t, 60, names["settle_after"].Schema.Default)
	require.Equal(t, [][]string{{"api_key"}}, Type{}.CredentialForms())
	require.Equal(t, "mediatemple", Type{}.Name())
}

package mediatemple

import (
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// A key of letters only looks like an error code.
const codeLikeKey = "TestKeyOfLettersOnly"

var hostileBodies = []string{
	`{"response":{"statusCode":{status},"errors":[{"message":"{planted}","errorCode":"{planted}"}],"custom":["{planted}"],"date":"{planted}"}}`,
	`{"response":{"statusCode":{status},"errors":[{"message":"{planted}","errorCode":"InvalidPassword"}],"{planted}":"{planted}"}}`,
	`{"response":{"statusCode":"{planted}","errors":["{planted}"]}}`,
	`{"service":{"id":"{planted}","serviceTypeName":"{planted}"}}`,
	`{"serviceIds":["{planted}"]}`,
	`<html><body>{planted}</body></html>`,
}

func TestHostileResponseLeaksNoSecrets(t *testing.T) {
	t.Parallel()
	calls := map[string]func(provider.Client, provider.Change) provider.Result{
		"Check": func(c provider.Client, _ provider.Change) provider.Result { return c.Check(t.Context()) },
		"CheckTarget": func(c provider.Client, change provider.Change) provider.Result {
			return c.CheckTarget(t.Context(), change.Target)
		},
		"Change": func(c provider.Client, change provider.Change) provider.Result { return c.Change(t.Context(), change) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Hostile{
				Type: mediaType, Bodies: hostileBodies,
				Secrets: map[string]string{"key": codeLikeKey, "password": newPassword},
				Open: func(t *testing.T, address string) func() provider.Result {
					t.Helper()
					connection := provider.Connection{
						URL: address, TLS: provider.TLS{Insecure: true}, Settings: provider.Settings{fieldAPIKey: codeLikeKey},
					}
					target, err := Type{}.Target(connection, provider.Settings{fieldServiceID: "556", fieldAccount: accountRoot})
					if err != nil {
						t.Fatal(err)
					}
					client := open(t, connection)
					return func() provider.Result { return call(client, provider.Change{Target: target, NewPassword: newPassword}) }
				},
			}.RequireSilence(t)
		})
	}
}

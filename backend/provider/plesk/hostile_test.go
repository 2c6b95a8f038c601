package plesk

import (
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// A password of digits looks like an error code, a key like an identifier.
const (
	codeLikePassword = "4711471147"                           // #nosec G101 -- of a test
	idLikeKey        = "deadbeef-0123-4567-89ab-cdef00112233" // #nosec G101 -- of a test
)

var hostileBodies = []string{
	packet(`<system><status>error</status><errcode>{planted}</errcode><errtext>{planted}</errtext></system>`),
	aliasResult(`<status>error</status><errcode>{planted}</errcode><errtext>{planted}</errtext>`),
	aliasResult(`<status>error</status><errcode>1019</errcode><errtext>{planted}</errtext>`),
	aliasResult(`<status>ok</status><login>{planted}</login>`),
	aliasResult(`<status>{planted}</status>`),
	packet(`<server><get><result><status>error</status><errcode>{planted}</errcode></result></get></server><output>{planted}</output>`),
	`<packet version="{planted}"><{planted}/></packet>`,
	`<html><body>{planted}</body></html>`,
}

func TestHostileResponseLeaksNoSecrets(t *testing.T) {
	t.Parallel()
	logins := map[string]provider.Settings{
		"password": {fieldUsername: "admin", fieldPassword: codeLikePassword}, "key": {fieldSecretKey: idLikeKey},
	}
	for name, settings := range logins {
		for _, change := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				providertest.Hostile{
					Type: "text/xml", Bodies: hostileBodies,
					Secrets: map[string]string{"credential": settings.String(fieldPassword) + settings.String(fieldSecretKey), "password": newPassword},
					Open: func(t *testing.T, address string) func() provider.Result {
						t.Helper()
						connection := provider.Connection{URL: address, TLS: provider.TLS{Insecure: true}, Settings: settings}
						client := open(t, connection)
						if !change {
							return func() provider.Result { return client.Check(t.Context()) }
						}
						target, err := Type{}.Target(connection, provider.Settings{fieldLogin: "User2"})
						if err != nil {
							t.Fatal(err)
						}
						change := provider.Change{Target: target, NewPassword: newPassword}
						return func() provider.Result { return client.Change(t.Context(), change) }
					},
				}.RequireSilence(t)
			})
		}
	}
}

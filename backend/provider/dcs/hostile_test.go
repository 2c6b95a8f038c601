package dcs

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

var hostileBodies = append([]string{
	`{"result":"{planted}","lock_time_left":"{planted}","retry_times_left":"{planted}","message":"{planted}","code":"{planted}"}`,
	`{"result":"passwordFailed","lock_time_left":"{planted}","retry_times_left":"{planted}","message":"{planted}"}`,
	`{"result":"success","message":"{planted}","{planted}":1}`,
	`{"client_id":"{planted}","databases":1}`,
	`{"error_code":"DCS.4080","error_msg":"{planted}"}`,
	`{"accounts":[{"account_id":"{planted}","account_name":"{planted}","status":"{planted}","account_type":"{planted}"}]}`,
	`{"accounts":[{"account_id":"acc-1","account_name":"{planted}","status":"{planted}","account_type":"normal"}],"request_id":"{planted}"}`,
}, providertest.HostileBodies...)

func TestHostileResponseLeaksNoSecrets(t *testing.T) {
	t.Parallel()
	for name, login := range providertest.CloudLogins() {
		for _, method := range []string{"", methodModify, methodReset, "login"} { // "": the account lookup gets the hostile response
			if name == "IAM's response" && method != methodModify {
				continue // IAM gets the first request in any case
			}
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				secrets := maps.Clone(login.Secrets)
				if secrets == nil {
					secrets = map[string]string{}
				}
				if name != "IAM's response" {
					secrets["password"] = providertest.CodeLikePassword
				}
				if (method == "" || method == methodModify) && name != "IAM's response" {
					secrets["old password"] = providertest.CodeLikeOldPassword
				}
				providertest.Hostile{
					Type: "application/json", Bodies: hostileBodies, Secrets: secrets, Made: login.Made,
					Honest: func(r *http.Request) (int, http.Header, string) {
						if status, header, body := login.IAM(r); status != 0 {
							return status, header, body
						}
						if method != "" && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/accounts") {
							return http.StatusOK, nil, oneAccount
						}
						if method == "login" && r.Method == http.MethodGet {
							return http.StatusOK, nil, oneInstance
						}
						return 0, nil, ""
					},
					Open: func(t *testing.T, address string) func() provider.Result {
						t.Helper()
						connection := login.Connection(address, nil)
						client, err := Type{}.Open(connection)
						require.NoError(t, err)
						fields := provider.Settings{"instance_id": "inst-1", "account_id": "acc-1", "username": "app"}
						if method == methodReset {
							fields["rotation_method"] = methodReset
						}
						target, err := Type{}.Target(connection, fields)
						require.NoError(t, err)
						if method == "login" {
							prover, ok := client.(provider.Prover)
							require.True(t, ok)
							return func() provider.Result {
								result, proof := prover.Prove(t.Context(), target, providertest.CodeLikePassword)
								result.Reason += proof.Reason
								return result
							}
						}
						change := provider.Change{Target: target, NewPassword: providertest.CodeLikePassword}
						if method != methodReset {
							change.OldPassword = providertest.CodeLikeOldPassword
						}
						return func() provider.Result { return client.Change(t.Context(), change) }
					},
				}.RequireSilence(t)
			})
		}
	}
}

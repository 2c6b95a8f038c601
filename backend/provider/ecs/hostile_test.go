package ecs

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// Any number may follow the prefix of an ECS error code, so a password may look like one.
const codeLikePassword = "Ecs.47114711"

var hostileBodies = append([]string{
	`{"instances":[{"id":"{planted}","state":"{planted}","operation_state":"{planted}"}],"page_info":{"next_marker":"{planted}"}}`,
	`{"instances":[{"id":"a-1","state":"{planted}","error":{"error_code":"{planted}"}}],"{planted}":"{planted}"}`,
	`{"resetpwd_flag":"{planted}"}`,
	`{"response":[{"id":"{planted}"}],"internalError":[{"id":"{planted}","error_code":"{planted}","error_message":"{planted}"}]}`,
	`{"error":{"code":"{planted}","message":"{planted}"},"internalError":[{"id":"a-1","error_code":"{planted}","error_message":"{planted}"}]}`,
}, providertest.HostileBodies...)

func TestHostileResponseLeaksNoSecrets(t *testing.T) {
	t.Parallel()
	logins := providertest.CloudLogins()
	delete(logins, "IAM's response") // tested with DCS; it is the same for all services
	for name, login := range logins {
		for _, api := range []string{"instances", "cloudservers"} {
			for _, looking := range []bool{true, false} { // the lookup of the servers gets the hostile response, or the change
				t.Run(name+" "+api, func(t *testing.T) {
					t.Parallel()
					secrets := maps.Clone(login.Secrets)
					if secrets == nil {
						secrets = map[string]string{}
					}
					secrets["password"] = codeLikePassword
					providertest.Hostile{
						Type: "application/json", Bodies: hostileBodies, Secrets: secrets, Made: login.Made,
						Honest: func(r *http.Request) (int, http.Header, string) {
							switch {
							case strings.HasPrefix(r.URL.Path, "/v3/"):
								return login.IAM(r)
							case looking || r.Method == http.MethodPut:
								return 0, nil, ""
							case strings.HasSuffix(r.URL.Path, "/os-resetpwd-flag"):
								return http.StatusOK, nil, `{"resetpwd_flag":"True"}`
							default:
								return http.StatusOK, nil, running("a-1")
							}
						},
						Open: func(t *testing.T, address string) func() provider.Result {
							t.Helper()
							connection := login.Connection(address, provider.Settings{"api": api})
							client, err := Type{}.Open(connection)
							require.NoError(t, err)
							target, err := Type{}.Target(connection, provider.Settings{"instance_ids": []string{"a-1"}})
							require.NoError(t, err)
							change := provider.Change{Target: target, NewPassword: codeLikePassword, Parts: target.Parts}
							return func() provider.Result { return client.Change(t.Context(), change) }
						},
					}.RequireSilence(t)
				})
			}
		}
	}
}

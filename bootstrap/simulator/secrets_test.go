package simulator

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Tests that search logs for secrets need all of them, including those in requests that failed.
func TestSecretsSeenIncludesEveryRequest(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs"} {
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: b.target(system), Kind: lab.Cut, Count: 1}))
		request := b.request(t.Context(), system)
		if response, err := b.client.Do(request); err == nil {
			require.NoError(t, response.Body.Close())
		}
		shown := []string{fresh, b.shown(system, request)}
		if system == "dcs" {
			shown = append(shown, b.initial(system))
		}
		for _, secret := range shown {
			require.Eventually(t, func() bool { return b.SecretsSeen()[secret] != "" }, 20*time.Second, time.Millisecond,
				"the secrets may be recorded after the connection is cut")
		}
	}
	token := b.token(t.Context())
	require.Contains(t, b.SecretsSeen(), token)
	require.Contains(t, b.SecretsSeen(), b.InitialState().HuaweiCloud.Users[0].Password)

	refused, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.MediaTempleURL()+"/services/1/rootPassword", strings.NewReader(`{"password":"Test-Pass.1"}`))
	require.NoError(t, err)
	refused.Header.Set("Authorization", "MediaTemple Test-Key-Of-Nobody")
	response, err := b.client.Do(refused)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Contains(t, b.SecretsSeen(), "Test-Key-Of-Nobody")
}

// shown returns the secret in the headers of a request.
func (b *bench) shown(system string, request *http.Request) string {
	if system == "plesk" {
		return b.InitialState().Plesk.SecretKeys[0].Key
	}
	_, signature, found := strings.Cut(request.Header.Get("Authorization"), "Signature=")
	require.True(b, found)
	return signature
}

// token logs in to IAM and returns the token.
func (b *bench) token(ctx context.Context) string {
	cloud := b.InitialState().HuaweiCloud
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,"domain":{"name":%q}}}},"scope":{"project":{"id":%q}}}}`,
		cloud.Users[0].Name, cloud.Users[0].Password, cloud.DomainName, b.InitialState().DCS.Instances[0].ProjectID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.IAMURL()+"/v3/auth/tokens", strings.NewReader(body))
	require.NoError(b, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(request)
	require.NoError(b, err)
	require.NoError(b, response.Body.Close())
	token := response.Header.Get("X-Subject-Token")
	require.NotEmpty(b, token)
	return token
}

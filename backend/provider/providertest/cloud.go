package providertest

import (
	"net/http"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Secrets of Huawei Cloud connections that look like legitimate content of a response: error codes and request IDs.
const (
	CodeLikeIAMPassword = "Testiam.47114711"
	CodeLikeOldPassword = "Testold.47114711"
	CodeLikePassword    = "Testnew.47114711"
	IDLikeSecretKey     = "deadbeef012345674711deadbeef0123"
	IDLikeToken         = "f00dface-4711-4711-4711-f00dface4711"
)

// HostileBodies are hostile responses in the forms common to all Huawei Cloud services; a service adds its own.
var HostileBodies = []string{
	`{"error_code":"{planted}","error_msg":"{planted}","request_id":"{planted}","encoded_authorization_message":"{planted}"}`,
	`{"error_code":"APIGW.0301","error_msg":"{planted}","request_id":"{planted}"}`,
	`{"error_code":"DCS.4961","error_msg":"{planted}","{planted}":"{planted}"}`,
	`{"error":{"code":"{planted}","message":"{planted}","title":"{planted}"}}`,
	`{"error":{"code":"Ecs.0219","message":"{planted}"},"request_id":"{planted}"}`,
	`{"badRequest":{"code":"{planted}","message":"{planted}"},"unauthorized":{"{planted}":"{planted}"}}`,
	`{"token":{"expires_at":"{planted}","issued_at":"{planted}","project":{"id":"{planted}"}}}`,
}

// CloudLogin is a way to log in to Huawei Cloud.
type CloudLogin struct {
	// Settings are the settings of the connection.
	Settings provider.Settings
	// Secrets and Made are the fields of a [Hostile].
	Secrets map[string]string
	Made    string
	// Issues: IAM is honest and issues a token.
	Issues bool
}

// CloudLogins returns all logins by name. With "IAM's response", IAM itself is hostile.
func CloudLogins() map[string]CloudLogin {
	user := provider.Settings{"username": "operator", "password": CodeLikeIAMPassword, "domain_name": "acme", "project_id": "p1"}
	return map[string]CloudLogin{
		"access key": {
			Settings: provider.Settings{"access_key": "AK1", "secret_key": IDLikeSecretKey, "security_token": IDLikeToken, "project_id": "p1"},
			Secrets:  map[string]string{"secret key": IDLikeSecretKey, "security token": IDLikeToken}, Made: Signature,
		},
		"token":          {Settings: user, Made: Token, Issues: true},
		"IAM's response": {Settings: user, Secrets: map[string]string{"IAM user's password": CodeLikeIAMPassword}},
	}
}

// IAM returns the response to a token request if IAM is honest, and status 0 for any other request.
func (l CloudLogin) IAM(r *http.Request) (status int, header http.Header, body string) {
	if r.URL.Path != "/v3/auth/tokens" || !l.Issues {
		return 0, nil, ""
	}
	return http.StatusCreated, http.Header{"X-Subject-Token": {IDLikeToken}},
		`{"token":{"expires_at":"2036-01-02T03:04:05.000000Z","issued_at":"2036-01-01T03:04:05.000000Z"}}`
}

// Connection returns a connection to the address with this login.
func (l CloudLogin) Connection(address string, more provider.Settings) provider.Connection {
	settings := l.Settings.Clone()
	for name, value := range more {
		settings[name] = value
	}
	if settings.Has("username") {
		settings["iam_url"] = address
	}
	return provider.Connection{URL: address, TLS: provider.TLS{Insecure: true}, Settings: settings}
}

package plesk

import (
	"context"
	"net/http"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Login logs in to the XML API at host:port with a single request, and returns what that proves about the password. The API
// has no sessions, so nothing is left behind.
//
// Whether additional administrators may use the XML API is not documented. So only code 1001 (wrong password) proves that a
// password is refused, and every other error proves nothing.
func Login(ctx context.Context, endpoint transport.Endpoint, address, username, password string) provider.Proof {
	for _, text := range []string{username, password} { // header values; see checkCredential
		if strings.TrimSpace(text) != text || !ascii(text, ' ') {
			return provider.Proof{
				Verdict: provider.CannotTell, Unsent: true,
				Reason: "the login and the password must be printable ASCII without leading or trailing spaces to be sent to Plesk; nothing was sent",
			}
		}
	}
	client, err := transport.New(endpoint)
	if err != nil {
		return provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: err.Error() + "; nothing was sent"}
	}
	c := &Client{http: client, endpoint: "https://" + address + agentPath, username: username, password: transport.NewSecret(password)}
	response, err := c.send(ctx, serverRequest{GetProtos: &struct{}{}})
	if err != nil {
		failed := transport.Failure(err)
		return provider.Proof{Verdict: provider.CannotTell, Unsent: failed.Outcome == provider.Unreachable, Reason: failed.Reason}
	}
	return loginProof(response)
}

// loginReasons replace the reasons of codes.go, which are about the connection's credential.
var loginReasons = map[string]string{
	"1001": "Plesk refused the password for this login (1001); a proxy that drops headers with underscores has the same effect",
	"1006": "Plesk does not permit this account to use the XML API (1006), so the password cannot be verified there; set verify=none, or permit it in Plesk",
	"1010": "Plesk denied access to the panel (1010), so the password was not verified; check its IP address restrictions, and [api] in panel.ini",
	"1011": "the account is disabled (1011), so the password was not verified; enable it in Plesk",
	"1012": "Plesk has locked the login after too many failed attempts (1012), so the password was not verified; find the source of these attempts, or wait",
	"1029": "Plesk found no login in the request (1029); check whether a proxy drops headers with underscores",
}

// loginProof returns what the response to get_protos proves.
func loginProof(response *transport.Response) provider.Proof {
	cannotTell := func(reason string) provider.Proof {
		return provider.Proof{Verdict: provider.CannotTell, Reason: reason}
	}
	if response.Status != http.StatusOK { // see read
		return cannotTell("the response is not from the Plesk API (" + transport.StatusCode(response.Status) + "); check the address, any proxy, and [api] in panel.ini of Plesk")
	}
	answer, err := parseResponse(response.Body, operationGetProtos)
	if err != nil || answer.ok && (answer.system || len(answer.node.named("protos")) != 1) {
		return cannotTell("the response is not the Plesk API's answer to a login; check the address, and any proxy")
	}
	ofServer := inSystem[answer.code]
	switch {
	case answer.ok:
		return provider.Proof{Verdict: provider.Works, Reason: "Plesk accepted the login at the XML API"}
	case answer.code == "1001" && answer.system:
		return provider.Proof{Verdict: provider.Refused, Reason: loginReasons["1001"]}
	case answer.code != "1001" && loginReasons[answer.code] != "":
		return cannotTell(loginReasons[answer.code])
	case answer.system && ofServer.reason != "" && ofServer.outcome != provider.Denied: // Denied is about a credential
		return cannotTell(ofServer.reason + " (" + answer.code + ")")
	default:
		return cannotTell("Plesk reported an error that does not say whether the password is right")
	}
}

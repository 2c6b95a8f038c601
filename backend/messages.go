package backend

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
)

// complete adds to the messages of a response what only the request knows: the error of a write says that nothing was
// changed, and commands name the path of the mount in place of MOUNT. All responses pass here.
func complete(req *logical.Request, resp *logical.Response, err error) (*logical.Response, error) {
	if coded, ok := err.(logical.HTTPCodedError); ok { //nolint:errorlint // Vault does not unwrap it either
		text := coded.Error()
		if code := coded.Code(); code == http.StatusBadGateway || code == http.StatusServiceUnavailable {
			text = unchanged(req, text)
		}
		return resp, logical.CodedError(coded.Code(), located(req, text))
	}
	if err != nil && strings.Contains(err.Error(), mountPlaceholder) {
		return resp, errors.New(located(req, err.Error()))
	}
	if resp == nil {
		return nil, err
	}
	if resp.IsError() {
		resp.Data["error"] = located(req, unchanged(req, resp.Error().Error()))
	}
	for i, warning := range resp.Warnings {
		resp.Warnings[i] = located(req, warning)
	}
	return resp, err
}

// unchanged returns the error of a request that changed nothing.
func unchanged(req *logical.Request, text string) string {
	switch req.Operation {
	case logical.CreateOperation, logical.UpdateOperation, logical.PatchOperation, logical.DeleteOperation:
		return problem.Unchanged(text)
	default:
		return text
	}
}

// mountPlaceholder begins the paths of commands in messages of packages that do not know the mount.
const mountPlaceholder = "MOUNT/"

// located names the path of the mount in commands, if it is known.
func located(req *logical.Request, text string) string {
	if req.MountPoint == "" {
		return text
	}
	return strings.ReplaceAll(text, mountPlaceholder, req.MountPoint)
}

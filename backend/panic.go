package backend

import (
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
)

// caught recovers from a panic of a handler and sets err to the error of the request. Call it deferred. An unrecovered
// panic would end the process, which also serves other mounts, and would write the value of the panic, which may contain
// anything, to the log.
//
// Vault's client repeats a request that fails with status 500. That is safe: a password that may have been sent is stored,
// and a repeated request continues from there.
func (b *Backend) caught(req *logical.Request, err *error) {
	if problem.LogPanic(b.Logger(), recover(), "a request", "operation", req.Operation, "path", req.Path) {
		_, *err = fail("", problem.ErrPanicked)
	}
}

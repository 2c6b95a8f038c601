package backend

import (
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/hashicorp/vault/sdk/logical"
)

// caught keeps a panic of a handler from ending the process, which serves other mounts too and would write the value of
// the panic, which could be anything, to the log. Call it deferred; err is what the request answers then.
//
// The code is that of a fault of the server, but what the request did by then is not known, and Vault's client repeats
// it: that does no harm, since what may have been sent is stored, and a repeated request goes on from there.
func (b *Backend) caught(req *logical.Request, err *error) {
	cause := recover() //nolint:revive // this is the deferred function
	if cause == nil {
		return
	}
	b.Logger().Error("a panic was caught: please report it", "doing", "a request", "operation", req.Operation, "path", req.Path,
		"type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
	*err = logical.CodedError(http.StatusInternalServerError, "the plugin has a fault, and this request met it; what it did before "+
		"that is not known, and no password is lost: read status/:name of the role before trying again, and report the stack in Vault's log")
}

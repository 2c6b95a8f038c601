package rotation

import (
	"context"
	"strconv"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Events that the engine sends, by the end of their names.
const (
	// EventRotate: a role has another password, or one that the remote system has taken for later: there is another event when
	// that counts as in force by time.
	EventRotate = "rotate"
	// EventRotateFail: a change failed, for another reason than the last time.
	EventRotateFail = "rotate-fail"
)

// tell remembers what is to be told of an outcome once it is stored. A role that fails for the same reason again is told of
// as often as it is logged.
func (c *change) tell(result provider.Result, before *Failure) {
	switch {
	case result.Outcome == provider.Applied, result.Outcome == provider.Staged:
		c.events = append(c.events, EventRotate)
	case !c.role.Retry.Last.same(before), worth(c.role.Retry.Attempts):
		c.events = append(c.events, EventRotateFail)
	}
}

// send sends events about a role.
func (e *Engine) send(ctx context.Context, role *Role, kinds ...string) {
	if e.events == nil {
		return
	}
	view := role.Record.View(e.clock())
	for _, kind := range kinds {
		metadata := []string{"connection", role.Connection, "provider", role.Provider, "state", string(view.State)}
		if view.Password != nil {
			metadata = append(metadata, "version", strconv.Itoa(view.Password.Version))
		}
		if last := role.Retry.Last; last != nil && kind == EventRotateFail {
			metadata = append(metadata, "error_class", string(last.Class))
		}
		e.events(ctx, kind, role.Name, metadata)
	}
}

package rotation

import (
	"context"
	"strconv"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Types of the events that the engine sends, without the prefix.
const (
	// EventRotate: a role has a new password, or the remote system has accepted one for later. Another event follows when
	// that password counts as in force.
	EventRotate = "rotate"
	// EventRotateFail: a change failed, for a different reason than the last time.
	EventRotateFail = "rotate-fail"
)

// note keeps the event of an outcome until the outcome is stored. A role that fails repeatedly for the same reason sends
// events as often as it logs.
func (w *work) note(result provider.Result, before *role.Failure) {
	switch {
	case w.role.Record.Next.Unproved(): // logins decide
	case result.Outcome == provider.Applied, result.Outcome == provider.Staged:
		w.kinds = append(w.kinds, EventRotate)
	case !w.role.Retry.Last.Same(before), worthALine(w.role.Retry.Attempts):
		w.kinds = append(w.kinds, EventRotateFail)
	}
}

// send sends events about a role.
func (e *Engine) send(ctx context.Context, r *role.Role, kinds ...string) {
	if e.events == nil {
		return
	}
	view := r.Record.View(e.Now())
	for _, kind := range kinds {
		metadata := []string{"connection", r.Connection, "provider", r.Provider, "state", string(view.State)}
		if view.Password != nil {
			metadata = append(metadata, "version", strconv.Itoa(view.Password.Version))
		}
		if last := r.Retry.Last; last != nil && kind == EventRotateFail {
			metadata = append(metadata, "error_class", string(last.Class))
		}
		e.events(ctx, kind, r.Name, metadata)
	}
}

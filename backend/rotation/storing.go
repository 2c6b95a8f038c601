package rotation

import (
	"context"
	"errors"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// errLater: the next of several calls, or a login after a call, could not be stored. The engine makes it later.
var errLater = errors.New("the next request could not be stored")

// store stores the role before a call or a wait. doing describes that for an error. A write that returns an error may have
// taken effect. The engine would then send a password although the request failed, so store writes the role back as it was,
// or deletes a new one. If an outcome is not stored yet, storing the outcome does that.
func (w *work) store(ctx context.Context, doing string) error {
	before, absent := w.stored, w.absent
	w.stored, w.absent = nil, false
	cause := w.s.PutRole(ctx, w.role)
	switch {
	case cause == nil:
		w.wasStored()
		return nil
	case problem.Refused(cause):
	case w.unstored:
		return errLater
	case before == nil && !absent, restore(ctx, w.s, w.name, before) != nil:
		return problem.NotSent(doing, w.name, true, cause)
	}
	w.stored, w.absent = before, absent
	return problem.NotSent(doing, w.name, false, cause)
}

// restore makes storage have the role as it was, or not at all.
func restore(ctx context.Context, s store.Store, name string, before *role.Role) error {
	ctx, cancel := timing.LastEffort(ctx)
	defer cancel()
	if before == nil {
		return s.Delete(ctx, store.RolePrefix+name)
	}
	return s.PutRole(ctx, before)
}

// wasStored records that storage has the role as it is.
func (w *work) wasStored() {
	w.unstored = false
	w.role.Stored()
	w.stored = new(*w.role)
}

// conclude stores the outcome. If that fails, the password is still being sent according to storage, and the engine sends it
// again.
func (w *work) conclude(ctx context.Context) error {
	if ctx.Err() != nil { // the engine is stopping, but the outcome should be stored
		var cancel context.CancelFunc
		ctx, cancel = timing.LastEffort(ctx)
		defer cancel()
	}
	failpoint.Reach(failpoint.BeforeOutcome, w.name)
	w.stored = nil
	if err := w.s.PutRole(ctx, w.role); err != nil {
		w.logger.Error("could not store the outcome of a change: the engine tries again until it is known", "role", w.name,
			"connection", w.h.Name, "error", err)
		w.unstored = false // the engine continues from what storage has
		return &unstoredError{w.name}
	}
	failpoint.Reach(failpoint.Outcome, w.name)
	w.wasStored()
	w.send(ctx, w.role, w.kinds...)
	w.kinds = nil
	return nil
}

// unstoredError reports that a call was made whose outcome could not be stored.
type unstoredError struct{ role string }

func (e *unstoredError) Error() string { return explain.UnknownOutcome(e.role) }

package rotation

import (
	"errors"
	"math/bits"
	"time"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Each decision logs one line: a call and its outcome, a wait, a role that needs an operator, a connection that is paused or
// resumed. If a role fails repeatedly for the same reason, only the first, second, fourth, eighth, … failure is logged.

// logCall logs a call. before is the previous failure.
func (w *work) logCall(result provider.Result, began time.Time, attempt int, before *role.Failure) {
	args := []any{
		"role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "trigger", w.trigger, "attempt", attempt,
		"outcome", string(result.Outcome), "code", result.Code, "remote_request_id", result.RequestID,
		"took", w.Now().Sub(began).Round(time.Millisecond).String(),
	}
	switch result.Outcome {
	case provider.Applied:
		w.logger.Info("password changed", append(args, "next", explain.TimeOrNone(w.role.Due))...)
		return
	case provider.Staged:
		w.logger.Info("password accepted, in force later", append(args, "waits_for", string(result.Stage), "next", explain.TimeOrNone(w.role.QueuedUntil()))...)
		return
	default: // not changed, or unknown
	}
	if w.role.Retry.Last.Same(before) && !worthALine(w.role.Retry.Attempts) {
		return
	}
	step := w.role.Next(w.Now(), w.env(w.h, w.role))
	w.logger.Warn("password not changed", append(args, "next", explain.TimeOrNone(step.At), "reason", result.Reason)...)
}

// logWait logs a request that has to wait, and what for. before is the failure before it.
func (w *work) logWait(reason string, before *role.Failure) {
	if before != nil && before.Class == provider.Busy && (before.Reason == reason || before.Scope == provider.ScopeConnection) {
		return // such a reason has the time of the last throttled call
	}
	w.logger.Info("password change waits", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "trigger", w.trigger,
		"next", explain.TimeOrNone(w.role.Retry.NextAttempt), "reason", reason)
}

// logFailure logs an error of queued work that made no call.
func (w *work) logFailure(err error) {
	known, isKnown := errors.AsType[*problem.Error](err)
	switch {
	case err == nil, w.ctx.Err() != nil, w.waiting != nil:
		return
	case !worthALine(w.failure.Times):
	case isKnown && known.Kind == problem.KindMistake:
		w.logger.Warn("the role needs an operator", "role", w.name, "connection", w.lane(), "reason", known.Message)
	case !isKnown, known.Storage:
		w.logger.Warn("could not work on the role", "role", w.name, "connection", w.lane(), "error", err)
	default: // the role is busy, or its connection is paused, which is logged for the connection
	}
}

// worthALine reports whether to log the n-th of several equal failures.
func worthALine(n int) bool { return n > 0 && bits.OnesCount(uint(n)) == 1 }

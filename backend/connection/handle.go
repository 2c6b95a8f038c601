package connection

import (
	"context"
	"errors"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Handle is an open connection. It is created on first use, and dropped when the connection is written on this or another
// node. Its methods may be called concurrently.
type Handle struct {
	Connection
	// Kind is the connection's provider, and Completed is the connection for it.
	Kind      provider.Type
	Completed provider.Connection
	// Guard is the lockout guard of the credential. Other connections may share it.
	Guard *lockout.Guard
	// client makes the calls. Only Call and Check use it.
	client provider.Client
	limits Limits
	slots  *slots
	margin time.Duration
	// secret is the fingerprint of the secrets of the credential.
	secret string

	mu sync.Mutex // guards the fields below; never held over a call
	// allowed has what NotAllowed has found, by role.
	allowed map[string]verdict
	// pause is set while the credential is refused.
	pause *Pause
	// checked is when the last successful check of a refused credential began, and opened is when the last pause ended.
	checked, opened time.Time
}

// Call makes one call that changes or reads an account. It first takes a slot of the connection and a permit of its
// credential, and waits for both until waiting ends; if waiting is nil, it does not wait. before runs right before the
// call. The caller stores the password there; an error stops the call. ctx and request_timeout bound the call itself.
//
// An error means that no call was made. It is a [*PausedError], a [*lockout.SpentError], a [*lockout.BlockedError],
// [problem.ErrFull] if the caller does not wait, [problem.ErrGivenUp] if it stopped waiting, [ErrChecking], [ErrThrottled], a storage error, or the
// error of before.
func (h *Handle) Call(ctx, waiting context.Context, s lockout.Store, before func() error, call func(context.Context, provider.Client) provider.Result) (provider.Result, error) {
	release, err := h.slots.acquire(waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer release()
	permit, err := h.enter(waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer permit.Leave()
	checking := h.Guard.Suspected() // before the pause, which begins before the suspicion ends
	switch pause := h.Paused(); {
	case pause != nil:
		return provider.Result{}, &PausedError{h.Name, pause}
	case checking:
		return provider.Result{}, ErrChecking
	case h.Guard.HeldUntil().After(h.Guard.Now()) && (!isOperator(waiting) || !h.Guard.MayProbe()):
		return provider.Result{}, ErrThrottled
	}
	return h.make(ctx, s, permit, false, before, call)
}

// operator is the key of a value of contexts; see ForOperator.
type operator struct{}

// ForOperator returns the context of a request that an operator made, for Call: it may find out whether the remote system
// still throttles. See [lockout.Guard.MayProbe].
func ForOperator(waiting context.Context) context.Context {
	return context.WithValue(waiting, operator{}, true)
}

func isOperator(waiting context.Context) bool {
	return waiting != nil && waiting.Value(operator{}) != nil
}

// Check makes the read-only check of the connection, even if it is paused or throttled. It returns the errors of Call.
func (h *Handle) Check(ctx context.Context, s lockout.Store) (provider.Result, error) {
	return h.check(ctx, s, false, (*lockout.Permit).ForCheck)
}

// Try is Check for an operator who wants to store the connection.
func (h *Handle) Try(ctx context.Context, s lockout.Store, trial lockout.Trial) (provider.Result, error) {
	return h.check(ctx, s, true, func(p *lockout.Permit) { p.ForTrial(trial) })
}

// Tried returns the trial in which the credential was refused, and the last one in which any credential of its login was;
// nil if there is none.
func (h *Handle) Tried(ctx context.Context, s lockout.Store) (same, last *lockout.Tried, err error) {
	same, last, err = h.Guard.Tried(ctx, s, h.secret)
	return same, last, problem.Storage("reading which credentials were refused", err)
}

func (h *Handle) check(ctx context.Context, s lockout.Store, byOperator bool, mark func(*lockout.Permit)) (provider.Result, error) {
	permit, err := h.enter(ctx)
	if err != nil {
		return provider.Result{}, err
	}
	defer permit.Leave()
	mark(permit)
	return h.make(ctx, s, permit, byOperator, func() error { return nil }, func(ctx context.Context, client provider.Client) provider.Result {
		return client.Check(ctx)
	})
}

// make counts the call in storage, makes it, and reports its result to the guard.
func (h *Handle) make(ctx context.Context, s lockout.Store, permit *lockout.Permit, byOperator bool, before func() error, call func(context.Context, provider.Client) provider.Result) (provider.Result, error) {
	if h.limits.Unknown != nil {
		return provider.Result{}, problem.Storage("reading the settings of the mount", h.limits.Unknown)
	}
	if err := permit.Take(ctx, s, byOperator); err != nil {
		_, spent := errors.AsType[*lockout.SpentError](err)
		if _, blocked := errors.AsType[*lockout.BlockedError](err); spent || blocked {
			return provider.Result{}, err
		}
		return provider.Result{}, problem.Storage("counting the use of the credential of connection "+h.Name, err)
	}
	if err := before(); err != nil {
		permit.GiveBack(context.WithoutCancel(ctx), s)
		return provider.Result{}, err
	}
	calling, cancel := context.WithTimeout(ctx, h.Timeout())
	defer cancel()
	result := provider.Result{Outcome: provider.Unknown, Unseen: true} // after a panic, the credential may have been refused
	defer func() { permit.Answered(context.WithoutCancel(ctx), s, result) }()
	if err := h.limits.Refuses(h.Kind, h.Completed); err != nil {
		result = provider.Result{
			Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Misconfigured: true, Unsent: true,
			Reason: err.Error() + "; nothing was sent",
		}
		return result, nil
	}
	result = call(provider.WithHosts(calling, h.limits.Hosts), h.client)
	return result, nil
}

// Limits returns the limits of the mount that the connection was opened with.
func (h *Handle) Limits() Limits { return h.limits }

func (h *Handle) enter(waiting context.Context) (*lockout.Permit, error) {
	permit, err := h.Guard.Enter(waiting)
	switch {
	case errors.Is(err, lockout.ErrFull):
		return nil, problem.ErrFull
	case err != nil:
		return nil, problem.ErrGivenUp
	}
	permit.Presents(h.Name, h.secret)
	return permit, nil
}

// Held returns the hold; the zero value if there is none. By is empty if this connection's own call was throttled.
func (h *Handle) Held() Hold {
	held := h.Guard.Held()
	if held.By == h.Name {
		held.By = ""
	}
	return held
}

// Room returns how many changes may run for which no request waits.
func (h *Handle) Room() int { return min(h.slots.room(), h.Guard.Room()) }

// Margin returns the minimum time between the end of an unresolved request and a request with a different password.
func (h *Handle) Margin() time.Duration { return max(h.margin, h.SettleAfter()) }

// SettleAfter returns how long a queued change takes to come into force; 0 if the remote system never queues a change.
func (h *Handle) SettleAfter() time.Duration { return h.Kind.SettleAfter(h.Completed) }

// Paused returns the pause, or nil if the connection is not paused.
func (h *Handle) Paused() *Pause {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pause
}

// SetPause pauses the connection.
func (h *Handle) SetPause(p *Pause) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pause = p
}

// EndPause ends the pause, because the credential works again.
func (h *Handle) EndPause(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pause, h.opened = nil, now
}

// inheritOpened lets the handle know when the last pause ended, if that was before it was made.
func (h *Handle) inheritOpened(opened time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened = timing.Later(h.opened, opened)
}

// OpenedAt returns when the last pause ended; zero if there was none.
func (h *Handle) OpenedAt() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.opened
}

// Checked records that a check that began at this time succeeded.
func (h *Handle) Checked(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checked = at
}

// CheckedSince reports whether a check that began after this time succeeded.
func (h *Handle) CheckedSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checked.After(t)
}

package connections

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// firstProbe is how long after a pause begins the connection is probed for the first time. Huawei Cloud locks a key for
// five minutes after five failures in a row.
const firstProbe = 6 * time.Minute

// Denied is called when the remote system refused the credential of a request that began at this time. It makes a
// read-only check, only one even if several requests were refused, during which no other request is made with the
// credential. If the check fails too, it pauses the connection and stores that. Otherwise the refusal concerns only the one
// role, and it returns true.
func (c *Connections) Denied(ctx context.Context, s store.Store, h *connection.Handle, began time.Time) (works bool) {
	done, err := h.Guard.Check(ctx, h.Timeout())
	if err != nil {
		return false
	}
	defer done()
	switch {
	case h.Paused() != nil:
		return false
	case h.CheckedSince(began):
		return true
	}
	if same, err := c.current(ctx, s, h); err != nil || !same {
		return false // the credential was replaced, or storage failed: the next refusal is checked
	}
	at := c.Now()
	check, err := h.Check(ctx, s)
	switch reason, until := unmade(err); {
	case reason != "":
		c.pauseUnchecked(ctx, s, h, explain.Unchecked(reason), until)
		return false
	case err != nil, ctx.Err() != nil:
		return false // storage failed, or the engine is stopping
	case check.Outcome == provider.Applied:
		h.Checked(at)
		return true
	}
	pause := &connection.Pause{Revision: h.Revision, Since: at, Code: check.Code, Reason: explain.PauseReason(check)}
	pause.NextProbe = c.nextProbe(ctx, s, h, check, 1)
	c.pause(ctx, s, h, pause)
	return false
}

// Refuse returns an error of a call that was not made as one for the user. If one more refusal could lock the credential,
// it pauses the connection.
func (c *Connections) Refuse(ctx context.Context, s store.Store, h *connection.Handle, err error) error {
	var paused *connection.PausedError
	var spent *lockout.SpentError
	var blocked *lockout.BlockedError
	switch {
	case errors.As(err, &paused):
		return problem.Busy("%s", explain.Paused(h.Name, paused.Pause))
	case errors.As(err, &spent):
		return problem.Busy("%s", explain.Paused(h.Name, c.pauseUnchecked(ctx, s, h, spent.Error(), spent.Next)))
	case errors.As(err, &blocked):
		return problem.Busy("nothing was changed, because %s. Try again at %s", explain.Blocked(h.Name, blocked.Error()), explain.Time(blocked.Until))
	case errors.Is(err, connection.ErrThrottled):
		return problem.Busy("nothing was changed, because %s (connection %q). Try again later", explain.Held(h.Held()), h.Name)
	case errors.Is(err, connection.ErrChecking):
		return problem.Busy("nothing was changed, because %s (connection %q). Try again later", err, h.Name)
	default:
		return err
	}
}

// unmade returns why a call was not made, if a refusal of it could lock the credential or block the sender, and when the next
// one may be made; zero: not before an operator acts.
func unmade(err error) (reason string, next time.Time) {
	var spent *lockout.SpentError
	var blocked *lockout.BlockedError
	switch {
	case errors.As(err, &spent):
		return spent.Error(), spent.Next
	case errors.As(err, &blocked):
		return blocked.Error(), blocked.Until
	default:
		return "", time.Time{}
	}
}

// current reports whether the stored connection still has the revision of the handle.
func (c *Connections) current(ctx context.Context, s store.Store, h *connection.Handle) (bool, error) {
	stored, err := s.Connection(ctx, h.Name)
	return stored != nil && stored.Revision == h.Revision, err
}

// pauseUnchecked pauses a connection whose credential is not checked, because a refusal has consequences, if it is not paused
// yet.
func (c *Connections) pauseUnchecked(ctx context.Context, s store.Store, h *connection.Handle, reason string, next time.Time) *connection.Pause {
	pause := h.Paused()
	if pause == nil {
		pause = &connection.Pause{Revision: h.Revision, Since: c.Now(), Reason: reason, NextProbe: next}
		c.pause(ctx, s, h, pause)
	}
	return pause
}

// pause pauses a connection and logs it.
func (c *Connections) pause(ctx context.Context, s store.Store, h *connection.Handle, pause *connection.Pause) {
	if c.storePause(ctx, s, h, pause) {
		c.Logger.Error("connection paused: the remote system refuses its credential", "connection", h.Name,
			"provider", h.Provider, "code", pause.Code, "reason", pause.Reason, "next_probe", explain.TimeOrNone(pause.NextProbe))
	}
}

// storePause pauses a connection and stores the pause, unless the connection was rewritten or deleted in the meantime.
func (c *Connections) storePause(ctx context.Context, s store.Store, h *connection.Handle, pause *connection.Pause) bool {
	unlock, err := c.Index.Lock(ctx, h.Name) // writes of connections hold it too
	if err != nil {
		return false // the engine is stopping
	}
	defer unlock()
	if same, err := c.current(ctx, s, h); err == nil && !same {
		return false
	}
	if err := s.PutPause(ctx, h.Name, pause); err != nil {
		c.Logger.Error("could not store the pause of a connection", "connection", h.Name, "error", err)
	}
	for _, one := range c.Cache.Handles(h) {
		one.SetPause(pause)
	}
	c.Health.Paused(h, pause)
	c.Probes(h.Name, pause.NextProbe)
	return true
}

// Probe makes the one call that may resume a paused connection. If it cannot make the call, it returns when to try again;
// otherwise zero, and a new pause has the time of the next probe.
func (c *Connections) Probe(ctx context.Context, s store.Store, name string) (again time.Time) {
	soon := c.Now().Add(c.Grow(timing.FirstBackoff, 4))
	defer func() {
		if problem.LogPanic(c.Logger, recover(), "probing a connection", "connection", name) {
			again = soon
		}
	}()
	h, err := c.Handle(ctx, s, name)
	switch {
	case errors.Is(err, problem.ErrNoConnection):
		return time.Time{}
	case err != nil:
		return soon
	}
	pause := h.Paused()
	if pause == nil {
		c.Health.Opened(name) // the sweep may have noted the pause while it ended
		return time.Time{}
	}
	check, err := h.Check(ctx, s)
	next := *pause
	switch reason, at := unmade(err); {
	case reason != "":
		next.NextProbe = at
	case err != nil: // storage failed
		return soon
	case check.Outcome == provider.Applied:
		c.open(ctx, s, h, pause)
		return time.Time{}
	default:
		next.Probes++
		next.Code, next.Reason = check.Code, explain.PauseReason(check)
		next.NextProbe = c.nextProbe(ctx, s, h, check, next.Probes+1)
	}
	if c.storePause(ctx, s, h, &next) && next.NextProbe.IsZero() {
		c.Logger.Error("a paused connection needs an operator: one more refusal could lock its credential", "connection", name, "provider", h.Provider)
	}
	return time.Time{}
}

// open resumes a paused connection, unless it was rewritten or deleted in the meantime.
func (c *Connections) open(ctx context.Context, s store.Store, h *connection.Handle, pause *connection.Pause) {
	unlock, err := c.Index.Lock(ctx, h.Name)
	if err != nil {
		return // the engine is stopping
	}
	defer unlock()
	if same, err := c.current(ctx, s, h); err == nil && !same {
		return
	}
	if err := s.Delete(ctx, store.PausePrefix+h.Name); err != nil {
		c.Logger.Error("could not store the end of a pause", "connection", h.Name, "error", err)
	}
	for _, one := range c.Cache.Handles(h) {
		one.EndPause(c.Now())
	}
	c.Logger.Info("connection resumed", "connection", h.Name, "provider", h.Provider, "paused_since", explain.Time(pause.Since))
	c.opened(h.Name)
}

// opened notes that a connection is not paused, and retries the roles that waited for it.
func (c *Connections) opened(name string) {
	c.Health.Opened(name)
	c.Probes(name, time.Time{})
	c.Retry(name)
}

// nextProbe returns when to probe a paused connection for the n-th time; zero if an operator has to act first. The wait is
// long if the remote system refused the credential again, and longest before the last attempt that cannot lock it. It is
// short if the remote system could not be asked.
func (c *Connections) nextProbe(ctx context.Context, s store.Store, h *connection.Handle, check provider.Result, n int) time.Time {
	now := c.Now()
	if check.Outcome != provider.Denied {
		return now.Add(c.Grow(6*timing.FirstBackoff, n))
	}
	normal := now.Add(c.Grow(firstProbe, n))
	if !h.Guard.Counts() {
		return normal
	}
	switch left, next, ok, err := h.Guard.Left(ctx, s); {
	case err != nil, left > 1: // the probe itself checks again
		return normal
	case left == 1:
		return now.Add(timing.Scaled(c.Jitter(timing.LastBackoff)))
	case ok && next.IsZero():
		return normal
	default:
		return next
	}
}

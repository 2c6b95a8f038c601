package rotation

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// denied is called when the remote system refused the credential to a request that began at that time. It makes one
// read-only check, whoever else asks; if that fails too, the connection is paused, which is stored; else the refusal
// concerns the one role only, as works says then. While this goes on, no other request is made with the credential.
func (e *Engine) denied(ctx context.Context, s store, l *live, began time.Time) (works bool) {
	g := l.guard
	select {
	case g.checking <- struct{}{}:
		defer func() { <-g.checking }()
	case <-ctx.Done():
		return false
	}
	defer g.checked()
	g.drain(ctx, l.Timeout())
	l.mu.Lock()
	paused, proved := l.pause != nil, l.checked.After(began)
	l.mu.Unlock()
	if paused || proved {
		return !paused
	}
	at := e.clock()
	check, err := e.tryOut(ctx, s, l, false)
	var spent *spentError
	switch {
	case errors.As(err, &spent):
		e.pauseSpent(ctx, s, l, spent)
		return false
	case err != nil, ctx.Err() != nil:
		return false // storage is not there, or the engine is stopping: whoever comes next finds out
	case check.Outcome == provider.Applied:
		l.mu.Lock()
		l.checked = at
		l.mu.Unlock()
		return true
	}
	pause := &Pause{Revision: l.Revision, Since: at, Code: check.Code, Reason: pauseReason(check)}
	pause.NextProbe = e.nextProbe(ctx, s, l, check, 1)
	e.pause(ctx, s, l, pause)
	return false
}

// pause keeps all calls of a connection from being made, and says so once.
func (e *Engine) pause(ctx context.Context, s store, l *live, pause *Pause) {
	e.logger.Error("connection paused: the remote system refuses its credential", "connection", l.Name,
		"provider", l.Provider, "code", pause.Code, "reason", pause.Reason, "next_probe", stampOrNone(pause.NextProbe))
	e.storePause(ctx, s, l, pause)
}

// pauseSpent pauses a connection whose credential may be locked by one more refusal, if it is not paused yet.
func (e *Engine) pauseSpent(ctx context.Context, s store, l *live, spent *spentError) *Pause {
	pause := l.paused()
	if pause == nil {
		pause = &Pause{Revision: l.Revision, Since: e.clock(), Reason: spent.Error(), NextProbe: spent.next}
		e.pause(ctx, s, l, pause)
	}
	return pause
}

func (e *Engine) storePause(ctx context.Context, s store, l *live, pause *Pause) {
	l.mu.Lock()
	l.pause = pause
	l.mu.Unlock()
	e.board.paused(l, pause)
	if err := s.putPause(ctx, l.Name, pause); err != nil {
		e.logger.Error("the pause of a connection could not be stored", "connection", l.Name, "error", err)
	}
	if !pause.NextProbe.IsZero() {
		e.scheduler.probe(l.Name, pause.NextProbe)
	}
}

// pauseReason says why the connection is paused. A check that did not get through proves nothing of the credential, but
// then neither does it say that another try would not lock it.
func pauseReason(check provider.Result) string {
	if check.Outcome == provider.Denied {
		return check.Reason
	}
	return "it was refused for a change, and the check that followed did not get through (" + check.Reason + ")"
}

// probe makes the single call that may open a paused connection again.
func (e *Engine) probe(ctx context.Context, name string) {
	s := e.own()
	l, err := e.connection(ctx, s, name)
	if err != nil {
		return
	}
	pause := l.paused()
	if pause == nil {
		return
	}
	check, err := e.tryOut(ctx, s, l, false)
	next := *pause
	var spent *spentError
	switch {
	case errors.As(err, &spent):
		next.NextProbe = spent.next
	case err != nil:
		if ctx.Err() == nil { // storage is not there
			e.scheduler.probe(name, e.clock().Add(e.grow(firstBackoff, 4)))
		}
		return
	case check.Outcome == provider.Applied:
		e.resume(ctx, s, l, pause)
		return
	default:
		next.Probes++
		next.Code, next.Reason = check.Code, pauseReason(check)
		next.NextProbe = e.nextProbe(ctx, s, l, check, next.Probes+1)
	}
	e.storePause(ctx, s, l, &next)
	if next.NextProbe.IsZero() {
		e.logger.Error("a paused connection waits for a person: one more refusal could lock its credential", "connection", name, "provider", l.Provider)
	}
}

// resume opens a paused connection.
func (e *Engine) resume(ctx context.Context, s store, l *live, pause *Pause) {
	if err := s.storage.Delete(ctx, pausePrefix+l.Name); err != nil {
		e.logger.Error("the end of a pause could not be stored", "connection", l.Name, "error", err)
	}
	l.mu.Lock()
	l.pause = nil
	l.mu.Unlock()
	e.board.opened(l.Name)
	e.logger.Info("connection resumed", "connection", l.Name, "provider", l.Provider, "paused_since", stamp(pause.Since))
}

// nextProbe is when a paused connection is tried for the n-th time; the zero time: not before a person acts. Where the
// remote system refused the credential once more, the wait is long, and longest before the last try that cannot lock it;
// where it could not be asked, short.
func (e *Engine) nextProbe(ctx context.Context, s store, l *live, check provider.Result, n int) time.Time {
	now := e.clock()
	if check.Outcome != provider.Denied {
		return now.Add(e.grow(6*firstBackoff, n))
	}
	if !l.guard.counts() {
		return now.Add(e.grow(firstProbe, n))
	}
	stored, err := s.tries(ctx, l.guard.key)
	if err != nil {
		return now.Add(e.grow(firstProbe, n)) // the probe itself looks again
	}
	switch left := l.guard.limit() - stored.Refused - stored.Open; {
	case left > 1:
		return now.Add(e.grow(firstProbe, n))
	case left == 1:
		return now.Add(scaled(e.jitter(lastBackoff)))
	default:
		at, ok := l.guard.next(stored, now)
		if ok && at.IsZero() {
			at = now.Add(e.grow(firstProbe, n))
		}
		return at
	}
}

// triedAgain says when a paused connection is, as a clause.
func (p *Pause) triedAgain() string {
	if p.NextProbe.IsZero() {
		return "the present one is not tried again by itself, as one more refusal could lock it: if it works now, write it once more"
	}
	return "the present one is tried again at " + stamp(p.NextProbe)
}

// mayCall makes sure that the connection is not paused, and pauses it where one more refusal could lock its credential.
func (e *Engine) mayCall(ctx context.Context, s store, l *live, t *turn) error {
	if pause := l.paused(); pause != nil {
		return e.pausedError(l.Name, pause)
	}
	err := e.mayTry(ctx, s, t, false)
	var spent *spentError
	if errors.As(err, &spent) {
		return e.pausedError(l.Name, e.pauseSpent(ctx, s, l, spent))
	}
	return storageError("reading how often the credential of the connection "+l.Name+" was refused", err)
}

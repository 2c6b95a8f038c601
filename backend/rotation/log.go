package rotation

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// One line is logged for each decision: that a request was made and what came of it, that one has to wait, that a role needs
// a person, that a connection is paused or resumed. A role that fails for the same reason again and again is logged at the
// first, second, fourth, eighth, … time.

// log writes the line of a request that was made. before is the failure before it.
func (c *change) log(result provider.Result, began time.Time, attempt int, before *Failure) {
	args := []any{
		"role", c.role.Name, "connection", c.l.Name, "provider", c.l.Provider, "trigger", c.trigger, "attempt", attempt,
		"outcome", string(result.Outcome), "code", result.Code, "remote_request_id", result.RequestID,
		"took", c.e.clock().Sub(began).Round(time.Millisecond).String(),
	}
	switch result.Outcome {
	case provider.Applied:
		c.e.logger.Info("password changed", append(args, "next", stampOrNone(c.role.Due))...)
		return
	case provider.Staged:
		c.e.logger.Info("password taken, in force later", append(args, "waits_for", string(result.Stage), "next", stampOrNone(c.role.queued()))...)
		return
	default: // nothing was changed, or nobody knows
	}
	if c.role.Retry.Last.same(before) && !worth(attempt) {
		return
	}
	next, _ := c.role.nextAction(c.e.clock())
	c.e.logger.Warn("password not changed", append(args, "next", stampOrNone(next), "reason", result.Reason)...)
}

// logWait writes the line of a request that has to wait. before is the failure before it.
func (c *change) logWait(why obstacle, before *Failure) {
	if before != nil && before.Class == provider.Busy && before.Reason == why.text {
		return
	}
	c.e.logger.Info("password change waits", "role", c.role.Name, "connection", c.l.Name, "provider", c.l.Provider, "trigger", c.trigger,
		"next", stampOrNone(c.role.Retry.NextAttempt), "reason", why.text)
}

// stampOrNone is a time for the log.
func stampOrNone(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return stamp(t)
}

// worth tells whether the n-th time that the same happens is worth a line.
func worth(n int) bool { return n > 0 && bits.OnesCount(uint(n)) == 1 }

// complaints counts by role how often work on it has failed for the same reason before a request could be made. The zero
// value is empty.
type complaints struct {
	mu     sync.Mutex
	byRole map[string]complaint
}

type complaint struct {
	text  string
	times int
}

// more counts one, and tells whether it is worth a line.
func (c *complaints) more(role, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byRole == nil {
		c.byRole = map[string]complaint{}
	}
	known := c.byRole[role]
	if known.text != text {
		known = complaint{text: text}
	}
	known.times++
	c.byRole[role] = known
	return worth(known.times)
}

// over: a request could be made.
func (c *complaints) over(role string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byRole, role)
}

// complain tells of work in the background that came to no request.
func (e *Engine) complain(ctx context.Context, j job, err error) {
	var known *Error
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, ErrNoRole):
	case !errors.As(err, &known):
		if e.complaints.more(j.role, err.Error()) {
			e.logger.Warn("the role could not be worked on", "role", j.role, "connection", j.connection, "error", err)
		}
	case known.Kind == KindMistake:
		e.board.needs(j.role, sentence(known.Message))
		if e.complaints.more(j.role, known.Message) {
			e.logger.Warn("the role needs a person", "role", j.role, "connection", j.connection, "reason", known.Message)
		}
	default: // busy, or its connection is paused, which is told of the connection
	}
}

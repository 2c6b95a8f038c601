package rotation

import (
	"context"
	"errors"
)

// errLater: the next request of several could not be stored, and is made when the engine goes on by itself.
var errLater = errors.New("the next request could not be stored")

// store stores the role before a request or a wait. A write that reports an error may have been made all the same, and
// the engine would then send a password of which the request was told that it failed: it is taken back. Where an outcome
// is unstored, storing that does it.
func (c *change) store(ctx context.Context) error {
	loaded := c.loaded
	cause := c.s.putRole(ctx, c.role)
	if cause == nil {
		c.unstored, c.loaded = false, nil
		return nil
	}
	doing := "storing the new password of the role " + c.role.Name
	switch {
	case readOnly(cause), loaded == nil && !c.unstored:
		return storageError(doing, cause)
	case c.unstored:
		return errLater
	}
	ctx, cancel := lastEffort(ctx)
	defer cancel()
	if err := c.s.putRole(ctx, loaded); err != nil {
		return c.e.unsure(c.role.Name, cause)
	}
	return storageError(doing, cause)
}

// lastEffort is a context for a short storage call that must be tried though the request or the engine has ended.
func lastEffort(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeWait)
}

// unsure returns the error of a write of a role, and lets the engine look at what storage holds now: it may be what
// was to be written.
func (e *Engine) unsure(name string, err error) error {
	e.lookAt(name)
	return notStored("storing the role "+name, err)
}

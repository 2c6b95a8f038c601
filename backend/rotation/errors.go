package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// Kind says what a caller can do about an Error.
type Kind int

const (
	// KindMistake: the request was wrong. Asking again unchanged does not help. HTTP 400.
	KindMistake Kind = iota
	// KindUnreachable: the remote system cannot be reached, or refuses the connection's credential. Nothing was
	// changed. HTTP 502.
	KindUnreachable
	// KindBusy: the remote system or the role is busy, or the connection is paused. Nothing was changed. HTTP 503.
	KindBusy
)

// Error is an error for the person who made the request: what happened and what to do, without a secret.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

// Mistake returns an error of KindMistake.
func Mistake(format string, args ...any) error {
	return &Error{Kind: KindMistake, Message: fmt.Sprintf(format, args...)}
}

func unreachable(format string, args ...any) error {
	return &Error{Kind: KindUnreachable, Message: fmt.Sprintf(format, args...)}
}

func busy(format string, args ...any) error {
	return &Error{Kind: KindBusy, Message: fmt.Sprintf(format, args...)}
}

// ErrNoRole is returned where a role does not exist.
var ErrNoRole = errors.New("no such role")

// ErrRoleExists is returned where a role that is to be made exists.
var ErrRoleExists = errors.New("the role exists")

// ErrNoConnection is returned where a connection does not exist.
var ErrNoConnection = errors.New("no such connection")

// readOnly tells whether a storage error means that this node must not write. Errors of storage reach an external
// plugin as text, so that errors.Is alone does not find it.
func readOnly(err error) bool {
	return err != nil && (errors.Is(err, logical.ErrReadOnly) || strings.Contains(err.Error(), logical.ErrReadOnly.Error()))
}

// storageError makes an error of a read, or of a write that is known not to have been made, fit to be returned.
func storageError(doing string, err error) error {
	return fromStorage(err, doing+" was interrupted; nothing was changed, try again", doing)
}

// notStored is the same for a write: one that reports an error may have been made all the same.
func notStored(doing string, err error) error {
	const maybe = ", and may have been done all the same: ask again"
	return fromStorage(err, doing+" was interrupted"+maybe, doing+" failed"+maybe)
}

// fromStorage says what happened, where storage failed or the context ended; a bare ErrReadOnly where Vault has to forward
// the request.
func fromStorage(err error, interrupted, failed string) error {
	switch {
	case err == nil:
		return nil
	case readOnly(err):
		return logical.ErrReadOnly
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return busy("%s", interrupted)
	default:
		return fmt.Errorf("%s: %w", failed, err)
	}
}

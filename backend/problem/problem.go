// Package problem defines errors for users: they say what happened and what to do, and contain no secrets.
package problem

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Kind is the kind of an Error, as its HTTP status.
type Kind int

const (
	// KindMistake: the request is invalid, and repeating it does not help.
	KindMistake Kind = http.StatusBadRequest
	// KindUnreachable: the remote system cannot be reached, or refuses the connection's credential. Nothing was changed.
	KindUnreachable Kind = http.StatusBadGateway
	// KindBusy: the remote system or the role is busy, or the connection is paused. Nothing was changed.
	KindBusy Kind = http.StatusServiceUnavailable
	// KindFault: the plugin has a fault. It is not known what was done. A password that may have been sent is stored.
	KindFault Kind = http.StatusInternalServerError
)

// Error is an error for the user who made the request.
type Error struct {
	Kind    Kind
	Message string
	// Storage: Vault's storage failed, not the remote system.
	Storage bool
}

func (e *Error) Error() string { return e.Message }

// Mistake returns an error of KindMistake.
func Mistake(format string, args ...any) error {
	return &Error{Kind: KindMistake, Message: fmt.Sprintf(format, args...)}
}

// Unreachable returns an error of KindUnreachable.
func Unreachable(format string, args ...any) error {
	return &Error{Kind: KindUnreachable, Message: fmt.Sprintf(format, args...)}
}

// Busy returns an error of KindBusy.
func Busy(format string, args ...any) error {
	return &Error{Kind: KindBusy, Message: fmt.Sprintf(format, args...)}
}

// Errors that callers test for.
var (
	// ErrNoRole: the role does not exist.
	ErrNoRole = errors.New("no such role")
	// ErrRoleExists: the role to create already exists.
	ErrRoleExists = errors.New("the role exists")
	// ErrNoConnection: the connection does not exist.
	ErrNoConnection = errors.New("no such connection")
	// ErrGivenUp: a request stopped waiting before anything was done for it.
	ErrGivenUp = Busy("nothing was changed, because the request ended before its turn. Try again")
	// ErrFull: no slot or permit is free. Workers do not wait for one, because they would starve other connections.
	ErrFull = Busy("nothing was changed, because the connection already runs as many changes as max_in_flight allows. Try again")
	// ErrPanicked: the code that handled the request panicked.
	ErrPanicked error = &Error{Kind: KindFault, Message: "the plugin has a fault, and this request hit it. It is not known what the request changed, but no password is lost. " +
		"Read status/:name of the role before you try again, and report the stack trace in Vault's log"}
)

// effect matches messages that say what became of their request.
var effect = regexp.MustCompile(`(?i)nothing was|(was|has) not (been )?(changed|set|sent|stored|created|deleted|confirmed)|may have taken effect`)

// Unchanged returns the message of a request that changed nothing. It begins with that, unless the message says what became
// of the request.
func Unchanged(message string) string {
	if effect.MatchString(message) {
		return message
	}
	return "nothing was changed: " + message
}

// OfOutcome returns the error for a call that did not change the password. It returns nil for an outcome that does not
// prove that.
func OfOutcome(outcome provider.Outcome, text string) error {
	switch outcome {
	case provider.Rejected, provider.Mismatch:
		return Mistake("%s", text)
	case provider.Busy:
		return Busy("%s", text)
	case provider.Denied, provider.Unreachable:
		return Unreachable("%s", text)
	default:
		return nil
	}
}

// ReadOnly reports whether a storage error means that this node must not write. Storage errors reach an external plugin as
// text, so errors.Is alone is not enough.
func ReadOnly(err error) bool {
	return err != nil && (errors.Is(err, logical.ErrReadOnly) || strings.Contains(err.Error(), logical.ErrReadOnly.Error()))
}

// InSetup reports whether Vault refused a write because it has not finished setting up the mount. It also does so for a mount
// whose plugin could not be started when Vault was unsealed.
func InSetup(err error) bool {
	return err != nil && (errors.Is(err, logical.ErrSetupReadOnly) || strings.Contains(err.Error(), logical.ErrSetupReadOnly.Error()))
}

// SetupReason says what InSetup found, as a clause.
const SetupReason = "Vault does not accept writes to the storage of this mount yet (cannot write to storage during setup)"

// Refused reports whether a storage error means that the write had no effect.
func Refused(err error) bool { return ReadOnly(err) || InSetup(err) }

// Storage returns an error of a read, or of a write that is known to have had no effect, as one for the user. doing
// describes the operation ("reading role db"). A nil error stays nil.
func Storage(doing string, err error) error {
	return storage(err, doing, ": nothing was changed. Try again", "")
}

// NotStored is Storage for a write that may have taken effect although it returned an error.
func NotStored(doing string, err error) error {
	const maybe = ". It may have taken effect: read it back before you try again"
	return storage(err, doing, maybe, maybe)
}

// NotSent is Storage for the write before a call, which was not made. If stored, the write may have taken effect.
func NotSent(doing, role string, stored bool, err error) error {
	after := ". Nothing was sent, and the password is what it was. Try again"
	if stored {
		after = ". Nothing was sent. But the write may have taken effect, and then the engine sends the password later: read status/" + role + " before you try again"
	}
	return storage(err, doing, after, after)
}

// storage returns the error of a storage operation, and what follows from it if the context ended, or if it failed. It returns
// logical.ErrReadOnly unwrapped, because Vault forwards the request only then.
func storage(err error, doing, interrupted, failed string) error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case ReadOnly(err):
		return logical.ErrReadOnly
	case InSetup(err):
		return &Error{Kind: KindBusy, Storage: true, Message: "nothing was changed and nothing was sent, because " + SetupReason + ". Try again; if Vault is unsealed and this lasts, seal and unseal this Vault node, or restart it (reloading the plugin does not help)"}
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Busy("%s was interrupted%s", doing, interrupted)
	default:
		return fmt.Errorf("%s failed: %w%s", doing, err, failed)
	}
}

// LogPanic logs a panic and reports whether there was one. cause is the result of recover. The plugin's process serves
// other mounts too, so a panic must not end it. The value of the panic is not logged, because it may contain a secret.
func LogPanic(logger hclog.Logger, cause any, doing string, args ...any) bool {
	if cause == nil {
		return false
	}
	logger.Error("recovered from a panic: please report this", append(args, "doing", doing, "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))...)
	return true
}

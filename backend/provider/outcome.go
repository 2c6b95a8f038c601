package provider

import "time"

// Outcome is what a response of a remote system proves.
type Outcome string

const (
	// Applied: the remote system confirmed that the new password is in force (or the check).
	Applied Outcome = "applied"
	// Staged: the remote system accepted the change, which comes into force later; see Result.Stage.
	Staged Outcome = "staged"
	// Rejected: the remote system refused the request and changed nothing. Result.Scope is what it refused: the
	// password (ScopePassword), the account or request (ScopeTarget), or requests for any account (ScopeConnection), for
	// example because its license has expired.
	Rejected Outcome = "rejected"
	// Mismatch: the remote system reports that the old password is wrong; this call changed nothing.
	Mismatch Outcome = "mismatch"
	// Busy: the remote system proved, by its own error envelope or by HTTP 429, that it did nothing because it is
	// busy, throttles requests, or has temporarily locked the account (ScopeTarget) or the login (ScopeConnection).
	Busy Outcome = "busy"
	// Denied: the remote system refused the connection's credential (ScopeConnection: more attempts may lock it) or
	// its permission for this account (ScopeTarget); nothing was changed.
	Denied Outcome = "denied"
	// Unreachable: the modifying request was not sent (no connection, no TLS, no session), or was refused before it
	// did anything and could not be sent again.
	Unreachable Outcome = "unreachable"
	// Unknown: anything else. The change may have been made, may be made later, or may never be made.
	Unknown Outcome = "unknown"
)

// Unchanged reports whether the outcome proves that this request changed nothing.
func (o Outcome) Unchanged() bool {
	switch o {
	case Rejected, Mismatch, Busy, Denied, Unreachable:
		return true
	default:
		return false
	}
}

// Scope is what an outcome applies to.
type Scope string

const (
	// ScopePassword: this password only; another one may be accepted.
	ScopePassword Scope = "password"
	// ScopeTarget: this account only.
	ScopeTarget Scope = "target"
	// ScopeConnection: every account of the connection.
	ScopeConnection Scope = "connection"
)

// Stage is what a staged change waits for.
type Stage string

const (
	// StageAccepted: the remote system has queued the change.
	StageAccepted Stage = "accepted"
	// StageRestart: the change comes into force at the next start.
	StageRestart Stage = "restart_required"
)

// Result is the outcome of one call and what an operator needs to know about it. It must never hold free text from a
// response, which could contain secrets: Code, RequestID and the numbers are parsed, and Reason is in the provider's
// own words.
type Result struct {
	Outcome Outcome
	Scope   Scope
	// Stage is what an accepted change waits for; set with Staged and with Taken.
	Stage Stage

	// Taken lists the parts of the target that took the change although others did not; Outcome then applies to the
	// others. Empty with Staged and Applied, which apply to all parts of the Change.
	Taken []string
	// Failures explains why parts did not take the change, if the remote system reports it for each part.
	Failures []PartFailure

	// Exclusive: the remote system verified the old password before it applied this change, so no earlier change that
	// is still in progress can take effect after it.
	Exclusive bool

	// Confirmed, with Unknown: the remote system confirmed the change, but has not reported it in force. Once CheckTarget
	// returns Applied, it is.
	Confirmed bool

	// Code is the remote system's own error code ("1013", "DCS.4961"), or "HTTP 502" if it gave none.
	Code string
	// RequestID is the remote system's identifier of the call, for its support.
	RequestID string
	// Reason is one sentence for operators about what happened.
	Reason string
	// RetryAfter is how long the remote system asks to wait before a retry; 0 if it did not say.
	RetryAfter time.Duration
	// Misconfigured: a field of the connection is wrong, such as an address whose host does not exist, so only another
	// write of the connection helps.
	Misconfigured bool
	// System identifies the remote system, whatever address it was reached at: set by a successful check if the system
	// has an identifier of its own, which must be hashed. No other system may be able to claim it: whoever may write a
	// connection could otherwise have his server pass for another one, whose accounts would then be taken.
	System string
	// Unseen: the credential was sent and the response does not tell whether it was refused, although the outcome
	// proves that nothing was changed. The outcome Unknown implies it.
	Unseen bool
	// Accepted: the remote system accepted the credential, although the outcome is Unknown. The outcomes Applied, Staged
	// and Mismatch imply it.
	Accepted bool
	// Unsent: this call did not send the credential, so the outcome is no new proof that it works or is refused.
	Unsent bool
	// TriesLeft is how many more wrong old passwords the remote system accepts before it locks the account; nil if it
	// did not say.
	TriesLeft *int
}

// Unsendable returns the result of a call that was not made, because the client itself rejects it.
func Unsendable(scope Scope, reason string) Result {
	return Result{Outcome: Rejected, Scope: scope, Reason: reason + "; nothing was sent"}
}

// PartFailure explains why one part of a target did not take a change.
type PartFailure struct {
	Part string `json:"part"`
	// Code is the remote system's own error code, or "".
	Code string `json:"code,omitempty"`
	// Reason is one clause for operators about what happened, in the provider's own words.
	Reason string `json:"reason"`
}

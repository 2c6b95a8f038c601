package provider

import "time"

// Outcome is what an answer of a remote system proves.
type Outcome string

const (
	// Applied: the remote system confirmed the change (or the check).
	Applied Outcome = "applied"
	// Staged: the remote system took the change and puts it in force later; see Result.Stage.
	Staged Outcome = "staged"
	// Rejected: the remote system refused, and changed nothing. Result.Scope says what it refused: the password
	// (ScopePassword) or the account or request (ScopeTarget).
	Rejected Outcome = "rejected"
	// Mismatch: the remote system says that the old password is wrong; this call changed nothing.
	Mismatch Outcome = "mismatch"
	// Busy: the remote system proved, by its own envelope or by HTTP 429, that it did nothing because it is busy,
	// throttles, or has locked the account (ScopeTarget) or the login (ScopeConnection) for a while.
	Busy Outcome = "busy"
	// Denied: the remote system refused the connection's credential (ScopeConnection: more tries may lock it) or its
	// rights to this account (ScopeTarget); nothing was changed.
	Denied Outcome = "denied"
	// Unreachable: the request that would change something was not sent (no connection, no TLS, no session), or was
	// refused before it did anything and could not be sent again.
	Unreachable Outcome = "unreachable"
	// Unknown: anything else. The change may have been made, may be made later, or not at all.
	Unknown Outcome = "unknown"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{Applied, Staged, Rejected, Mismatch, Busy, Denied, Unreachable, Unknown}
}

// Unchanged tells whether the outcome proves that this very request changed nothing.
func (o Outcome) Unchanged() bool {
	switch o {
	case Rejected, Mismatch, Busy, Denied, Unreachable:
		return true
	default:
		return false
	}
}

// Scope says whom an outcome concerns.
type Scope string

const (
	// ScopePassword: this password only; another one may do.
	ScopePassword Scope = "password"
	// ScopeTarget: this account only.
	ScopeTarget Scope = "target"
	// ScopeConnection: every account of the connection.
	ScopeConnection Scope = "connection"
)

// Stage says what a staged change waits for.
type Stage string

const (
	// StageAccepted: the remote system has queued the change.
	StageAccepted Stage = "accepted"
	// StageRestart: the change comes into force at the next start.
	StageRestart Stage = "restart_required"
)

// Result is the outcome of one call and what an operator has to know about it. Nothing in it may come from the text of
// an answer, which could hold anything: Code, RequestID and the numbers are parsed, Reason is the provider's own words.
type Result struct {
	Outcome Outcome
	Scope   Scope
	// Stage says what a change waits for that was taken; set with Staged and with Taken.
	Stage Stage

	// Taken names the parts of the target that took the change although the others did not: Outcome is then that of
	// the others. Empty with Staged and Applied, which are for all parts of the Change.
	Taken []string
	// Failures says of parts that did not take the change why not, where the remote system tells them apart.
	Failures []PartFailure

	// Exclusive: the remote system applied this change because the old password was right, so that no earlier change
	// that is still under way can follow it.
	Exclusive bool

	// Code is the remote system's own error code ("1013", "DCS.4961"), or "HTTP 502" where it gave none.
	Code string
	// RequestID is the remote system's identifier of the call, for its support.
	RequestID string
	// Reason is one sentence about what happened, for operators.
	Reason string
	// RetryAfter is the remote system's hint when to come back; 0: none.
	RetryAfter time.Duration
	// Unseen: the credential was shown and the answer does not tell whether it was refused, although the outcome proves that
	// nothing was changed. With the outcome Unknown that goes without saying.
	Unseen bool
	// TriesLeft is how many more wrong old passwords the remote system takes before it locks the account; nil: it
	// did not say.
	TriesLeft *int
}

// PartFailure is why one part of a target did not take a change.
type PartFailure struct {
	Part string `json:"part"`
	// Code is the remote system's own error code, or "".
	Code string `json:"code,omitempty"`
	// Reason is one clause about what happened, for operators, in the provider's own words.
	Reason string `json:"reason"`
}

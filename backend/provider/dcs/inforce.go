package dcs

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// The service answers a change before it is in force: the account is UPDATING until then. Huawei's own Terraform provider
// lists the accounts every two seconds after a reset, until the account is AVAILABLE again:
// https://github.com/huaweicloud/terraform-provider-huaweicloud
const (
	pollInterval = 2 * time.Second
	// pollMargin is the time that a list may take. Without it, a timeout would hide the result.
	pollMargin = time.Second
)

// inForce completes the result of a change that the service has confirmed: Applied once the account is available, and
// Unknown if the list of accounts does not show that before the deadline. The first poll is at once, so that a change that
// is already in force costs no time. Only an answer of the service itself is followed by another poll: any other may hide
// a refused credential, and the engine counts one for the whole change.
func (c *Client) inForce(ctx context.Context, a account, confirmed provider.Result) provider.Result {
	for {
		listed := c.find(ctx, a, true)
		if listed.Outcome == provider.Applied {
			return confirmed
		}
		if listed.Outcome == provider.Busy && listed.Scope == provider.ScopeTarget && pause(ctx) {
			continue
		}
		confirmed.Unseen = listed.Unseen || listed.Outcome == provider.Denied // it counts
		confirmed.Outcome, confirmed.Code = provider.Unknown, listed.Code
		confirmed.Confirmed = listed.Outcome != provider.Rejected // the account can still become available
		confirmed.Accepted = listed.Outcome == provider.Rejected || listed.Outcome == provider.Busy && listed.Scope == provider.ScopeTarget
		confirmed.Reason = "the remote system confirmed the new password, but has not reported it in force: " + listed.Reason
		return confirmed
	}
}

// pause waits for the next poll. It returns false if there is no time left for one.
func pause(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pollInterval+pollMargin {
		return false
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

package dcs

import (
	"context"
	"crypto/sha256"
	"sync"
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
func (c *Client) inForce(ctx context.Context, a account, password string, confirmed provider.Result) provider.Result {
	for {
		listed := c.find(ctx, a, true)
		if listed.Outcome == provider.Applied {
			return confirmed
		}
		if listed.Outcome == provider.Busy && listed.Scope == provider.ScopeTarget && pause(ctx) {
			continue
		}
		if listed.Outcome != provider.Rejected { // the account can still become available
			c.confirmed.add(a, password, confirmed)
		}
		confirmed.Unseen = listed.Unseen || listed.Outcome == provider.Denied // it counts
		confirmed.Outcome, confirmed.Exclusive, confirmed.Code = provider.Unknown, false, listed.Code
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

// confirmations holds changes that the service confirmed, but did not put in force before the deadline. A repetition of
// such a change need not be sent, which would present an old password that is wrong by now and waste an attempt. They are
// in memory only: without them, the engine finds out with that attempt. The zero value is empty.
type confirmations struct {
	mu   sync.Mutex
	last map[string]confirmation // by account: its last change
}

type confirmation struct {
	password [sha256.Size]byte
	result   provider.Result
	until    time.Time
}

// confirmedFor is how long a confirmation is kept. It covers the engine's longest retry interval, an hour.
const confirmedFor = 2 * time.Hour

func (c *confirmations) add(a account, password string, result provider.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[string]confirmation{}
	}
	c.last[a.name()] = confirmation{sha256.Sum256([]byte(password)), result, time.Now().Add(confirmedFor)}
}

// take removes the confirmation of the account's last change, and returns its result if that set this password.
func (c *confirmations) take(a account, password string) (provider.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.last[a.name()]
	delete(c.last, a.name())
	return known.result, ok && known.password == sha256.Sum256([]byte(password)) && time.Now().Before(known.until)
}

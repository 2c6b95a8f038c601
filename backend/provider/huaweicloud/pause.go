package huaweicloud

import (
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// refusalPause is how long a refused credential is not shown again, but by a probe: the calls that were under way
// together would otherwise add up to a lock.
const refusalPause = 5 * time.Second

// pause remembers for a moment that the credential was refused. It is safe for concurrent use.
type pause struct {
	now func() time.Time

	mu     sync.Mutex
	result provider.Result
	until  time.Time
}

// begin starts a pause with the refusal that every call gets meanwhile.
func (p *pause) begin(result provider.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result, p.until = result, p.now().Add(refusalPause)
}

// end lets the credential be shown again.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
}

// check returns the refusal as an *AuthError during a pause, else nil.
func (p *pause) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Before(p.until) {
		return &AuthError{Result: p.result}
	}
	return nil
}

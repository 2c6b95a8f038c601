package huaweicloud

import (
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// refusalPause is how long a refused credential is not sent again, except by a probe: otherwise concurrent calls could
// add up to a lock.
const refusalPause = 5 * time.Second

// pause holds back a refused credential for a short time. It is safe for concurrent use.
type pause struct {
	now func() time.Time

	mu     sync.Mutex
	result provider.Result
	until  time.Time
}

// begin starts a pause, during which every call returns this refusal.
func (p *pause) begin(result provider.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result, p.until = result, p.now().Add(refusalPause)
	p.result.Unsent = true // as a result of later calls
}

// end allows the credential to be sent again.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
}

// check returns the refusal during a pause, else nil.
func (p *pause) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Before(p.until) {
		return &transport.Error{Result: p.result}
	}
	return nil
}

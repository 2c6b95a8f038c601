package huaweicloud

import (
	"sync"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// pause holds back a refused credential until a check sends it again: otherwise concurrent calls could add up to a lock. It is
// safe for concurrent use.
type pause struct {
	mu sync.Mutex
	// refusal is what every call returns; nil if there is no pause.
	refusal *transport.Error
}

// begin starts a pause, during which every call returns this refusal.
func (p *pause) begin(result provider.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	result.Unsent = true // as a result of later calls
	p.refusal = &transport.Error{Result: result}
}

// end allows the credential to be sent again.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = nil
}

// check returns the refusal during a pause, else nil.
func (p *pause) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusal == nil {
		return nil
	}
	return p.refusal
}

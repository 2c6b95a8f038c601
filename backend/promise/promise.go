// Package promise coordinates a request with the work that it waits for, so that the response never says that nothing was
// changed while the work continues, or that the work continues while it is undone. It does not know what the work is.
package promise

import "sync/atomic"

// Promise is between one request and its work. A nil Promise is committed. Its methods may be called concurrently.
type Promise struct{ state atomic.Int32 }

// End is how a request stopped waiting.
type End int32

// States of a Promise.
const (
	open      int32 = iota
	committed       // the work may change something
	abandoned       // the response says that nothing was changed
	left            // the response says that the work continues
	claimed         // the request waits for the result of the work
)

// The ends of a wait.
const (
	// Abandoned: the work has changed nothing, and will not.
	Abandoned = End(abandoned)
	// Left: the work continues without the request.
	Left = End(left)
	// Claimed: the work is about to end, and the request has to wait for its result.
	Claimed = End(claimed)
)

// Commit is called by the work before its first change, and reports whether the work may make it.
func (p *Promise) Commit() bool {
	return p == nil || p.state.CompareAndSwap(open, committed) || p.state.Load() != abandoned
}

// Committed reports whether the work may have changed something.
func (p *Promise) Committed() bool {
	return p == nil || p.state.Load() == committed || p.state.Load() == left
}

// Claim is called by the work before it undoes its changes. It returns false if the response says that the work continues.
func (p *Promise) Claim() bool {
	return p == nil || p.state.CompareAndSwap(open, claimed) || p.state.CompareAndSwap(committed, claimed)
}

// Leave is called by the request when it stops waiting.
func (p *Promise) Leave() End {
	if p.state.CompareAndSwap(open, abandoned) {
		return Abandoned
	}
	p.state.CompareAndSwap(committed, left)
	return End(p.state.Load())
}

package modelcheck

import (
	"testing/synctest"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// crashPoint is where a node may crash.
type crashPoint string

const (
	beforeWrite crashPoint = "before a write"
	afterWrite  crashPoint = "after a write"
	onArrival   crashPoint = "as the request arrives"
	onAnswer    crashPoint = "as the answer leaves"
)

// crash is a crash to come: when its point is reached for the n-th time.
type crash struct {
	at crashPoint
	in int
}

// node is one life of the plugin, from start to end.
type node struct {
	w      *world
	number int
	engine *rotation.Engine
	store  *nodeStorage
	dead   bool
	gone   chan struct{} // closed when it dies
	crash  *crash
	gate   gate
	// faultAt is when one of its storage operations last failed.
	faultAt time.Time
	// atOnce counts its storage operations at one moment.
	atOnce       int
	atOnceMoment time.Time
	// operators and readers count the requests in flight that may change an account's password.
	operators, readers map[*account]int
}

// boot starts a node on what storage holds.
func (w *world) boot() {
	w.nodes++
	n := &node{w: w, number: w.nodes, gone: make(chan struct{}), operators: map[*account]int{}, readers: map[*account]int{}}
	n.store = &nodeStorage{w: w, node: n}
	types := make([]provider.Type, 0, len(specs))
	for _, s := range specs {
		types = append(types, &kind{spec: s, node: n})
	}
	n.engine = rotation.New(rotation.Config{
		Types: types, Random: &source{w: w}, Login: n.login, Writable: func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !n.dead && w.fault != readOnly
		},
	})
	w.node = n
	n.engine.Start(n.store)
	go n.wake()
	synctest.Wait()
}

// wake calls the engine as Vault's periodic function does.
func (n *node) wake() {
	minutes := time.NewTicker(time.Minute)
	defer minutes.Stop()
	for {
		select {
		case <-minutes.C:
			n.engine.Wake()
		case <-n.gone:
			return
		}
	}
}

// crashes reports whether the node is dead, or dies at this point. w.mu is held.
func (n *node) crashes(at crashPoint, what string) bool {
	if n.dead {
		return true
	}
	if n.crash == nil || n.crash.at != at {
		return false
	}
	if n.crash.in--; n.crash.in > 0 {
		return false
	}
	n.w.note("   the process is killed %s (%s)", at, what)
	n.kill()
	return true
}

// kill ends the node: nothing that it does has an effect any more. w.mu is held.
func (n *node) kill() {
	if !n.dead {
		n.dead = true
		close(n.gone)
	}
}

// replaceNode kills the node if it is alive, and boots another one.
func (w *world) replaceNode() {
	old := w.node
	w.mu.Lock()
	var at crashPoint
	if old.crash != nil && old.crash.in <= 0 {
		at = old.crash.at
	}
	old.kill()
	for _, acc := range w.accounts {
		acc.nodeDied(old)
		acc.background = nil
		if at != "" {
			w.cover.count(acc.columns(), "crash: "+string(at))
		}
	}
	w.mu.Unlock()
	go old.engine.Stop()
	w.boot()
}

// restart stops the plugin in good order, and starts it again after a while.
func (w *world) restart(after time.Duration) {
	w.node.engine.Stop()
	w.mu.Lock()
	w.node.kill()
	w.mu.Unlock()
	time.Sleep(after)
	w.replaceNode()
}

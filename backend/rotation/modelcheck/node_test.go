package modelcheck

import (
	"testing/synctest"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// moment is where a node may die.
type moment string

const (
	beforeWrite moment = "before a write"
	afterWrite  moment = "after a write"
	onArrival   moment = "as the request arrives"
	onAnswer    moment = "as the answer leaves"
)

// death is how a node is to die: at the moment's n-th time.
type death struct {
	at moment
	in int
}

// node is one life of the plugin, from its start to its end.
type node struct {
	w      *world
	number int
	engine *rotation.Engine
	store  *handle
	dead   bool
	gone   chan struct{} // closed when it dies
	death  *death
}

// boot starts the plugin on what the disk holds.
func (w *world) boot() {
	w.lives++
	n := &node{w: w, number: w.lives, gone: make(chan struct{})}
	n.store = &handle{w: w, node: n}
	types := make([]provider.Type, 0, len(specs))
	for _, s := range specs {
		types = append(types, &kind{spec: s, node: n})
	}
	n.engine = rotation.New(rotation.Config{
		Types: types, Random: &source{w: w}, Writable: func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !n.dead && w.trouble != readOnly
		},
	})
	w.node = n
	n.engine.Start(n.store)
	synctest.Wait()
}

// dies tells whether the node is dead, or dies at this moment. w.mu is held.
func (n *node) dies(at moment, what string) bool {
	if n.dead {
		return true
	}
	if n.death == nil || n.death.at != at {
		return false
	}
	if n.death.in--; n.death.in > 0 {
		return false
	}
	n.w.note("   the process is killed %s (%s)", at, what)
	n.kill()
	return true
}

// kill ends the node's life: nothing that it does has an effect any more. w.mu is held.
func (n *node) kill() {
	if !n.dead {
		n.dead = true
		close(n.gone)
	}
}

// bury waits for what a dead node still does, which has no effect, and boots another.
func (w *world) bury() {
	old := w.node
	w.mu.Lock()
	var at moment
	if old.death != nil && old.death.in <= 0 {
		at = old.death.at
	}
	old.kill()
	for _, acc := range w.accounts {
		acc.forsake(old)
		acc.busy = nil
		if at != "" {
			w.cover.count(acc.state, "crash: "+string(at))
		}
	}
	w.mu.Unlock()
	go old.engine.Stop()
	w.boot()
}

// restart ends the plugin in good order, and starts it again.
func (w *world) restart() {
	w.node.engine.Stop()
	w.bury()
}

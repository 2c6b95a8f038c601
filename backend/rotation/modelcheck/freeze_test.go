package modelcheck

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// freeze freezes the mount for a while.
func (w *world) freeze(acc *account) {
	d := []time.Duration{90 * time.Second, 20 * time.Minute, 4 * time.Hour}[w.rng.IntN(3)]
	w.changeFreeze(acc, "freeze the mount for "+d.String()+", drawn for", func(ctx context.Context, n *node) (*roles.Report, error) {
		_, err := n.engine.Gate.Write(ctx, n.store, d, "maintenance")
		return nil, err
	})
}

func (w *world) endFreeze(acc *account) {
	w.changeFreeze(acc, "end the freeze, drawn for", func(ctx context.Context, n *node) (*roles.Report, error) {
		return nil, n.engine.Gate.End(ctx, n.store)
	})
}

// changeFreeze makes a request that changes the freeze. Where storage fails, the freeze may be in force or not.
func (w *world) changeFreeze(acc *account, what string, r request) {
	n := w.node
	a, ok := w.call(acc, what, false, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	mistake, isMistake := errors.AsType[*problem.Error](a.err)
	switch {
	case !ok || isMistake && mistake.Kind == problem.KindMistake: // the node is dead, or nothing was changed
	case a.err != nil:
		n.gate.unsure = true
	default:
		n.gate.freeze, n.gate.since, n.gate.unsure = entry[role.Freeze](w, store.FreezeKey), w.now(), false
	}
}

func (w *world) writeSettings(acc *account) {
	n, limit := w.node, []int{60, 900, store.DefaultCatchUpLimit}[w.rng.IntN(3)]
	for _, other := range w.accounts {
		other.read = lastRead{} // the connection cache is cold until roles are read again
	}
	w.call(acc, "write catch_up_limit, drawn for", false, func(ctx context.Context, n *node) (*roles.Report, error) {
		return nil, n.engine.Gate.WriteSettings(ctx, n.store, func(s *store.Settings) { s.CatchUpLimit = limit })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	n.gate.step = 0 // it read the settings to write them
}

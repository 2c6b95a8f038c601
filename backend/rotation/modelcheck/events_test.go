package modelcheck

import (
	"context"
	"fmt"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// event is one thing that may happen to an account.
type event struct {
	name   string
	weight int
	// on tells whether it can happen; nil: always.
	on func(w *world, acc *account) bool
	do func(w *world, acc *account)
}

func there(_ *world, acc *account) bool  { return acc.state != "" }
func absent(_ *world, acc *account) bool { return acc.state == "" }

func hasParts(w *world, acc *account) bool { return there(w, acc) && len(acc.parts) > 1 }

// requests are what people and programs ask for.
var requests = []event{
	{"create", 40, absent, func(w *world, acc *account) { w.create(acc, false) }},
	{"adopt", 20, absent, func(w *world, acc *account) { w.create(acc, true) }},
	{"create again", 1, there, func(w *world, acc *account) { w.create(acc, false) }},
	{"read", 2, there, func(w *world, acc *account) {
		w.ask(acc, "read", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
			return n.engine.Read(ctx, n.store, acc.role)
		})
	}},
	{"first read", 3, there, func(w *world, acc *account) {
		w.ask(acc, "first read of", w.chance(15), func(ctx context.Context, n *node) (*rotation.Report, error) {
			return n.engine.Serve(ctx, n.store, acc.role)
		})
	}},
	{"explain", 2, there, func(w *world, acc *account) {
		w.ask(acc, "explain", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
			status, err := n.engine.Explain(ctx, n.store, acc.role)
			return status.Report, err
		})
	}},
	{"rotate", 14, there, func(w *world, acc *account) { w.rotate(acc, 0) }},
	{"rotate if the version is the present one", 3, there, func(w *world, acc *account) { w.rotate(acc, max(1, w.version(acc))) }},
	{"rotate if the version is an old one", 1, there, func(w *world, acc *account) { w.rotate(acc, max(1, w.version(acc)-1)) }},
	{"rotate if the version is one to come", 1, there, func(w *world, acc *account) { w.rotate(acc, w.version(acc)+7) }},
	{"set a new password", 4, there, func(w *world, acc *account) {
		w.made++
		w.setPassword(acc, fmt.Sprintf("given%06d", w.made))
	}},
	{"set a password that was given before", 2, func(w *world, acc *account) bool { return there(w, acc) && len(acc.given) > 0 },
		func(w *world, acc *account) { w.setPassword(acc, acc.given[w.dice.IntN(len(acc.given))]) }},
	{"set a password that breaks the rules", 1, there, func(w *world, acc *account) { w.setPassword(acc, "short") }},
	{"confirm what works", 4, there, (*world).confirmTruth},
	{"confirm any version", 2, there, func(w *world, acc *account) {
		w.confirm(acc, rotation.Word{Version: w.anyVersion(acc)})
	}},
	{"confirm on some servers", 4, hasParts, (*world).confirmServers},
	{"confirm a password from elsewhere", 2, there, func(w *world, acc *account) {
		w.confirm(acc, rotation.Word{Password: acc.parts[w.dice.IntN(len(acc.parts))].held})
	}},
	{"confirm a password that nobody knows", 1, there, func(w *world, acc *account) { w.confirm(acc, rotation.Word{Password: acc.foreign()}) }},
	{"discard what does not work", 3, there, (*world).discardTruth},
	{"discard any version", 2, there, func(w *world, acc *account) {
		w.confirm(acc, rotation.Word{Version: w.anyVersion(acc), Discard: true})
	}},
	{"update", 2, there, (*world).update},
	{"delete", 1, there, func(w *world, acc *account) { w.delete(acc, false) }},
	{"delete with force", 1, there, func(w *world, acc *account) { w.delete(acc, true) }},
	{"write the connection", 1, there, func(w *world, acc *account) {
		timeout, most := []int{5, 30}[w.dice.IntN(2)], []int{1, 4}[w.dice.IntN(2)]
		w.writeConnection(acc, "write", rotation.Patch{RequestTimeout: &timeout, MaxInFlight: &most, Settings: provider.Settings{"note": fmt.Sprint(w.dice.IntN(9))}})
	}},
	{"write the right credential", 3, there, func(w *world, acc *account) {
		w.writeConnection(acc, "write the right credential of", rotation.Patch{Settings: provider.Settings{"key": acc.system.key}})
	}},
	{"write a wrong credential", 1, there, func(w *world, acc *account) {
		check := w.chance(70)
		w.writeConnection(acc, "write a wrong credential of", rotation.Patch{Settings: provider.Settings{"key": "wrong"}, VerifyConnection: &check})
	}},
	{"delete the connection", 1, there, func(w *world, acc *account) {
		w.ask(acc, "delete the connection of", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
			return nil, n.engine.DeleteConnection(ctx, n.store, acc.system.name)
		})
	}},
}

// version is that of the password that creds gives.
func (w *world) version(acc *account) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if role := w.role(acc.role); role != nil {
		return version(role.Record.View(w.now()).Password)
	}
	return 0
}

// anyVersion is one that the record holds, mostly.
func (w *world) anyVersion(acc *account) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if role := w.role(acc.role); role != nil && !w.chance(10) {
		if list := role.Record.List(); len(list) > 0 {
			return list[w.dice.IntN(min(3, len(list)))].Version
		}
	}
	return 1 + w.dice.IntN(20)
}

func (w *world) create(acc *account, adopt bool) {
	in := rotation.NewRole{
		Name: acc.role, Connection: acc.system.name, Target: provider.Settings{"login": acc.login},
		Options: rotation.Options{
			RotationMode: rotation.ModeAuto, MaxReadTTL: 300, OnDrift: rotation.DriftReport,
			HistorySize: []int{0, 1, 5}[w.dice.IntN(3)], SkipInitialRotation: adopt,
		},
	}
	if acc.system.spec.old && w.chance(10) {
		in.Target["method"] = reset
	}
	if acc.system.spec.old && in.Target["method"] == nil || adopt && w.chance(70) {
		in.Password = acc.parts[0].held
		if w.chance(10) {
			in.Password = acc.foreign()
		}
	}
	if w.disk.entries["config/"+acc.system.name] == nil {
		w.makeConnection(acc)
	}
	was := w.disk.entries[rolePrefix+acc.role] != nil // it may be there, and storage does not say so
	w.ask(acc, "create", w.chance(10), func(ctx context.Context, n *node) (*rotation.Report, error) {
		return n.engine.Create(ctx, n.store, in)
	})
	if in.Password == "" || was {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if role := w.role(acc.role); role != nil && holds(role.Record.List(), in.Password) {
		acc.hear(in.Password, acc.parts)
	}
}

func (w *world) makeConnection(acc *account) {
	kind, url := acc.system.spec.name, acc.system.url
	check := false
	w.writeConnection(acc, "make the connection of", rotation.Patch{
		Provider: &kind, Address: &url, AllowedRoles: &[]string{"*"}, VerifyConnection: &check, Settings: provider.Settings{"key": acc.system.key},
	})
}

func (w *world) writeConnection(acc *account, what string, patch rotation.Patch) (done bool) {
	for _, other := range w.accounts {
		other.system.trusted, other.seen = nil, seen{} // the cache of connections is cold, which the next look at the roles mends
	}
	if patch.Settings.Has("key") {
		acc.system.seen = 0
	}
	a, ok := w.ask(acc, what+" the connection of", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
		return nil, n.engine.WriteConnection(ctx, n.store, acc.system.name, patch)
	})
	return ok && a.err == nil
}

func (w *world) rotate(acc *account, ifVersion int) {
	w.mu.Lock()
	b := newBefore(acc)
	w.mu.Unlock()
	a, ok := w.ask(acc, fmt.Sprintf("rotate (if %d)", ifVersion), w.chance(15), func(ctx context.Context, n *node) (*rotation.Report, error) {
		return n.engine.Rotate(ctx, n.store, acc.role, ifVersion)
	})
	if ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		b.checkCost(a)
	}
}

func (w *world) setPassword(acc *account, value string) {
	if len(acc.given) < 4 {
		acc.given = append(acc.given, value)
	}
	delete(acc.refused, value) // whoever gives it again insists
	w.ask(acc, "set "+acc.label(value)+" on", w.chance(15), func(ctx context.Context, n *node) (*rotation.Report, error) {
		return n.engine.SetPassword(ctx, n.store, acc.role, value)
	})
}

func (w *world) update(acc *account) {
	w.ask(acc, "update", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
		return n.engine.Update(ctx, n.store, acc.role, func(role *rotation.Role) (rotation.Options, provider.Settings, error) {
			options, target := role.Options, provider.Settings{}
			options.HistorySize = []int{0, 1, 5}[w.dice.IntN(3)]
			options.Disabled = w.dice.IntN(5) == 0
			if acc.system.spec.old {
				target["method"] = []string{modify, modify, reset}[w.dice.IntN(3)]
			}
			return options, target, nil
		})
	})
}

func (w *world) delete(acc *account, force bool) {
	w.ask(acc, fmt.Sprintf("delete (force %t)", force), false, func(ctx context.Context, n *node) (*rotation.Report, error) {
		return nil, n.engine.Delete(ctx, n.store, acc.role, force)
	})
}

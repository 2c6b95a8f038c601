package modelcheck

import (
	"context"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation"
	"vault-plugin-secrets-hosting/backend/store"
)

// version is that of the password that creds returns.
func (w *world) version(acc *account) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.role(acc.role); r != nil {
		return version(r.Record.View(w.now()).Password)
	}
	return 0
}

// anyVersion is usually one that the record holds.
func (w *world) anyVersion(acc *account) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.role(acc.role); r != nil && !w.chance(10) {
		if list := r.Record.List(); len(list) > 0 {
			return list[w.rng.IntN(min(3, len(list)))].Version
		}
	}
	return 1 + w.rng.IntN(20)
}

func (w *world) creds(acc *account) {
	w.call(acc, "creds of", w.chance(15), byReader(acc, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.Serve(ctx, n.store, acc.role)
	}))
}

func (w *world) create(acc *account, adopt bool) {
	in := rotation.NewRole{
		Name: acc.role, Connection: acc.system.name, Target: provider.Settings{"login": acc.login},
		Options: role.Options{
			MaxReadTTL: 300, OnDrift: role.DriftReport, HistorySize: []int{0, 1, 5}[w.rng.IntN(3)], SkipInitialRotation: adopt,
		},
	}
	w.drawTiming(&in.Options)
	w.drawProof(acc, &in.Options)
	if acc.system.spec.restart {
		in.Target["restart"] = w.drawRestart()
	}
	if acc.system.spec.old && w.chance(10) {
		in.Target["method"] = reset
	}
	if acc.system.spec.old && in.Target["method"] == nil || adopt && w.chance(70) {
		in.Password = acc.parts[0].held
		if w.chance(10) {
			in.Password = w.foreignPassword()
		}
	}
	if w.disk.entries[store.ConnectionPrefix+acc.system.name] == nil {
		w.createConnection(acc)
	}
	existed := w.disk.entries[store.RolePrefix+acc.role] != nil // even where storage does not say so
	w.call(acc, "create ("+timingOf(in.Options)+", "+proofOf(in.Options)+")", w.chance(10), byOperator(acc, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.Create(ctx, n.store, in)
	}))
	if in.Password == "" || existed {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.role(acc.role); r != nil && holds(r.Record.List(), in.Password) {
		acc.confirmed(in.Password, acc.parts)
	}
}

func (w *world) createConnection(acc *account) {
	kind, url := acc.system.spec.name, acc.system.url
	check := false
	w.writeConnection(acc, "create", connection.Patch{
		Provider: &kind, Settings: provider.Settings{"key": acc.system.key, "allow_restart": fmt.Sprint(w.chance(90))}, Change: func(o *connection.Options) {
			o.Address = url
			o.AllowedRoles, o.AllowedVerifyAddresses = []string{"*"}, []string{"10.0.0.0/8"}
			o.VerifyConnection = check
		},
	})
}

func (w *world) writeConnection(acc *account, what string, patch connection.Patch) (done bool) {
	s := acc.system
	for _, other := range w.accounts {
		other.system.trusted, other.read = nil, lastRead{} // the connection cache is cold until roles are read again
	}
	rightKey := patch.Settings.String("key") == s.key
	w.mu.Lock()
	if patch.Settings.Has("key") {
		s.refusalsSeen = 0
		s.doubts++
	}
	wasPaused := s.pause() != nil
	s.mending++
	w.mu.Unlock()
	a, ok := w.call(acc, what+" the connection of", false, func(ctx context.Context, n *node) (*roles.Report, error) {
		return nil, n.engine.Connections.Write(ctx, n.store, s.name, patch)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mending--
	done = ok && a.err == nil
	if !done || !wasPaused || !rightKey || w.fault != noFault {
		return done
	}
	s.mended = occasion{w.node, w.now()}
	if s.pause() != nil {
		w.fail("A5: the right credential of %s was written, and the connection is still paused", s.name)
	}
	return done
}

func (w *world) mend(acc *account) bool {
	return w.writeConnection(acc, "mend", connection.Patch{Settings: provider.Settings{"key": acc.system.key}})
}

// mendLate waits until the next role of the paused connection is due, mends the connection, and waits for what follows.
func (w *world) mendLate(acc *account) {
	w.mu.Lock()
	now, wait := w.now(), 4*time.Hour
	acc.system.weather = fair
	for _, other := range w.accounts {
		if r := w.role(other.role); other.system == acc.system && r != nil {
			if due := acc.due(r); due.After(now) {
				wait = min(wait, due.Sub(now)+time.Minute)
			}
		}
	}
	w.note("%s: the weather is fair", acc.system.name)
	w.mu.Unlock()
	n := w.node
	if w.pass(wait); w.node.dead || !w.mend(acc) || n.dead {
		return
	}
	w.pass(mendPatience + time.Minute)
}

func (w *world) rotate(acc *account, ifVersion int) {
	w.mu.Lock()
	b := newBefore(acc)
	w.mu.Unlock()
	a, ok := w.call(acc, fmt.Sprintf("rotate (if %d)", ifVersion), w.chance(15), byOperator(acc, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.Rotate(ctx, n.store, acc.role, ifVersion)
	}))
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
	delete(acc.refused, value) // giving it again overrides the refusal
	w.call(acc, "set "+acc.label(value)+" on", w.chance(15), byOperator(acc, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.SetPassword(ctx, n.store, acc.role, value)
	}))
}

// update changes options and target fields that have nothing to do with time.
func (w *world) update(acc *account) {
	target := provider.Settings{}
	if acc.system.spec.old {
		target["method"] = []string{modify, modify, reset}[w.rng.IntN(3)]
	}
	size := []int{0, 1, 5}[w.rng.IntN(3)]
	w.updateRole(acc, "update", target, func(o *role.Options) { o.HistorySize = size })
}

// drawRestart draws how the engine restarts servers.
func (w *world) drawRestart() string {
	return []string{provider.RestartNone, provider.RestartSoft, provider.RestartHard}[w.rng.IntN(3)]
}

// changeProof changes whether and how passwords are proved.
func (w *world) changeProof(acc *account) {
	var o role.Options
	w.drawProof(acc, &o)
	w.updateOptions(acc, "set "+proofOf(o)+" on", func(options *role.Options) {
		options.Verify, options.VerifyAddress, options.VerifyHostKey = o.Verify, o.VerifyAddress, o.VerifyHostKey
		options.VerifyPeriod, options.OnDrift, options.VerifyTLS = o.VerifyPeriod, o.OnDrift, true
	})
}

// changeDrift changes when a password at rest is proved, and what follows from a refusal.
func (w *world) changeDrift(acc *account) {
	var o role.Options
	acc.drawDrift(&o)
	w.updateOptions(acc, fmt.Sprintf("set verify_period %d and on_drift %s on", o.VerifyPeriod, o.OnDrift), func(options *role.Options) {
		options.VerifyPeriod, options.OnDrift = o.VerifyPeriod, o.OnDrift
	})
}

// trustDoors gives the role the host keys that the servers present.
func (w *world) trustDoors(acc *account) {
	keys := acc.hostKeys()
	w.updateOptions(acc, "write the host keys of", func(o *role.Options) { o.VerifyHostKey = keys })
}

// proveRole verifies or recovers the role.
func (w *world) proveRole(acc *account, what string, prove func(*node, context.Context) (*rotation.Proved, error)) {
	w.call(acc, what, w.chance(15), byOperator(acc, func(ctx context.Context, n *node) (*roles.Report, error) {
		found, err := prove(n, ctx)
		if err != nil {
			return nil, err
		}
		return found.Report, nil
	}))
}

func (w *world) updateOptions(acc *account, what string, change func(*role.Options)) {
	w.updateRole(acc, what, provider.Settings{}, change)
}

func (w *world) updateRole(acc *account, what string, target provider.Settings, change func(*role.Options)) {
	w.call(acc, what, false, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.Update(ctx, n.store, acc.role, func(r *roles.View) (role.Options, provider.Settings, error) {
			options := r.Options
			change(&options)
			return options, target, nil
		})
	})
}

func (w *world) delete(acc *account, force bool) {
	w.call(acc, fmt.Sprintf("delete (force %t)", force), false, func(ctx context.Context, n *node) (*roles.Report, error) {
		return nil, n.engine.Delete(ctx, n.store, acc.role, force)
	})
}

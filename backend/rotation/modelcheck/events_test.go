package modelcheck

import (
	"context"
	"fmt"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// event is one thing that may happen to an account.
type event struct {
	name   string
	weight int
	// on reports whether it can happen; nil: always.
	on func(w *world, acc *account) bool
	do func(w *world, acc *account)
}

func exists(_ *world, acc *account) bool { return acc.state != "" }
func proves(w *world, acc *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.role(acc.role)
	return r != nil && r.Options.Proves()
}

func provesOverSSH(w *world, acc *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.role(acc.role)
	return r != nil && r.Options.Verify == provider.LoginSSH
}

func absent(_ *world, acc *account) bool { return acc.state == "" }

func hasParts(w *world, acc *account) bool { return exists(w, acc) && len(acc.parts) > 1 }

func paused(w *world, acc *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return acc.system.pause() != nil
}

func frozen(w *world, _ *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node.gate.frozen(w.now())
}

func disabled(w *world, acc *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.role(acc.role)
	return r != nil && r.Options.Disabled
}

func dueOnRead(w *world, acc *account) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.role(acc.role)
	return r != nil && r.Options.RotationMode == role.ModeOnRead && acc.dueWithin(r, 0)
}

// requests are what operators and readers ask for.
var requests = []event{
	{"create", 40, absent, func(w *world, acc *account) { w.create(acc, false) }},
	{"adopt", 20, absent, func(w *world, acc *account) { w.create(acc, true) }},
	{"create again", 1, exists, func(w *world, acc *account) { w.create(acc, false) }},
	{"read", 2, exists, func(w *world, acc *account) {
		w.call(acc, "read", false, func(ctx context.Context, n *node) (*roles.Report, error) {
			return n.engine.Read(ctx, n.store, acc.role)
		})
	}},
	{"creds", 4, exists, (*world).creds},
	{"creds when a read is to change it", 8, dueOnRead, (*world).creds},
	{"status", 2, exists, func(w *world, acc *account) {
		w.call(acc, "status of", false, func(ctx context.Context, n *node) (*roles.Report, error) {
			_, err := n.engine.Status(ctx, n.store, acc.role)
			return nil, err
		})
	}},
	{"rotate", 14, exists, func(w *world, acc *account) { w.rotate(acc, 0) }},
	{"rotate if the version is in force", 3, exists, func(w *world, acc *account) { w.rotate(acc, max(1, w.version(acc))) }},
	{"rotate if an old version is in force", 1, exists, func(w *world, acc *account) { w.rotate(acc, max(1, w.version(acc)-1)) }},
	{"rotate if a future version is in force", 1, exists, func(w *world, acc *account) { w.rotate(acc, w.version(acc)+7) }},
	{"set a new password", 4, exists, func(w *world, acc *account) {
		w.foreign++
		w.setPassword(acc, fmt.Sprintf("given%06d", w.foreign))
	}},
	{"set a password that was given before", 2, func(w *world, acc *account) bool { return exists(w, acc) && len(acc.given) > 0 },
		func(w *world, acc *account) { w.setPassword(acc, acc.given[w.rng.IntN(len(acc.given))]) }},
	{"set a password that breaks the rules", 1, exists, func(w *world, acc *account) { w.setPassword(acc, "short") }},
	{"confirm what works", 4, exists, (*world).confirmTruth},
	{"confirm any version", 2, exists, func(w *world, acc *account) {
		w.confirm(acc, rotation.Confirmation{Version: w.anyVersion(acc)})
	}},
	{"confirm on some servers", 4, hasParts, (*world).confirmAnyServer},
	{"confirm a password from elsewhere", 2, exists, func(w *world, acc *account) {
		w.confirm(acc, rotation.Confirmation{Password: acc.parts[w.rng.IntN(len(acc.parts))].held})
	}},
	{"confirm a wrong password", 1, exists, func(w *world, acc *account) {
		w.confirm(acc, rotation.Confirmation{Password: w.foreignPassword()})
	}},
	{"discard what does not work", 3, exists, (*world).discardTruth},
	{"discard any version", 2, exists, func(w *world, acc *account) {
		w.confirm(acc, rotation.Confirmation{Version: w.anyVersion(acc), Discard: true})
	}},
	{"update", 2, exists, (*world).update},
	{"change when the role is due", 2, exists, func(w *world, acc *account) {
		var timing role.Options
		w.drawTiming(&timing)
		w.updateOptions(acc, "set "+timingOf(timing)+" on", func(o *role.Options) {
			o.RotationMode, o.RotationPeriod, o.RotationSchedule = timing.RotationMode, timing.RotationPeriod, timing.RotationSchedule
			o.RotationWindow, o.RotateAfterRead = timing.RotationWindow, timing.RotateAfterRead
		})
	}},
	{"disable automated rotation", 1, exists, func(w *world, acc *account) {
		w.updateOptions(acc, "disable the automation of", func(o *role.Options) { o.Disabled = true })
	}},
	{"enable automated rotation", 4, disabled, func(w *world, acc *account) {
		w.updateOptions(acc, "enable the automation of", func(o *role.Options) { o.Disabled = false })
	}},
	{"change restart", 3, hasParts, func(w *world, acc *account) {
		restart := w.drawRestart()
		w.updateRole(acc, "set restart "+restart+" on", provider.Settings{"restart": restart}, func(*role.Options) {})
	}},
	{"allow or forbid restarts", 2, hasParts, func(w *world, acc *account) {
		allowed := fmt.Sprint(w.chance(75))
		w.writeConnection(acc, "set allow_restart="+allowed+" on", connection.Patch{Settings: provider.Settings{"allow_restart": allowed}})
	}},
	{"verify", 6, proves, func(w *world, acc *account) {
		w.proveRole(acc, "verify", func(n *node, ctx context.Context) (*rotation.Proved, error) {
			return n.engine.VerifyRole(ctx, n.store, acc.role)
		})
	}},
	{"recover", 4, proves, func(w *world, acc *account) {
		w.proveRole(acc, "recover", func(n *node, ctx context.Context) (*rotation.Proved, error) {
			return n.engine.RecoverRole(ctx, n.store, acc.role)
		})
	}},
	{"change how passwords are proved", 2, exists, (*world).changeProof},
	{"change verify_period and on_drift", 2, proves, (*world).changeDrift},
	{"write the host keys", 3, provesOverSSH, (*world).trustDoors},
	{"delete", 1, exists, func(w *world, acc *account) { w.delete(acc, false) }},
	{"delete with force", 1, exists, func(w *world, acc *account) { w.delete(acc, true) }},
	{"write the connection", 1, exists, func(w *world, acc *account) {
		timeout, most := []int{5, 30}[w.rng.IntN(2)], []int{1, 4}[w.rng.IntN(2)]
		w.writeConnection(acc, "write", connection.Patch{
			Settings: provider.Settings{"note": fmt.Sprint(w.rng.IntN(9))},
			Change:   func(o *connection.Options) { o.RequestTimeout, o.MaxInFlight = timeout, most },
		})
	}},
	{"write the right credential", 3, exists, func(w *world, acc *account) {
		w.writeConnection(acc, "write the right credential of", connection.Patch{Settings: provider.Settings{"key": acc.system.key}})
	}},
	{"mend the paused connection", 6, paused, func(w *world, acc *account) { w.mend(acc) }},
	{"mend it once another role is due", 8, paused, (*world).mendLate},
	{"write a wrong credential", 1, exists, func(w *world, acc *account) {
		check := w.chance(70)
		w.writeConnection(acc, "write a wrong credential of", connection.Patch{
			Settings: provider.Settings{"key": "wrong"}, Change: func(o *connection.Options) { o.VerifyConnection = check },
		})
	}},
	{"delete the connection", 1, exists, func(w *world, acc *account) {
		w.call(acc, "delete the connection of", false, func(ctx context.Context, n *node) (*roles.Report, error) {
			return nil, n.engine.Connections.Delete(ctx, n.store, acc.system.name)
		})
	}},
	{"freeze the mount", 2, exists, (*world).freeze},
	{"end the freeze", 4, frozen, (*world).endFreeze},
	{"end a freeze, frozen or not", 1, exists, (*world).endFreeze},
	{"write catch_up_limit", 1, exists, (*world).writeSettings},
}

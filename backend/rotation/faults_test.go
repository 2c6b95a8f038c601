package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/storagetest"
)

// operation is something that writes to storage: a request, or work that the engine does by itself.
type operation struct {
	// setup prepares the role "role" and the connection "conn".
	setup func(f *faultRig)
	do    func(ctx context.Context, f *faultRig) error
	// request: do is a request, and its error is the answer.
	request bool
	// passwords is the most that the operation may generate.
	passwords int
	// repair makes the remote system work, once storage does.
	repair func(f *faultRig)
	// outside: somebody else has changed the password, so that the one that is active may not work until then.
	outside bool
	// verify asserts that the operation has been carried out, once it was repeated.
	verify func(f *faultRig)
}

// exclusive is the result of a change that no earlier request can undo.
var exclusive = provider.Result{Outcome: provider.Applied, Exclusive: true}

// faultRig is a rig whose remote system remembers the passwords that it refused, and the one that it has staged.
type faultRig struct {
	*rig
	account
	refused []string
	staged  string
}

// onCall decides the result of each change, the next one being 1.
func (f *faultRig) onCall(answer func(call int) (result provider.Result, takesEffect bool)) {
	before := f.remote.changeCount()
	f.remote.onChange(func(_ context.Context, call int, c provider.Change) (provider.Result, bool) {
		if f.remote.needsOld {
			if result, wrong := f.refuses(f.remote, c); wrong {
				return result, false
			}
		}
		result, takesEffect := answer(call - before)
		if slices.Contains(f.refused, c.NewPassword) {
			return weakPassword, false
		}
		switch {
		case result.Outcome == provider.Rejected && result.Scope == provider.ScopePassword:
			f.refused = append(f.refused, c.NewPassword)
		case result.Outcome == provider.Staged || len(result.Taken) > 0:
			f.staged = c.NewPassword
		}
		return result, takesEffect
	})
}

// The n-th operation of storage fails, for every n until the operation does not get that far. The engine finishes what it
// has begun without a request, and a repetition of what failed succeeds.
func TestEveryStorageFaultIsSurvived(t *testing.T) {
	t.Parallel()
	for name, o := range operations() {
		for _, fault := range storagetest.Faults() {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/restart=%t", name, fault, restart), func(t *testing.T) {
					t.Parallel()
					n := 1
					for o.meets(t, n, fault, restart) {
						n++
						require.Less(t, n, 60, "the operation does not end")
					}
					require.Greater(t, n, 1, "the operation met no fault")
				})
			}
		}
	}
}

// meets runs the operation with a fault at the n-th storage operation, and reports whether it met the fault.
func (o operation) meets(t *testing.T, n int, fault storagetest.Fault, restart bool) (met bool) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		storage := storagetest.New(r.storage.Storage)
		r.storage.Storage = storage
		f := &faultRig{rig: r}
		o.setup(f)
		synctest.Wait()
		calls, live, unfinished := r.remote.changeCount(), r.remote.password("login"), f.unfinished()

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		storage.Arm(n, fault, cancel)
		err := o.do(ctx, f)
		synctest.Wait() // the engine may continue after the request has ended
		at := storage.Heal()
		if met = at != ""; !met {
			require.NoError(t, err)
			f.requireRest(o, calls, o.passwords)
			o.verify(f)
			return
		}
		where := fmt.Sprintf("operation %d, %s: %v", n, at, err)
		if err != nil && o.request {
			f.requireHonest(err, fault, live, where)
		}
		if restart {
			r.restart()
		}
		f.requireRest(o, calls, o.passwords)
		unchanged := err != nil && o.request && fault != storagetest.ReadOnly && !strings.Contains(err.Error(), "may have taken effect")
		if unchanged && !unfinished && !strings.Contains(err.Error(), "not been changed yet") {
			require.Equal(t, live, r.remote.password("login"), "changed after an error that said that nothing was: %s", where)
		}
		require.NoError(t, o.do(t.Context(), f), "repeated after %s", where)
		f.requireRest(o, calls, 2*o.passwords)
		o.verify(f)
	})
	return met
}

// unfinished reports whether the engine has a step to take for the role.
func (f *faultRig) unfinished() bool {
	r, err := f.engine.ReadRole(f.Context(), f.store(), "role")
	if errors.Is(err, problem.ErrNoRole) {
		return false
	}
	require.NoError(f, err)
	return r.Next(time.Now(), role.Env{}).Do != role.Rest
}

// requireHonest asserts that a request fails only if the remote system was not changed.
func (f *faultRig) requireHonest(err error, fault storagetest.Fault, live, where string) {
	f.Helper()
	require.Equal(f, live, f.remote.password("login"), "changed, though the request failed: %s", where)
	if fault == storagetest.ReadOnly {
		require.Same(f, logical.ErrReadOnly, err, "Vault forwards the request only for the bare error: %s", where)
	}
	for _, password := range f.remote.sent() {
		require.NotContains(f, err.Error(), password)
	}
}

// requireRest asserts that the engine comes to rest, and that Vault has the passwords of the remote system.
func (f *faultRig) requireRest(o operation, calls, passwords int) {
	f.Helper()
	if o.repair != nil {
		o.repair(f)
	}
	advance(3 * time.Hour)
	for _, name := range []string{"conn", "other"} {
		f.requireStoredConn(name)
	}
	require.False(f, f.locked, "the engine's attempts locked the account")
	generated := map[string]bool{}
	for _, c := range f.remote.changesSince(calls) {
		generated[c.NewPassword] = true
	}
	require.LessOrEqual(f, len(generated), passwords, "generated passwords")

	if !f.exists(roleKey) {
		return
	}
	asks := f.role().RestartsFailed() != "" // it is not known whether a restart was requested, so it is not repeated
	require.True(f, asks || !f.unfinished(), "the role is not at rest: %s", f.status().Reason)
	view := f.read()
	if view.State == credential.StateActive && !o.outside {
		require.Equal(f, f.remote.password("login"), view.Password.Value)
	}
	if view.Password != nil {
		require.NotContains(f, f.refused, view.Password.Value, "it was refused")
	}
	for _, value := range []string{f.remote.password("login"), f.staged} {
		require.True(f, value == "" || f.knows(value), "Vault does not have a password of the remote system")
	}
}

// requireStoredConn asserts that the engine uses the connection as it is stored.
func (f *faultRig) requireStoredConn(name string) {
	f.Helper()
	s := f.store()
	stored, err := s.Connection(f.Context(), name)
	require.NoError(f, err)
	used, err := f.engine.Connections.Handle(f.Context(), s, name)
	if stored == nil {
		require.ErrorIs(f, err, problem.ErrNoConnection)
		return
	}
	require.NoError(f, err)
	require.Equal(f, *stored, used.Connection)
}

// writeRole creates the role or updates it, as a write of roles/role does.
func (f *faultRig) writeRole(ctx context.Context, change func(*NewRole)) error {
	in := newRole(change)
	existing, err := f.engine.Role(ctx, f.storage, "role")
	switch {
	case err != nil:
		return err
	case existing == nil:
		_, err = f.engine.Create(ctx, f.storage, in)
		return err
	default:
		_, err = f.engine.Update(ctx, f.storage, "role", func(*roles.View) (role.Options, provider.Settings, error) { return in.Options, in.Target, nil })
		return err
	}
}

// operations returns everything that writes to storage.
func operations() map[string]operation {
	all := map[string]operation{}
	for _, table := range []map[string]operation{creationOps(), changeOps(), requestOps(), ownWork(), connectionOps(), proofOps()} {
		for name, o := range table {
			all[name] = o
		}
	}
	return all
}

// answer answers all changes alike.
func (f *faultRig) answer(result provider.Result, takesEffect bool) {
	f.onCall(func(int) (provider.Result, bool) { return result, takesEffect })
}

// loseFirstAnswer applies all changes and loses the answer to the first one.
func (f *faultRig) loseFirstAnswer() {
	f.onCall(func(call int) (provider.Result, bool) {
		if call == 1 {
			return unknown, true
		}
		return exclusive, true
	})
}

// answerPartly makes one of three servers take the first change later than the others.
func (f *faultRig) answerPartly() {
	f.onCall(func(call int) (provider.Result, bool) {
		if call == 1 {
			return partly(provider.Busy, provider.ScopeTarget, "c", "a", "b"), false
		}
		return needsRestart, false
	})
}

func requireActive(f *faultRig) {
	f.Helper()
	view := f.read()
	require.Equal(f, credential.StateActive, view.State)
	require.Equal(f, f.remote.password("login"), view.Password.Value)
}

func requireAssumed(f *faultRig) {
	f.Helper()
	view := f.read()
	require.Equal(f, credential.StateAssumed, view.State)
	require.Equal(f, f.remote.password("login"), view.Password.Value)
}

func requireWaiting(f *faultRig) {
	f.Helper()
	require.Equal(f, credential.StateRestartRequired, f.read().State)
	next := f.role().Record.Next
	require.Equal(f, f.staged, next.Value)
	require.False(f, next.Partial())
}

// unlessAbout drops an error that the remote system's answer causes.
func unlessAbout(err error, words string) error {
	if err != nil && strings.Contains(err.Error(), words) {
		return nil
	}
	return err
}

package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
)

// operation is something that writes to storage: a request, or what the engine does by itself.
type operation struct {
	// before brings the role "role" and the connection "conn" to where the operation begins.
	before func(l *ordeal)
	do     func(ctx context.Context, l *ordeal) error
	// asked: do is a request, and its error is an answer to somebody.
	asked bool
	// passwords is the most that the operation may make up; without a fault it makes fewer or as many.
	passwords int
	// mend makes the remote system do what it is asked for, once storage is healthy.
	mend func(l *ordeal)
	// done asserts that the operation has been done, after it was made again.
	done func(l *ordeal)
}

// ordeal is a rig whose remote system remembers what it must not see again and what it will put in force later.
type ordeal struct {
	*rig
	wrong   int
	locked  bool
	refused []string
	waiting string
}

// answers decides what becomes of each change, the first of the operation being 1. A remote system that needs the old
// password locks the account after five wrong ones in a row.
func (l *ordeal) answers(answer func(call int) (result provider.Result, applied bool)) {
	before := l.remote.count()
	l.remote.set(func(_ context.Context, call int, c provider.Change) (provider.Result, bool) {
		if l.remote.needsOld && c.OldPassword != l.remote.holds("login") {
			l.wrong++
			l.locked = l.locked || l.wrong >= 5
			left := 5 - l.wrong
			return provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong", TriesLeft: &left}, false
		}
		l.wrong = 0
		result, applied := answer(call - before)
		if slices.Contains(l.refused, c.NewPassword) {
			return weakPassword, false
		}
		switch {
		case result.Outcome == provider.Rejected && result.Scope == provider.ScopePassword:
			l.refused = append(l.refused, c.NewPassword)
		case result.Outcome == provider.Staged || len(result.Taken) > 0:
			l.waiting = c.NewPassword
		}
		return result, applied
	})
}

// The n-th operation of storage meets a fault, for every n until what is to be done is done without meeting it. What
// failed is made again, and what the engine has open comes to rest without anyone asking.
func TestEveryStorageFaultOfEveryOperationIsSurvived(t *testing.T) {
	t.Parallel()
	for name, o := range operations() {
		for _, fault := range storagetest.Faults() {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/restart=%t", name, fault, restart), func(t *testing.T) {
					t.Parallel()
					n := 1
					for o.meets(t, n, fault, restart) {
						n++
						require.Less(t, n, 60, "the fault is met again and again")
					}
					require.Greater(t, n, 1, "the operation has met no fault at all")
				})
			}
		}
	}
}

// meets makes the operation with a fault at the n-th storage operation, and tells whether it met it.
func (o operation) meets(t *testing.T, n int, fault storagetest.Fault, restart bool) (met bool) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		storage := storagetest.New(r.storage.Storage)
		r.storage.Storage = storage
		l := &ordeal{rig: r}
		o.before(l)
		synctest.Wait()
		calls, live, open := r.remote.count(), r.remote.holds("login"), l.unfinished()

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		storage.Arm(n, fault, cancel)
		err := o.do(ctx, l)
		synctest.Wait() // the engine may go on where the request has ended
		at := storage.Heal()
		if met = at != ""; !met {
			require.NoError(t, err)
			l.rests(o, calls, o.passwords)
			o.done(l)
			return
		}
		where := fmt.Sprintf("operation %d, %s: %v", n, at, err)
		if err != nil && o.asked {
			l.toldTheTruth(err, fault, live, where)
		}
		if restart {
			r.restart()
		}
		l.rests(o, calls, o.passwords)
		toldNo := err != nil && o.asked && fault != storagetest.ReadOnly && !strings.Contains(err.Error(), "all the same")
		if toldNo && !open && !strings.Contains(err.Error(), "nothing was changed yet") {
			require.Equal(t, live, r.remote.holds("login"), "changed after an answer that said that nothing was: %s", where)
		}
		require.NoError(t, o.do(t.Context(), l), "made again after %s", where)
		l.rests(o, calls, 2*o.passwords)
		o.done(l)
	})
	return met
}

// unfinished tells whether the engine has something to do for the role.
func (l *ordeal) unfinished() bool {
	role, err := l.engine.Role(l.Context(), l.storage, "role")
	require.NoError(l, err)
	if role == nil {
		return false
	}
	_, waits := role.nextAction(time.Now())
	return waits
}

// toldTheTruth asserts that an error says what it may: an error is told only where the remote system was not changed.
func (l *ordeal) toldTheTruth(err error, fault storagetest.Fault, live, where string) {
	l.Helper()
	require.Equal(l, live, l.remote.holds("login"), "changed, though an error was answered: %s", where)
	if fault == storagetest.ReadOnly {
		require.Same(l, logical.ErrReadOnly, err, "Vault forwards the request only for the bare error: %s", where)
	}
	require.NotContains(l, err.Error(), "Password")
}

// rests lets time pass and asserts that all has come to rest, and that what Vault holds is what the remote system does.
func (l *ordeal) rests(o operation, calls, passwords int) {
	l.Helper()
	if o.mend != nil {
		o.mend(l)
	}
	after(3 * time.Hour)
	for _, name := range []string{"conn", "other"} {
		l.connectionIsAsStored(name)
	}
	require.False(l, l.locked, "the account was locked by the engine's own tries")
	made := map[string]bool{}
	for _, call := range l.remote.calls[calls:] {
		made[call.NewPassword] = true
	}
	require.LessOrEqual(l, len(made), passwords, "passwords made up")

	role, err := l.engine.Role(l.Context(), l.storage, "role")
	require.NoError(l, err)
	if role == nil {
		return
	}
	require.False(l, l.unfinished(), "the role is not at rest: %s", l.explain().Reason)
	view := l.read()
	if view.State == credential.StateActive {
		require.Equal(l, l.remote.holds("login"), view.Password.Value)
	}
	if view.Password != nil {
		require.NotContains(l, l.refused, view.Password.Value, "it was refused")
	}
	for _, value := range []string{l.remote.holds("login"), l.waiting} {
		held := value == "" || slices.ContainsFunc(role.Record.List(), func(p credential.Listed) bool { return p.Value == value })
		require.True(l, held, "the remote system holds a password that Vault does not")
	}
}

// connectionIsAsStored asserts that the engine works with the connection that is in storage.
func (l *ordeal) connectionIsAsStored(name string) {
	l.Helper()
	s := store{l.storage}
	stored, err := s.connection(l.Context(), name)
	require.NoError(l, err)
	used, err := l.engine.connection(l.Context(), s, name)
	if stored == nil {
		require.ErrorIs(l, err, ErrNoConnection)
		return
	}
	require.NoError(l, err)
	require.Equal(l, *stored, used.Connection)
}

// createOrUpdate is what a write of roles/role does: it makes the role, or updates the one that is there.
func (l *ordeal) createOrUpdate(ctx context.Context, change func(*NewRole)) error {
	in := NewRole{Name: "role", Connection: "conn", Target: provider.Settings{"login": "login"}, Options: options()}
	if change != nil {
		change(&in)
	}
	there, err := l.engine.Role(ctx, l.storage, "role")
	switch {
	case err != nil:
		return err
	case there == nil:
		_, err = l.engine.Create(ctx, l.storage, in)
		return err
	default:
		_, err = l.engine.Update(ctx, l.storage, "role", func(*Role) (Options, provider.Settings, error) { return in.Options, in.Target, nil })
		return err
	}
}

package lockout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRenewedCredentialGetsOneAttempt(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		r := newRig(t, five)
		for range 4 {
			r.call(refused)
		}
		r.pass(5 * time.Minute)
		require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
		r.requireStored(4, 0)
		if restarts {
			r.restart()
		}
		require.Equal(t, r.time().Add(time.Minute), r.spent(false).Next, "the remote system may not have forgotten the others")
		r.pass(time.Minute)
		r.call(refused)
		r.requireStored(5, 0)
		r.pass(24 * time.Hour)
		require.True(t, r.spent(false).Next.IsZero(), "one attempt only")
		require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
		r.call(applied)
		r.requireStored(0, 2)
	}
}

func TestRenewedAttemptGivenBackIsAllowedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 4 {
		r.call(refused)
	}
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.pass(6 * time.Minute)
	r.call(unreachable)
	r.call(refused)
	r.requireStored(5, 0)
}

func TestRenewLeavesAttemptsThatAreLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(refused)
	r.call(unknown)
	require.True(t, r.Suspected())
	before := r.stored()
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	require.Equal(t, before, r.stored())
	require.False(t, r.Suspected())
	r.call(refused)
	r.call(refused)
	r.requireStored(3, 1)
	r.refuses(false)
}

// Refusals that this process saw count, though storage does not know of them.
func TestRenewCountsRefusalsOfLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	a, b := r.begin(), r.begin()
	r.end(a, refused)
	r.end(b, refused)
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.call(refused)
	r.requireStored(3, 0)
	r.call(refused)
	r.refuses(false)
}

// A call that runs may be refused too.
func TestRenewCountsRunningCalls(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{2, 3} {
		r := newRig(t, five)
		r.call(applied)
		for range lost {
			r.call(unknown)
		}
		p := r.begin()
		require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
		if lost == 2 {
			r.requireStored(0, 3)
		} else {
			r.requireStored(0, 4)
		}
		r.end(p, refused)
	}
}

// An unproved credential is not shown by several calls together.
func TestUnprovedCredentialRunsOneCall(t *testing.T) {
	t.Parallel()
	for proved, room := range map[bool]int{true: 2, false: 1} {
		r := newRig(t, five)
		r.call(applied)
		require.NoError(t, r.Renew(t.Context(), r.memory, proved, true))
		require.Equal(t, room, r.Room())
	}
}

// A call that began before the renewal showed the credential from before.
func TestEarlierCallDoesNotProveRenewal(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	p := r.begin()
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.end(p, applied)
	require.Equal(t, 1, r.Room())
	r.call(applied)
	require.Equal(t, 2, r.Room())
}

func TestRenewOfProvedCredentialKeepsCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 3 {
		r.call(refused)
	}
	r.check(applied, true)
	before := r.stored()
	require.NoError(t, r.Renew(t.Context(), r.memory, true, true))
	require.Equal(t, before, r.stored())
	require.Equal(t, 2, r.Room())
}

func TestRenewReportsErrorsOfStorage(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"get", "put"} {
		r := newRig(t, five)
		for range 4 {
			r.call(refused)
		}
		r.failing(operation)
		require.ErrorIs(t, r.Renew(t.Context(), r.memory, false, true), errStorage)
		r.failing("")
		r.refuses(false)
	}
}

func TestRenewOfUnlockedCredentialStoresNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	r.call(refused)
	require.True(t, r.Suspected())
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	require.False(t, r.Suspected())
	require.Zero(t, r.puts)
	require.Greater(t, r.Room(), 1)
}

// Writing the credential once more takes nothing away.
func TestRenewedAttemptOutlastsAnotherRenewal(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 4 {
		r.call(refused)
	}
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.pass(6 * time.Minute)
	require.NoError(t, r.Renew(t.Context(), r.memory, false, false))
	r.call(refused)
	require.NoError(t, r.Renew(t.Context(), r.memory, false, false))
	r.pass(24 * time.Hour)
	require.True(t, r.spent(false).Next.IsZero(), "a secret that was refused gets none")
}

package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
)

func TestMistypedCredentialBlocksNoRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("role")
		l.setWrong(true)
		require.Equal(t, problem.KindMistake, kindOf(t, r.writeConn(withKey("mistyped"))))
		l.setWrong(false) // the stored credential still works
		require.Equal(t, 2, r.mustRotate().View.Password.Version)
	})
}

// The refusal of the mistyped credential counts, although another one has been written since.
func TestMistypedCredentialCountsBeforeUncheckedOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		roles := roleNames(3)
		r.createRoles(roles...)
		l.setSlow(true)
		l.setWrong(true)
		require.Error(t, r.writeConn(withKey("mistyped")))
		r.mustWriteConn(unchecked("another"))
		r.crash(roles[0])
		r.crash(roles[1])
		require.Error(t, r.rotateAll(roles[2])[0])
		_, most := l.counts()
		require.Equal(t, 4, most)
	})
}

// requireOneAttempt asserts that a credential that is written is used once.
func (l *lockRig) requireOneAttempt(patch connection.Patch) {
	l.Helper()
	before, _ := l.counts()
	l.mustWriteConn(patch)
	advance(day)
	uses, _ := l.counts()
	require.Equal(l, before+1, uses)
}

func TestUncheckedCredentialGetsOneAttempt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("role")
		l.setWrong(true)
		r.rotateFails(problem.KindUnreachable)
		advance(day) // all attempts are spent
		l.requireOneAttempt(unchecked("another"))
		l.setWrong(false)
		r.mustWriteConn(unchecked("right"))
		advance(time.Minute)
		require.Equal(t, 2, r.version())
	})
}

// That the remote system has probably forgotten refusals pays for no attempt with the secret that was refused.
func TestSpentCredentialWrittenAgainNeedsForce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.mustWriteConn(unchecked("key"))
		r.createRoles("role")
		l.setWrong(true)
		r.rotateFails(problem.KindUnreachable)
		advance(day)
		require.Contains(t, r.rotateFails(problem.KindBusy), "write it with force=true")
		uses, most := l.counts()
		require.Equal(t, 4, most)
		for range 10 {
			require.Equal(t, problem.KindMistake, kindOf(t, r.writeConn(unchecked("key"))))
			advance(time.Hour)
		}
		now, _ := l.counts()
		require.Equal(t, uses, now)
		l.setWrong(false)
		r.mustWriteConn(forced("key"))
		advance(time.Minute)
		require.Equal(t, 2, r.version())
	})
}

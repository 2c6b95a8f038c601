package rotation

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestLogHoldsNoSecret(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		secrets := []string{"canary-credential", "canaryChosenPassword", "canaryConfirmedPassword"}
		r.mustWriteConn(withKey(secrets[0]))
		r.mustCreate(nil)

		for _, outcome := range providertest.Outcomes() {
			r.remote.fail(provider.Result{Outcome: outcome, Scope: provider.ScopeConnection, Stage: provider.StageRestart, Reason: "a reason"})
			_, _ = r.rotate()
			require.NotEmpty(t, r.log.lines("outcome="+string(outcome)))
			r.remote.succeed()
			advance(2 * time.Hour)
		}
		r.remote.refuseCredential()
		r.rotateFails(problem.KindUnreachable)
		require.NotEmpty(t, r.log.lines("connection paused"))
		r.remote.acceptCredential()
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) { panic(c.NewPassword) })
		advance(2 * time.Hour)
		require.NotEmpty(t, r.log.lines("recovered from a panic"))
		r.remote.succeed()
		r.restart()
		advance(2 * time.Hour)
		_, err := r.setPassword(secrets[1])
		require.NoError(t, err)
		r.mustConfirm(Confirmation{Password: secrets[2]})

		secrets = append(secrets, r.remote.sent()...)
		for i, secret := range secrets {
			require.Empty(t, r.log.lines(secret), "secret %d of %d is in the log", i, len(secrets))
		}
	})
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines that contain the text.
func (l *logged) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func TestRepeatedFailureIsLoggedAtGrowingIntervals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.remote.fail(unreachable)
		advance(2 * day)
		require.Greater(t, r.role().Retry.Attempts, 32)
		lines := r.log.lines("password not changed")
		require.Less(t, len(lines), 8)
		require.Contains(t, lines[0], "role=role connection=conn provider=remote trigger=schedule attempt=1 outcome=unreachable")
		r.remote.fail(provider.Result{Outcome: provider.Unreachable, Reason: "another reason"})
		advance(2 * time.Hour)
		require.NotEmpty(t, r.log.lines("another reason"), "another failure is logged at once")
	})
}

// While an outcome is unknown, it stays the role's last failure. The log line of a wait still says what is in the way.
func TestWaitLogsItsObstacle(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := New(Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &out})})
	now := e.Now()
	rec, err := credential.Record{}.Make("value1", "test", false, now)
	require.NoError(t, err)
	lost := &role.Failure{Class: provider.Unknown, Reason: "the answer was lost", Time: now}
	w := &work{
		Engine: e, s: store.Store{Storage: &logical.InmemStorage{}}, name: "role", h: &connection.Handle{},
		role: &role.Role{Name: "role", Record: rec.Send(now, 0).Unresolved(), Retry: role.Retry{Last: lost}},
	}
	require.Equal(t, credential.StateUncertain, w.role.Record.View(now).State)

	require.NoError(t, w.wait(t.Context(), role.Step{Do: role.Send, At: now.Add(time.Minute), Why: role.Margin}))
	require.Contains(t, out.String(), explain.Obstacle(role.Margin))
	require.NotContains(t, out.String(), lost.Reason)
	require.True(t, lost.Same(w.role.Retry.Last), "only its time is another: what mended it before has not ended the wait")
}

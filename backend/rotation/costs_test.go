package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/role"
)

// Writes of a change.
const (
	sends   = "put role: before it is sent"
	answers = "put role: the answer"
	settles = "put role: it is in force"
	counted = "put guard: a login, before it is made"
	waits   = "put role: the old password still works"
	// of a restart
	requests = "put role: before a restart is requested"
	begins   = "put role: the restart was accepted"
	ends     = "put role: the server is back"
)

// spent returns the storage operations that something makes, such as "put role", in their order.
func (r *rig) spent(do func()) (operations []string) {
	r.storage.failIf(func(operation, key string) error {
		kind, _, _ := strings.Cut(key, "/")
		operations = append(operations, operation+" "+kind)
		return nil
	})
	do()
	r.storage.heal()
	return operations
}

// requireWrites asserts what something writes.
func (r *rig) requireWrites(want []string, do func()) {
	r.Helper()
	got := slices.DeleteFunc(r.spent(do), func(operation string) bool { return !strings.HasPrefix(operation, opPut) })
	require.Len(r, got, len(want), "%q", got)
	for i, write := range want {
		operation, _, _ := strings.Cut(write, ":")
		require.Equal(r, operation, got[i], write)
	}
}

// A proof costs one write for each login that it takes: one if the password is in force at once, two if it is queued, because the
// old one is tried first. Each look at a queued change that is not in force yet costs two.
func TestWritesOfProvedRotation(t *testing.T) {
	t.Parallel()
	atOnce := func(r *rig) { r.mustRotate() }
	queue := func(wait time.Duration) func(r *rig) {
		return func(r *rig) {
			r.remote.setSettleAfter(time.Minute)
			r.remote.answer(queued, false)
			r.mustRotate()
			advance(wait)
			r.remote.setPassword("login", r.remote.sent()[1])
			advance(time.Hour)
		}
	}
	for name, row := range map[string]struct {
		options func(*role.Options)
		do      func(*rig)
		want    []string
	}{
		"in force at once":              {func(*role.Options) {}, atOnce, []string{sends, answers}},
		"in force at once, with proofs": {proved, atOnce, []string{sends, counted, answers}},
		"queued":                        {func(*role.Options) {}, queue(time.Second), []string{sends, answers, settles}},
		"queued, with proofs":           {proved, queue(time.Second), []string{sends, answers, counted, counted, settles}},
		"queued, not in force at the first look": {
			proved, queue(80 * time.Second), []string{sends, answers, counted, waits, counted, counted, settles},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, func(_ *testing.T, r *rig) {
				r.proves()
				r.mustCreate(func(in *NewRole) { row.options(&in.Options) })
				r.requireWrites(row.want, func() { row.do(r) })
			})
		})
	}
}

// Three restarts cost three writes each, and one more with a login.
func TestWritesOfProvedRestarts(t *testing.T) {
	t.Parallel()
	restart, proof := []string{requests, begins, ends}, []string{requests, begins, counted, ends}
	for name, row := range map[string]struct {
		options func(*role.Options)
		want    []string
	}{
		"without proofs": {nil, slices.Concat([]string{sends, answers}, restart, restart, restart)},
		"with proofs":    {provedServers, slices.Concat([]string{sends, answers}, proof, proof, proof)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestartTime(t, row.options, func(_ *testing.T, r *rig, _ *restarts) {
				r.requireWrites(row.want, func() {
					r.mustRotate()
					advance(time.Hour)
				})
			})
		})
	}
}

// A host key or a certificate has an entry of its own: a read of the role and the logins of a change read it, a read of creds does not.
func TestReadsOfLongOptions(t *testing.T) {
	t.Parallel()
	_, ca := providertest.Certificate(t, "redis.example")
	for name, row := range map[string]struct {
		set  func(*role.Options)
		more []string
	}{
		"none": {func(*role.Options) {}, nil},
		"verify_host_key": {func(o *role.Options) {
			o.Verify, o.VerifyHostKey = provider.LoginSSH, "SHA256:ezX23TUbUAzF3HVBsFGE2OV1EksrNnAP66BPEubCSZI"
		}, []string{"get options"}},
		"verify_ca_cert": {func(o *role.Options) { o.VerifyCACert = ca }, []string{"get options"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.proves()
				r.remote.logins = append(r.remote.logins, provider.Login{Kind: provider.LoginSSH, Address: "ssh.example:22"})
				r.mustCreate(func(in *NewRole) { proved(&in.Options); row.set(&in.Options) })
				require.Equal(t, []string{"get role"}, r.spent(func() { r.read() }), "creds")
				require.Equal(t, append([]string{"get role"}, row.more...), r.spent(func() {
					_, err := r.engine.Role(r.Context(), r.storage, "role")
					require.NoError(t, err)
				}), "roles")
				require.Equal(t, slices.Concat([]string{"get role", "put role"}, row.more, []string{"put guard", "put role"}),
					r.spent(func() { r.mustRotate() }), "a rotation")
			})
		})
	}
}

package rotation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// proofOps are what logins and restarts of servers store.
func proofOps() map[string]operation {
	rotate := func(ctx context.Context, f *faultRig) error {
		_, err := f.engine.Rotate(ctx, f.storage, "role", 0)
		return err
	}
	create := func(f *faultRig) {
		f.proves()
		f.answer(exclusive, true)
		f.mustCreate(func(in *NewRole) { proved(&in.Options) })
	}
	restored := func(f *faultRig) { // somebody has set the password before the last one again
		create(f)
		first := f.read().Password.Value
		f.mustRotate()
		f.remote.setPassword("login", first)
	}
	return map[string]operation{
		"create, proved": {
			request: true, passwords: 1, verify: requireProved,
			setup: func(f *faultRig) {
				f.proves()
				f.answer(exclusive, true)
			},
			do: func(ctx context.Context, f *faultRig) error {
				return f.writeRole(ctx, func(in *NewRole) { proved(&in.Options) })
			},
		},
		"create, adopting what a login proves": {
			request: true, verify: requireProved,
			setup: func(f *faultRig) {
				f.proves()
				f.remote.setPassword("login", "presentpassword")
			},
			do: func(ctx context.Context, f *faultRig) error {
				return f.writeRole(ctx, func(in *NewRole) {
					proved(&in.Options)
					in.Options.SkipInitialRotation, in.Password = true, "presentpassword"
				})
			},
		},
		"rotate, proved": {request: true, passwords: 1, setup: create, do: rotate, verify: requireProved},
		"rotate, lost answer, proved": {
			request: true, passwords: 1, do: rotate, verify: requireProved,
			setup: func(f *faultRig) {
				create(f)
				f.loseFirstAnswer()
			},
		},
		"rotate, queued, proved": {
			request: true, passwords: 1, do: rotate, verify: requireProved,
			setup: func(f *faultRig) {
				create(f)
				f.remote.setSettleAfter(settleAfter)
				f.answer(queued, true)
			},
		},
		"rotate, servers restarted": {
			request: true, passwords: 1, do: rotate,
			setup: func(f *faultRig) {
				f.restarting()
				f.mustWriteConn(connection.Patch{Change: func(o *connection.Options) {
					o.AllowedVerifyAddresses = []string{"a.example:22", "b.example:22", "c.example:22"}
				}})
				f.mustCreate(func(in *NewRole) { provedServers(&in.Options) })
				advance(10 * time.Minute)
			},
			verify: func(f *faultRig) {
				servers, version := f.remote.servers, f.version()
				require.Equal(f, credential.StateActive, f.read().State, f.status().Reason)
				require.Equal(f, servers.pending, f.read().Password.Value)
				asked := map[string]int{}
				for _, part := range servers.asked() {
					asked[part]++
					require.LessOrEqual(f, asked[part], version, "a server was restarted twice for one change")
				}
			},
		},
		"verify": {
			request: true, setup: create, verify: requireProved,
			do: func(ctx context.Context, f *faultRig) error {
				_, err := f.engine.VerifyRole(ctx, f.storage, "role")
				return err
			},
		},
		"recover": {
			request: true, outside: true, setup: restored, verify: requireProved,
			do: func(ctx context.Context, f *faultRig) error {
				_, err := f.engine.RecoverRole(ctx, f.storage, "role")
				return err
			},
		},
		"confirm, proved": {
			request: true, setup: create, verify: requireProved,
			do: func(ctx context.Context, f *faultRig) error {
				_, err := f.engine.Confirm(ctx, f.storage, "role", Confirmation{Password: f.remote.password("login")})
				return err
			},
		},
		"recover by itself": {
			request: true, outside: true, setup: restored, verify: requireProved,
			do: func(ctx context.Context, f *faultRig) error {
				err := f.writeRole(ctx, func(in *NewRole) {
					proved(&in.Options)
					in.Options.OnDrift = role.DriftRecover
				})
				advance(time.Hour)
				return err
			},
		},
	}
}

// requireProved asserts that a login has proved the password in force.
func requireProved(f *faultRig) {
	f.Helper()
	requireActive(f)
	require.Equal(f, credential.BasisProof, f.role().Record.Current.Basis)
}

// What a login needs is stored apart from the role, so a read costs as much as without proofs. A rotation costs the login's count
// in addition, and one read of what the login needs.
func TestProofsCostReadersNothing(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.proves()
		r.remote.logins[0].Kind = provider.LoginSSH
		r.mustCreate(func(in *NewRole) {
			proved(&in.Options)
			in.Options.Verify, in.Options.VerifyHostKey = provider.LoginSSH, "SHA256:ezX23TUbUAzF3HVBsFGE2OV1EksrNnAP66BPEubCSZI"
			in.Options.VerifyPeriod, in.Options.OnDrift = 3600, role.DriftRecover
		})
		r.storage.reset()
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, counts{gets: 1}, r.storage.counts(), "a read")
		r.storage.reset()
		r.mustRotate()
		require.Equal(t, counts{gets: 2, puts: 3}, r.storage.counts(), "a rotation")
	})
}

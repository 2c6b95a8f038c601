package rotation

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func creationOps() map[string]operation {
	plain := func(ctx context.Context, f *faultRig) error { return f.writeRole(ctx, nil) }
	return map[string]operation{
		"create": {
			request: true, passwords: 1, do: plain, verify: requireActive,
			setup: func(f *faultRig) { f.answer(exclusive, true) },
		},
		"create, adopting": {
			request: true, verify: requireAssumed,
			setup: func(f *faultRig) { f.remote.setPassword("login", "presentpassword") },
			do: func(ctx context.Context, f *faultRig) error {
				return f.writeRole(ctx, func(in *NewRole) { in.Options.SkipInitialRotation, in.Password = true, "presentpassword" })
			},
		},
		"create with the old password": {
			request: true, passwords: 2, verify: requireActive,
			setup: func(f *faultRig) {
				f.remote.needsOld = true
				f.remote.setPassword("login", "presentpassword")
				f.answer(exclusive, true)
			},
			do: func(ctx context.Context, f *faultRig) error {
				return f.writeRole(ctx, func(in *NewRole) { in.Password = "presentpassword" })
			},
		},
		"create, queued": {
			request: true, passwords: 1, do: plain, verify: requireAssumed,
			setup: func(f *faultRig) {
				f.remote.setSettleAfter(settleAfter)
				f.answer(queued, true)
			},
		},
		"create, servers to restart": {
			request: true, passwords: 1, do: plain, verify: requireWaiting,
			setup: func(f *faultRig) {
				f.remote.parts = []string{"a", "b", "c"}
				f.answerPartly()
			},
		},
		"create, refused": {
			request: true, passwords: 1,
			setup: func(f *faultRig) { f.answer(noAccount, false) },
			do: func(ctx context.Context, f *faultRig) error {
				return unlessAbout(f.writeRole(ctx, nil), "not created: no such account")
			},
			repair: func(f *faultRig) { f.answer(exclusive, true) },
			verify: func(f *faultRig) {
				role, err := f.engine.Role(f.Context(), f.storage, "role")
				require.NoError(f, err)
				if role != nil && f.read().State != credential.StateNone { // otherwise it could not be removed, and the error said so
					requireActive(f)
				}
			},
		},
		"first read": {
			request: true, passwords: 1, verify: requireActive,
			setup: func(f *faultRig) {
				f.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
				f.answer(exclusive, true)
			},
			do: func(_ context.Context, f *faultRig) error {
				_, err := f.firstRead()
				return err
			},
		},
	}
}

func changeOps() map[string]operation {
	rotate := func(ctx context.Context, f *faultRig) error {
		_, err := f.engine.Rotate(ctx, f.storage, "role", 0)
		return err
	}
	return map[string]operation{
		"rotate": {
			request: true, passwords: 1, do: rotate, verify: requireActive,
			setup: func(f *faultRig) {
				f.mustCreate(nil)
				f.answer(exclusive, true)
			},
		},
		"set a password": {
			request: true, passwords: 1, verify: requireActive,
			setup: func(f *faultRig) {
				f.mustCreate(nil)
				f.answer(exclusive, true)
			},
			do: func(ctx context.Context, f *faultRig) error {
				_, err := f.engine.SetPassword(ctx, f.storage, "role", "chosenpassword")
				return err
			},
		},
		"rotate with the old password": {
			request: true, passwords: 2, do: rotate, verify: requireActive,
			setup: func(f *faultRig) {
				f.remote.needsOld = true
				f.remote.setPassword("login", "presentpassword")
				f.answer(exclusive, true)
				f.mustCreate(func(in *NewRole) { in.Password = "presentpassword" })
			},
		},
		"rotate with the old password, lost answer": {
			request: true, passwords: 3, do: rotate, verify: requireActive,
			setup: func(f *faultRig) {
				f.remote.needsOld = true
				f.remote.setPassword("login", "presentpassword")
				f.answer(exclusive, true)
				f.mustCreate(func(in *NewRole) { in.Password = "presentpassword" })
				f.loseFirstAnswer()
			},
		},
		"rotate, lost answer": {
			request: true, passwords: 1, do: rotate, verify: requireActive,
			setup: func(f *faultRig) {
				f.mustCreate(nil)
				f.loseFirstAnswer()
			},
		},
		"rotate, queued": {
			request: true, passwords: 1, do: rotate, verify: requireAssumed,
			setup: func(f *faultRig) {
				f.mustCreate(nil)
				f.remote.setSettleAfter(settleAfter)
				f.answer(queued, true)
			},
		},
		"rotate, servers to restart": {
			request: true, passwords: 1, do: rotate, verify: requireWaiting,
			setup: func(f *faultRig) {
				f.createServers()
				f.answerPartly()
			},
		},
		"rotate, refused passwords": {
			request: true, passwords: 3, do: rotate, verify: requireActive,
			setup: func(f *faultRig) {
				f.mustCreate(nil)
				f.onCall(func(call int) (provider.Result, bool) {
					if call <= 2 {
						return weakPassword, false
					}
					return exclusive, true
				})
			},
		},
	}
}

// ownWork is what the engine does without a request.
func ownWork() map[string]operation {
	wait := func(d time.Duration) func(context.Context, *faultRig) error {
		return func(context.Context, *faultRig) error {
			advance(d)
			return nil
		}
	}
	rotate := func(f *faultRig) {
		f.mustCreate(nil)
		_, _ = f.rotate()
	}
	first := func(f *faultRig, result provider.Result, takesEffect bool) {
		f.onCall(func(call int) (provider.Result, bool) {
			if call == 2 { // the one after the first password
				return result, takesEffect
			}
			return exclusive, true
		})
		rotate(f)
	}
	return map[string]operation{
		"resume after an unknown outcome": {
			setup: func(f *faultRig) { first(f, unknown, false) }, do: wait(5 * time.Minute), passwords: 1, verify: requireActive,
		},
		"retry after busy": {
			setup: func(f *faultRig) { first(f, busy, false) }, do: wait(5 * time.Minute), passwords: 1, verify: requireActive,
		},
		"settle a queue": {
			setup: func(f *faultRig) {
				f.remote.setSettleAfter(settleAfter)
				f.answer(queued, true)
				rotate(f)
			},
			do: wait(settleAfter + 5*time.Minute), verify: requireAssumed,
		},
		"start": {
			setup: func(f *faultRig) { first(f, unknown, false) }, passwords: 1, verify: requireActive,
			do: func(_ context.Context, f *faultRig) error {
				f.restart()
				advance(5 * time.Minute)
				return nil
			},
			repair: func(f *faultRig) { // the next sweep
				advance(sweepEvery)
				f.engine.Wake()
			},
		},
	}
}

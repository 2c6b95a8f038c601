package rotation

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
)

func requestOps() map[string]operation {
	uncertain := func(f *faultRig) {
		f.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		f.answer(unknown, true)
		f.mustRotate()
	}
	confirm := func(c Confirmation) func(context.Context, *faultRig) error {
		return func(ctx context.Context, f *faultRig) error {
			_, err := f.engine.Confirm(ctx, f.storage, "role", c)
			return err
		}
	}
	gone := func(f *faultRig) {
		role, err := f.engine.Role(f.Context(), f.storage, "role")
		require.NoError(f, err)
		require.Nil(f, role)
		f.answer(exclusive, true)
		f.mustCreate(nil) // nothing is left that blocks another role
		advance(3 * time.Hour)
		requireActive(f)
	}
	deletion := func(force bool) func(context.Context, *faultRig) error {
		return func(ctx context.Context, f *faultRig) error { return f.engine.Delete(ctx, f.storage, "role", force) }
	}
	return map[string]operation{
		"update": {
			request: true,
			setup:   func(f *faultRig) { f.mustCreate(nil) },
			do: func(ctx context.Context, f *faultRig) error {
				return f.writeRole(ctx, func(in *NewRole) { in.Options.HistorySize = 7 })
			},
			verify: func(f *faultRig) { require.Equal(f, 7, f.role().Options.HistorySize) },
		},
		"delete":                   {request: true, setup: func(f *faultRig) { f.mustCreate(nil) }, do: deletion(false), verify: gone},
		"delete an uncertain role": {request: true, setup: uncertain, do: deletion(true), verify: gone},
		"confirm a version": {
			request: true, setup: uncertain, do: confirm(Confirmation{Version: 2}),
			verify: func(f *faultRig) { requireAssumed(f) },
		},
		"confirm a password": {
			request: true, setup: uncertain, do: confirm(Confirmation{Password: "elsewherepassword"}),
			verify: func(f *faultRig) { require.Equal(f, "elsewherepassword", f.read().Password.Value) },
		},
		"discard": {
			request: true, setup: uncertain, do: confirm(Confirmation{Version: 2, Discard: true}),
			verify: func(f *faultRig) { require.Equal(f, credential.WhyDiscarded, f.role().Record.Candidates[0].Why) },
		},
		"confirm servers": {
			request: true, do: confirm(Confirmation{Version: 2, Servers: []string{"a", "b"}}),
			setup: func(f *faultRig) {
				f.createServers()
				f.answer(needsRestart, false)
				f.mustRotate()
			},
			verify: func(f *faultRig) { require.Equal(f, []string{"a", "b"}, f.role().Record.Next.InForceOn) },
		},
		"settings": {
			request: true, setup: func(*faultRig) {},
			do: func(ctx context.Context, f *faultRig) error {
				return f.engine.Gate.WriteSettings(ctx, f.storage, func(s *store.Settings) { s.CatchUpLimit = 3600 })
			},
			verify: func(f *faultRig) {
				settings, err := f.engine.Gate.Settings(f.Context(), f.storage)
				require.NoError(f, err)
				require.Equal(f, 3600, settings.CatchUpLimit)
			},
		},
	}
}

func connectionOps() map[string]operation {
	write := func(name string, patch connection.Patch) func(context.Context, *faultRig) error {
		return func(ctx context.Context, f *faultRig) error {
			return f.engine.Connections.Write(ctx, f.storage, name, patch)
		}
	}
	created := newConn("key")
	changed := withKey("another")
	key := func(f *faultRig, name string) string {
		c, err := f.store().Connection(f.Context(), name)
		require.NoError(f, err)
		return c.Settings.String("key")
	}
	refused := func(f *faultRig) {
		f.mustCreate(nil)
		f.remote.refuseCredential()
	}
	repair := func(f *faultRig) {
		f.answer(exclusive, true)
		f.remote.answerCheck(applied)
	}
	return map[string]operation{
		"create a connection": {
			request: true, setup: func(*faultRig) {}, do: write("other", created),
			verify: func(f *faultRig) { require.Equal(f, "key", key(f, "other")) },
		},
		"another credential": {
			request: true, setup: func(f *faultRig) { f.mustCreate(nil) }, do: write("conn", changed),
			verify: func(f *faultRig) { require.Equal(f, "another", key(f, "conn")) },
		},
		"another credential for a paused connection": {
			request: true, passwords: 1,
			setup: func(f *faultRig) {
				refused(f)
				f.rotateFails(problem.KindUnreachable)
				repair(f)
			},
			do: write("conn", changed),
			verify: func(f *faultRig) {
				require.Equal(f, "another", key(f, "conn"))
				requireActive(f)
			},
		},
		"delete a connection": {
			request: true,
			setup: func(f *faultRig) {
				require.NoError(f, write("other", created)(f.Context(), f))
				f.requireStoredConn("other") // which caches it
			},
			do: func(ctx context.Context, f *faultRig) error {
				return f.engine.Connections.Delete(ctx, f.storage, "other")
			},
			verify: func(f *faultRig) {
				_, err := f.engine.Connections.Read(f.Context(), f.storage, "other")
				require.ErrorIs(f, err, problem.ErrNoConnection)
			},
		},
		"pause": {
			request: true, passwords: 1, setup: refused, repair: repair, verify: requireActive,
			do: func(ctx context.Context, f *faultRig) error {
				_, err := f.engine.Rotate(ctx, f.storage, "role", 0)
				return unlessAbout(err, "wrong password")
			},
		},
		"probe": {
			passwords: 1, verify: requireActive,
			setup: func(f *faultRig) {
				refused(f)
				f.rotateFails(problem.KindUnreachable)
				repair(f)
			},
			do: func(context.Context, *faultRig) error {
				advance(30 * time.Minute)
				return nil
			},
		},
		"failing probe": {
			passwords: 1, repair: repair, verify: requireActive,
			setup: func(f *faultRig) {
				refused(f)
				f.rotateFails(problem.KindUnreachable)
			},
			do: func(context.Context, *faultRig) error {
				advance(30 * time.Minute)
				return nil
			},
		},
	}
}

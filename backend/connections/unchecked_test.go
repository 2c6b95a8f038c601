package connections

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
)

// A user who writes a secret believes that it was checked.
func TestUncheckedSecretIsWarnedAbout(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		writes := func(patch connection.Patch) (warnings []string) {
			patch.Warn = func(text string) { warnings = append(warnings, text) }
			r.mustWrite(patch)
			return warnings
		}
		checks := r.remote.used("key")
		require.Equal(t, []string{explain.SecretUnchanged}, writes(withKey("key")))
		require.Equal(t, checks, r.remote.used("key"))
		require.Empty(t, writes(forced("key")))
		require.Equal(t, checks+1, r.remote.used("key"), "force=true checks it")
		require.Empty(t, writes(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 9 }}), "it has no secret")
		require.Empty(t, writes(withKey("new")), "it was checked")

		require.Equal(t, []string{explain.StoredUnchecked}, writes(unchecked("unchecked")))
		require.Equal(t, []string{explain.SecretUnchanged}, writes(withKey("unchecked")))
		r.remote.answer("unchecked", denied)
		_, err := r.change(r.handle())
		require.NoError(t, err)
		r.requirePaused()
		require.Empty(t, writes(unchecked("another")), "the one before was refused")
	})
}

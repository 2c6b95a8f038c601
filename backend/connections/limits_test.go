package connections

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestWriteKeepsLimitsOfMount(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.settings = store.Settings{AllowedHosts: provider.Hosts{"*.example.com"}}
		before, calls := r.stored(), r.remote.calls["key"]
		more := connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 9 }}
		require.ErrorContains(t, r.c.Write(t.Context(), r.storage, "conn", more), "allowed_hosts in the mount's settings does not allow the host in url (remote.example)")
		r.settings = store.Settings{ForbidInsecureTLS: true}
		insecure := withKey("key")
		insecure.Change = func(o *connection.Options) { o.TLS.Insecure = true }
		require.ErrorContains(t, r.c.Write(t.Context(), r.storage, "conn", insecure), "forbid_insecure_tls")
		require.Equal(t, before, r.stored())
		require.Equal(t, calls, r.remote.calls["key"], "nothing is tried out")
		r.settings = store.Settings{}
		require.NoError(t, r.c.Write(t.Context(), r.storage, "conn", insecure))
	})
}

// Reads of passwords need no settings.
func TestUnreadableSettingsLeaveConnectionReadable(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.restart()
		r.settingsErr = errors.New("the settings are damaged")
		h := r.handle()
		_, err := h.Check(t.Context(), r.store())
		require.ErrorContains(t, err, "damaged")
		require.ErrorContains(t, r.c.Write(t.Context(), r.storage, "conn", connection.Patch{}), "damaged")
		r.settingsErr = nil
		_, err = r.handle().Check(t.Context(), r.store())
		require.NoError(t, err, "the next caller reads the settings again")
	})
}

// The settings may change while the check of a new connection runs.
func TestHandleWithOldLimitsIsNotKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.during = func(string) { r.settings = store.Settings{ForbidInsecureTLS: true} }
		r.mustWrite(withKey("new"))
		require.True(t, r.handle().Limits().ForbidInsecureTLS)
	})
}

package role

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerificationChangesWithItsOptions(t *testing.T) {
	t.Parallel()
	before := Defaults()
	for _, change := range []func(*Options){
		func(o *Options) { o.Verify = "ssh" }, func(o *Options) { o.VerifyAddress = "h:22" }, func(o *Options) { o.VerifyHostKey = "SHA256:key" },
		func(o *Options) { o.VerifyCACert = "certificate" }, func(o *Options) { o.VerifyTLS = false },
	} {
		after := before
		change(&after)
		require.NotEqual(t, before.Verification(), after.Verification())
	}
	after := before
	after.MaxReadTTL = 77
	require.Equal(t, before.Verification(), after.Verification())
}

func TestFormerVerifyIsRead(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]LoginKind{`{}`: "", `{"verify":false}`: "", `{"verify":true}`: "", `{"verify":"ssh"}`: "ssh"} {
		var o Options
		require.NoError(t, json.Unmarshal([]byte(stored), &o))
		require.Equal(t, want, o.Verify)
		require.Equal(t, want != "", o.Proves())
	}
	require.Error(t, json.Unmarshal([]byte(`{"verify":7}`), &Options{}))
	require.False(t, Options{Verify: "none"}.Proves())
}

func TestVerificationWarnings(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		"have no effect until verify is set": func(o *Options) { o.VerifyAddress = "h:22" },
		"can read the passwords of the role": func(o *Options) { o.Verify, o.VerifyTLS = "redis", false },
	} {
		o := Defaults()
		change(&o)
		require.Len(t, o.Warnings(time.Now()), 1)
		require.Contains(t, o.Warnings(time.Now())[0], want)
	}
	o := Defaults()
	o.Verify, o.VerifyAddress = "redis", "h:22"
	require.Empty(t, o.Warnings(time.Now()))
}

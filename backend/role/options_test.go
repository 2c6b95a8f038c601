package role

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, Defaults().Validate())
	require.Equal(t, Options{RotationMode: "auto", MaxReadTTL: 300, HistorySize: 5, VerifyTLS: true, OnDrift: "report"}, Defaults())
}

// Each field at the edges of what it may be. The error names the field.
func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Options)
		err    string // empty: valid
	}{
		"period":                   {func(o *Options) { o.RotationPeriod = 10 }, ""},
		"period too short":         {func(o *Options) { o.RotationPeriod = 9 }, "rotation_period must be at least 10 seconds"},
		"period, 10 years":         {func(o *Options) { o.RotationPeriod = 315360000 }, ""},
		"period too long":          {func(o *Options) { o.RotationPeriod = 315360001 }, "rotation_period must be at most 315360000 seconds (10 years)"},
		"window too long":          {func(o *Options) { o.RotationSchedule, o.RotationWindow = hourly, 315360001 }, "rotation_window must be at most"},
		"after read, too long":     {func(o *Options) { o.RotateAfterRead = 315360001 }, "rotate_after_read must be at most"},
		"max_read_ttl too long":    {func(o *Options) { o.MaxReadTTL = 315360001 }, "max_read_ttl must be at most"},
		"period negative":          {func(o *Options) { o.RotationPeriod = -10 }, "rotation_period must be at least 10 seconds"},
		"schedule":                 {func(o *Options) { o.RotationSchedule = hourly }, ""},
		"schedule and period":      {func(o *Options) { o.RotationSchedule, o.RotationPeriod = hourly, 3600 }, "either rotation_period or rotation_schedule"},
		"schedule with seconds":    {func(o *Options) { o.RotationSchedule = "0 0 0 * * *" }, "rotation_schedule \"0 0 0 * * *\" must be a cron expression with five fields"},
		"schedule with time zone":  {func(o *Options) { o.RotationSchedule = "TZ=UTC 0 0 * * *" }, "rotation_schedule \"TZ=UTC 0 0 * * *\" must be a cron expression with five fields"},
		"schedule, @daily":         {func(o *Options) { o.RotationSchedule = "@daily" }, "use only letters, digits"},
		"schedule, never":          {func(o *Options) { o.RotationSchedule = never }, "rotation_schedule \"0 0 30 2 *\" never matches"},
		"schedule, blank":          {func(o *Options) { o.RotationSchedule = " " }, "rotation_schedule \" \" must be a cron expression"},
		"window":                   {func(o *Options) { o.RotationSchedule, o.RotationWindow = hourly, 3600 }, ""},
		"window too short":         {func(o *Options) { o.RotationSchedule, o.RotationWindow = hourly, 3599 }, "rotation_window must be at least 3600 seconds"},
		"window negative":          {func(o *Options) { o.RotationSchedule, o.RotationWindow = hourly, -3600 }, "rotation_window must be at least 3600 seconds"},
		"window without schedule":  {func(o *Options) { o.RotationWindow = 3600 }, "rotation_window requires rotation_schedule"},
		"window with period":       {func(o *Options) { o.RotationPeriod, o.RotationWindow = 60, 3600 }, "rotation_window requires rotation_schedule"},
		"mode":                     {func(o *Options) { o.RotationMode = "on_read" }, ""},
		"mode missing":             {func(o *Options) { o.RotationMode = "" }, `rotation_mode must be "auto" or "on_read"`},
		"mode unknown":             {func(o *Options) { o.RotationMode = "manual" }, `rotation_mode must be "auto" or "on_read"`},
		"after read":               {func(o *Options) { o.RotateAfterRead = 1 }, ""},
		"after read, off":          {func(o *Options) { o.RotateAfterRead = 0 }, ""},
		"after read, negative":     {func(o *Options) { o.RotateAfterRead = -1 }, "rotate_after_read must not be negative"},
		"disabled":                 {func(o *Options) { o.Disabled = true }, ""},
		"max_read_ttl":             {func(o *Options) { o.MaxReadTTL = 10 }, ""},
		"max_read_ttl, no limit":   {func(o *Options) { o.MaxReadTTL = 0 }, ""},
		"max_read_ttl too short":   {func(o *Options) { o.MaxReadTTL = 9 }, "max_read_ttl must be at least 10 seconds"},
		"max_read_ttl negative":    {func(o *Options) { o.MaxReadTTL = -1 }, "max_read_ttl must be at least 10 seconds"},
		"history":                  {func(o *Options) { o.HistorySize = 50 }, ""},
		"no history":               {func(o *Options) { o.HistorySize = 0 }, ""},
		"history too long":         {func(o *Options) { o.HistorySize = 51 }, "history_size must be between 0 and 50"},
		"history negative":         {func(o *Options) { o.HistorySize = -1 }, "history_size must be between 0 and 50"},
		"password policy":          {func(o *Options) { o.PasswordPolicy = "any" }, ""},
		"last password":            {func(o *Options) { o.ReturnLast = true }, ""},
		"no initial rotation":      {func(o *Options) { o.SkipInitialRotation = true }, ""},
		"drift unknown":            {func(o *Options) { o.OnDrift = "" }, `on_drift must be "report", "recover" or "rotate"`},
		"recover drift":            {func(o *Options) { o.Verify, o.OnDrift = "ssh", "recover" }, ""},
		"rotate after drift":       {func(o *Options) { o.Verify, o.OnDrift = "ssh", "rotate" }, ""},
		"recover, not verified":    {func(o *Options) { o.OnDrift = "recover" }, "on_drift=recover requires verify"},
		"rotate, not verified":     {func(o *Options) { o.Verify, o.OnDrift = "none", "rotate" }, "on_drift=rotate requires verify"},
		"verify":                   {func(o *Options) { o.Verify = "ssh" }, ""},
		"verify period":            {func(o *Options) { o.Verify, o.VerifyPeriod = "ssh", 3600 }, ""},
		"verify period too short":  {func(o *Options) { o.Verify, o.VerifyPeriod = "ssh", 3599 }, "verify_period must be at least 3600 seconds"},
		"verify period negative":   {func(o *Options) { o.Verify, o.VerifyPeriod = "ssh", -3600 }, "verify_period must be at least 3600 seconds"},
		"verify period too long":   {func(o *Options) { o.Verify, o.VerifyPeriod = "ssh", 315360001 }, "verify_period must be at most"},
		"period, not verified":     {func(o *Options) { o.VerifyPeriod = 3600 }, "verify_period requires verify"},
		"private host key":         {func(o *Options) { o.VerifyHostKey = "a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb" }, "verify_host_key contains a private key, which was not stored"},
		"private key of PuTTY":     {func(o *Options) { o.VerifyHostKey = "PuTTY-User-Key-File-3: ssh-ed25519" }, "verify_host_key contains a private key, which was not stored"},
		"private key of CA":        {func(o *Options) { o.VerifyCACert = "-----BEGIN RSA PRIVATE KEY-----" }, "verify_ca_cert contains a private key, which was not stored"},
		"verify without TLS check": {func(o *Options) { o.VerifyTLS = false }, ""},
		"verify address":           {func(o *Options) { o.VerifyAddress = "host.example:22" }, ""}, // the connection has to allow it
	} {
		o := Defaults()
		c.change(&o)
		if c.err == "" {
			require.NoError(t, o.Validate(), name)
			continue
		}
		require.ErrorContains(t, o.Validate(), c.err, name)
	}
}

package store

import (
	"context"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Settings are the settings of the mount.
type Settings struct {
	Schema int `json:"schema"`
	// CatchUpLimit is in seconds.
	CatchUpLimit int `json:"catch_up_limit"`

	// The others limit what the writers of connections and roles can do.

	AllowedHosts      provider.Hosts `json:"allowed_hosts,omitempty"`
	ForbidInsecureTLS bool           `json:"forbid_insecure_tls,omitempty"`
	// MinRotationInterval is the minimum time between two requested rotations of a role, in seconds; 0: none.
	MinRotationInterval int `json:"min_rotation_interval,omitempty"`
	// MaxRolesPerConnection limits new roles; 0: no limit.
	MaxRolesPerConnection int `json:"max_roles_per_connection,omitempty"`
	// MinPasswordBits is how hard to guess the passwords of a password policy must be; 0: no minimum.
	MinPasswordBits int `json:"min_password_bits"`
}

// Defaults and bounds of the settings. Times are in seconds.
const (
	DefaultCatchUpLimit    = 86400
	DefaultMinPasswordBits = 64
	minCatchUpLimit        = 60
	maxMinPasswordBits     = 128
	maxMaxRoles            = 1_000_000
)

// Settings returns the stored settings, or the defaults. A setting that an older version did not store has its default.
func (s Store) Settings(ctx context.Context) (Settings, error) {
	return loadOver(ctx, s, SettingsKey, Settings{CatchUpLimit: DefaultCatchUpLimit, MinPasswordBits: DefaultMinPasswordBits})
}

// Validate checks the settings. Its errors are for the user who set them.
func (s Settings) Validate() error {
	const longest = timing.LongestOption
	switch {
	case s.CatchUpLimit < minCatchUpLimit:
		return fmt.Errorf("catch_up_limit must be at least %d seconds", minCatchUpLimit)
	case s.MinRotationInterval < 0 || s.MinRotationInterval > longest:
		return fmt.Errorf("min_rotation_interval must be between 0 and %d seconds (10 years)", longest)
	case s.MaxRolesPerConnection < 0 || s.MaxRolesPerConnection > maxMaxRoles:
		return fmt.Errorf("max_roles_per_connection must be between 0 and %d; 0 means no limit", maxMaxRoles)
	case s.MinPasswordBits < 0 || s.MinPasswordBits > maxMinPasswordBits:
		return fmt.Errorf("min_password_bits must be between 0 and %d; 0 means no minimum", maxMinPasswordBits)
	default:
		return s.AllowedHosts.Validate()
	}
}

// PutSettings stores the settings. Load the previous ones first, which fails if a newer version wrote them.
func (s Store) PutSettings(ctx context.Context, settings Settings) error {
	settings.Schema = Schema
	return s.put(ctx, SettingsKey, settings)
}

// Freeze returns the stored freeze, which may be over, or nil.
func (s Store) Freeze(ctx context.Context) (*role.Freeze, error) {
	return load[role.Freeze](ctx, s, FreezeKey)
}

// PutFreeze stores a freeze. Load the previous one first, which fails if a newer version wrote it.
func (s Store) PutFreeze(ctx context.Context, f *role.Freeze) error {
	f.Schema = Schema
	return s.put(ctx, FreezeKey, f)
}

// heartbeat is stored while the engine runs, so that the next start knows how long it has not run.
type heartbeat struct {
	Schema int       `json:"schema"`
	Time   time.Time `json:"time"`
}

// Heartbeat returns the time of the last heartbeat; zero if there was none.
func (s Store) Heartbeat(ctx context.Context) (time.Time, error) {
	h, err := loadOrZero[heartbeat](ctx, s, HeartbeatKey)
	return h.Time, err
}

// PutHeartbeat stores a heartbeat.
func (s Store) PutHeartbeat(ctx context.Context, now time.Time) error {
	if err := s.Removable(ctx, HeartbeatKey); err != nil {
		return err
	}
	return s.put(ctx, HeartbeatKey, heartbeat{Schema, now})
}

// FirstRead is stored when a password of a role with rotate_after_read is read for the first time. Later reads store
// nothing.
type FirstRead struct {
	Schema int `json:"schema"`
	// Version and Created identify the password.
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Time    time.Time `json:"time"`
}

// Of reports whether this is the first read of the password.
func (f FirstRead) Of(p *credential.Password) bool {
	return p != nil && f.Version == p.Version && f.Created.Equal(p.Created)
}

// FirstRead returns the stored first read of a role, or the zero value.
func (s Store) FirstRead(ctx context.Context, name string) (FirstRead, error) {
	return loadOrZero[FirstRead](ctx, s, ReadPrefix+name)
}

// PutFirstRead stores the first read of a password.
func (s Store) PutFirstRead(ctx context.Context, name string, f FirstRead) error {
	f.Schema = Schema
	return s.put(ctx, ReadPrefix+name, f)
}

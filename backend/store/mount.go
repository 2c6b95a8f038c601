package store

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/role"
)

// Settings are the settings of the mount.
type Settings struct {
	Schema int `json:"schema"`
	// CatchUpLimit is in seconds.
	CatchUpLimit int `json:"catch_up_limit"`
}

// DefaultCatchUpLimit is a day, in seconds.
const DefaultCatchUpLimit = 86400

// Settings returns the stored settings, or the defaults.
func (s Store) Settings(ctx context.Context) (Settings, error) {
	out, err := loadOrZero[Settings](ctx, s, SettingsKey)
	if err == nil && out.CatchUpLimit == 0 {
		out.CatchUpLimit = DefaultCatchUpLimit
	}
	return out, err
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

package rotation

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// Settings of the whole mount.
type Settings struct {
	Schema int `json:"schema"`
	// CatchUpLimit in seconds.
	CatchUpLimit int `json:"catch_up_limit"`
}

// DefaultCatchUpLimit is a day.
const DefaultCatchUpLimit = 86400

// ReadSettings returns the stored settings, or the defaults.
func (e *Engine) ReadSettings(ctx context.Context, storage logical.Storage) (Settings, error) {
	out := Settings{CatchUpLimit: DefaultCatchUpLimit}
	_, err := store{storage}.get(ctx, settingsKey, &out)
	return out, storageError("reading the settings", err)
}

// WriteSettings stores the settings.
func (e *Engine) WriteSettings(ctx context.Context, storage logical.Storage, in Settings) error {
	if in.CatchUpLimit < 60 {
		return Mistake("catch_up_limit must be at least 60 seconds")
	}
	in.Schema = schemaVersion
	if err := (store{storage}).put(ctx, settingsKey, in); err != nil {
		return notStored("storing the settings", err)
	}
	e.setLimit(in)
	if known, _ := e.begun(); known { // a shorter limit asks for a heartbeat that is not as old as a longer one lets it be
		e.beat(ctx)
	}
	return nil
}

package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
)

// Settings returns the mount's settings.
func (g *Gate) Settings(ctx context.Context, storage logical.Storage) (store.Settings, error) {
	settings, err := store.Store{Storage: storage}.Settings(ctx)
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%w. To set the defaults back: vault delete MOUNT/settings", err)
	}
	return settings, problem.Storage("reading the settings", err)
}

// WriteSettings changes the mount's settings.
func (g *Gate) WriteSettings(ctx context.Context, storage logical.Storage, change func(*store.Settings)) error {
	settings, err := g.Settings(ctx, storage)
	if err != nil {
		return err
	}
	change(&settings)
	if settings.CatchUpLimit < 60 {
		return problem.Mistake("catch_up_limit must be at least 60 seconds")
	}
	s := store.Store{Storage: storage}
	if err := s.PutSettings(ctx, settings); err != nil {
		return problem.NotStored("storing the settings", err)
	}
	g.changed(ctx, s, settings)
	return nil
}

// ResetSettings deletes the mount's settings, so that the defaults apply. It repairs damaged ones.
func (g *Gate) ResetSettings(ctx context.Context, storage logical.Storage) error {
	s := store.Store{Storage: storage}
	if err := s.Remove(ctx, store.SettingsKey); err != nil {
		return problem.NotStored("resetting the settings", err)
	}
	settings, err := g.Settings(ctx, storage)
	if err != nil {
		return err
	}
	g.changed(ctx, s, settings)
	_ = g.Load(ctx, s) // damaged settings prevented that; after an error, the sweep retries and logs it
	return nil
}

// changed applies settings that were stored.
func (g *Gate) changed(ctx context.Context, s store.Store, settings store.Settings) {
	g.setLimit(settings)
	if g.isLoaded() { // write a heartbeat now: the last one may be older than the new limit
		g.beat(ctx, s)
	}
}

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

// Current is Settings without a storage read, unless they have changed since the last one on this or another node.
func (g *Gate) Current(ctx context.Context, s store.Store) (store.Settings, error) {
	g.mu.Lock()
	known, forgotten := g.settings, g.forgotten
	g.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	settings, err := g.Settings(ctx, s.Storage)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.forgotten == forgotten {
		g.settings = &settings
	}
	return settings, err
}

// ForgetSettings is called when this or another node may have written the settings.
func (g *Gate) ForgetSettings() {
	g.mu.Lock()
	g.settings = nil
	g.forgotten++
	g.mu.Unlock()
	g.SettingsChanged()
}

// WriteSettings changes the mount's settings.
func (g *Gate) WriteSettings(ctx context.Context, storage logical.Storage, change func(*store.Settings)) error {
	unlock, err := g.loading.Lock(ctx, store.SettingsKey)
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	settings, err := g.Settings(ctx, storage)
	if err != nil {
		return err
	}
	change(&settings)
	if err := settings.Validate(); err != nil {
		return problem.Mistake("%s", err)
	}
	s := store.Store{Storage: storage}
	err = s.PutSettings(ctx, settings)
	g.ForgetSettings() // even after an error, they may have been stored
	if err != nil {
		return problem.NotStored("storing the settings", err)
	}
	g.changed(ctx, s, settings)
	return nil
}

// ResetSettings deletes the mount's settings, so that the defaults apply. It repairs damaged ones.
func (g *Gate) ResetSettings(ctx context.Context, storage logical.Storage) error {
	unlock, err := g.loading.Lock(ctx, store.SettingsKey)
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	s := store.Store{Storage: storage}
	err = s.Remove(ctx, store.SettingsKey)
	g.ForgetSettings()
	if err != nil {
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
	if g.Loaded() { // write a heartbeat now: the last one may be older than the new limit
		g.beat(ctx, s)
	}
}

package connections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
)

// Sweep queues the probes of these connections that are paused, and removes the guards that none of them uses. With anew, it
// reads the connections and their pauses again. It reports whether all of them could be read.
func (c *Connections) Sweep(ctx context.Context, s store.Store, names []string, anew bool) bool {
	used := &sync.Map{}
	opened := Each(ctx, c.Logger, store.ConnectionPrefix, names, func(name string) error { return c.sweepOne(ctx, s, name, used, anew) })
	if opened {
		c.removeUnusedGuards(ctx, s, used)
	}
	return opened
}

// sweepOne is Sweep for one connection. It adds the guards that the connection uses.
func (c *Connections) sweepOne(ctx context.Context, s store.Store, name string, used *sync.Map, anew bool) error {
	if anew {
		c.Cache.Drop(name)
	}
	h, err := c.Handle(ctx, s, name)
	if errors.Is(err, problem.ErrNoConnection) {
		return nil
	}
	if err != nil {
		return err
	}
	used.Store(h.Guard.Key(), true)
	used.Store(h.Guard.HoldKey(), true)
	if pause := h.Paused(); pause != nil {
		c.Health.Paused(h, pause)
		if !pause.NextProbe.IsZero() && (anew || !c.Probing(name)) {
			c.Probes(name, pause.NextProbe)
		}
	}
	return nil
}

// removeUnusedGuards deletes the entries of lockout guards that no connection uses and that are a day old. Otherwise each
// new access key would leave one forever.
func (c *Connections) removeUnusedGuards(ctx context.Context, s store.Store, used *sync.Map) {
	keys, err := s.List(ctx, store.GuardPrefix)
	kept := map[string]bool{}
	used.Range(func(key, _ any) bool {
		kept[fmt.Sprint(key)] = true
		return true
	})
	for _, key := range keys {
		if kept[key] || ctx.Err() != nil {
			continue
		}
		kept[key] = true
		a, failed := s.Attempts(ctx, key)
		if failed == nil && a.Unused(c.Now()) {
			failed = s.Remove(ctx, store.GuardPrefix+key)
			if failed == nil {
				delete(kept, key)
			}
		}
		err = cmp.Or(err, failed)
	}
	if err != nil && ctx.Err() == nil {
		c.Logger.Warn("could not delete the lockout guards of credentials that no connection uses: this is retried in ten minutes", "error", err)
		return
	}
	c.Guards.Keep(kept)
}

// sweepReaders is how many entries are read concurrently.
const sweepReaders = 16

// Each calls f for all names, several at a time, and reports whether all calls succeeded. A panic stops neither the other
// calls nor the process.
func Each(ctx context.Context, logger hclog.Logger, prefix string, names []string, f func(name string) error) bool {
	var failed atomic.Bool
	var next atomic.Int64
	var readers sync.WaitGroup
	one := func(name string) (err error) {
		defer func() {
			if problem.LogPanic(logger, recover(), "reading an entry", "key", prefix+name) {
				err = problem.ErrPanicked
			}
		}()
		return f(name)
	}
	for range min(sweepReaders, len(names)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := one(names[i]); err != nil {
					failed.Store(true)
					if ctx.Err() == nil {
						logger.Error("could not read an entry: this is retried in ten minutes", "key", prefix+names[i], "error", err)
					}
				}
			}
		})
	}
	readers.Wait()
	return !failed.Load() && ctx.Err() == nil
}

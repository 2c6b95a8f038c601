package modelcheck

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// disk is what Vault keeps: it outlives every node.
type disk struct {
	entries map[string][]byte
	// writes counts the changes of each key, so that what was decoded need not be decoded again.
	writes map[string]int
}

// Errors of storage.
var (
	errDead   = errors.New("this node is gone")
	errBroken = errors.New("storage is out of order")
)

// trouble is what storage suffers from for a while.
type trouble string

const (
	healthy      trouble = ""
	putsFail     trouble = "writes fail"
	putsLieThere trouble = "writes are done and fail all the same"
	allFails     trouble = "everything fails"
	someFail     trouble = "every third operation fails"
	readOnly     trouble = "the node is read-only"
)

// operations counts what was done with storage.
type operations struct{ roleGets, rolePuts, guards, others int }

// handle is a node's way to the disk. Once the node is dead it changes nothing any more.
type handle struct {
	w    *world
	node *node
	// well: the reader that checks the model has no troubles.
	well bool
}

func (h *handle) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if err := h.trouble(ctx, false); err != nil {
		return nil, err
	}
	h.count(key, func(o *operations) *int { return &o.roleGets })
	value, ok := h.w.disk.entries[key]
	if !ok {
		return nil, nil //nolint:nilnil // as logical.Storage has it
	}
	return &logical.StorageEntry{Key: key, Value: slices.Clone(value)}, nil
}

func (h *handle) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return h.write(ctx, entry.Key, func() {
		h.count(entry.Key, func(o *operations) *int { return &o.rolePuts })
		h.w.disk.entries[entry.Key] = slices.Clone(entry.Value)
	})
}

func (h *handle) Delete(ctx context.Context, key string) error {
	return h.write(ctx, key, func() {
		h.count(key, func(o *operations) *int { return &o.others })
		delete(h.w.disk.entries, key)
	})
}

// write does a change, unless the node dies before it; it may also die after it.
func (h *handle) write(ctx context.Context, key string, do func()) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.node.dies(beforeWrite, key) {
		return errDead
	}
	err := h.trouble(ctx, true)
	done := err == nil || w.trouble == putsLieThere && errors.Is(err, errBroken)
	if done {
		do()
		w.disk.writes[key]++
	}
	if name, ok := strings.CutPrefix(key, rolePrefix); ok {
		w.stored(name, done)
	}
	if h.node.dies(afterWrite, key) {
		return errDead
	}
	return err
}

func (h *handle) List(ctx context.Context, prefix string) ([]string, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if err := h.trouble(ctx, false); err != nil {
		return nil, err
	}
	h.count("", func(o *operations) *int { return &o.others })
	var names []string
	for key := range h.w.disk.entries {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// trouble is the error of an operation that does not get through.
func (h *handle) trouble(ctx context.Context, write bool) error {
	if h.well {
		return nil
	}
	if h.node.dead {
		return errDead
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.w.touched++
	switch t := h.w.trouble; {
	case t == allFails, t == someFail && h.w.touched%3 == 0, write && (t == putsFail || t == putsLieThere):
		h.w.troubled = true
		return errBroken
	case write && t == readOnly:
		return logical.ErrReadOnly
	default:
		return nil
	}
}

func (h *handle) count(key string, of func(*operations) *int) {
	switch {
	case h.well:
	case key == rolePrefix+h.w.watched:
		*of(&h.w.operations)++
	case strings.HasPrefix(key, "guard/"):
		h.w.operations.guards++
	case !strings.HasPrefix(key, rolePrefix):
		h.w.operations.others++
	}
}

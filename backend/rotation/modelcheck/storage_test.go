package modelcheck

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// disk is Vault's storage. It outlives all nodes.
type disk struct {
	entries map[string][]byte
	// writes counts the changes of each key, so that an entry is decoded once.
	writes map[string]int
}

var (
	errDead   = errors.New("this node is dead")
	errBroken = errors.New("storage is broken")
)

// fault is what is wrong with storage for a while.
type fault string

const (
	noFault    fault = ""
	writesFail fault = "writes fail"
	writesLie  fault = "writes are made and report an error"
	allFails   fault = "everything fails"
	someFail   fault = "every third operation fails"
	readOnly   fault = "the node is read-only"
)

// operations counts storage operations.
type operations struct{ roleGets, rolePuts, guards, others int }

// nodeStorage is storage as one node sees it. A dead node changes nothing.
type nodeStorage struct {
	w    *world
	node *node
	// check: the model itself reads, and meets no faults.
	check bool
}

func (s *nodeStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.failure(ctx, false); err != nil {
		s.w.forgetLogins()
		return nil, err
	}
	s.count(key, func(o *operations) *int { return &o.roleGets })
	if !s.check {
		s.node.reads(key)
	}
	value, ok := s.w.disk.entries[key]
	if !ok {
		return nil, nil //nolint:nilnil // as in logical.Storage
	}
	return &logical.StorageEntry{Key: key, Value: slices.Clone(value)}, nil
}

func (s *nodeStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.write(ctx, entry.Key, func() {
		s.count(entry.Key, func(o *operations) *int { return &o.rolePuts })
		s.w.disk.entries[entry.Key] = slices.Clone(entry.Value)
	})
}

func (s *nodeStorage) Delete(ctx context.Context, key string) error {
	return s.write(ctx, key, func() {
		s.count(key, func(o *operations) *int { return &o.others })
		delete(s.w.disk.entries, key)
	})
}

// write makes a change, unless the node crashes before it. It may also crash after it.
func (s *nodeStorage) write(ctx context.Context, key string, do func()) error {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.node.crashes(beforeWrite, key) {
		return errDead
	}
	err := s.failure(ctx, true)
	made := err == nil || w.fault == writesLie && errors.Is(err, errBroken)
	name, ofRole := strings.CutPrefix(key, store.RolePrefix)
	var before *role.Role
	if ofRole {
		before = w.role(name)
	}
	if made {
		do()
		w.disk.writes[key]++
	}
	if key == store.FreezeKey && err == nil {
		s.node.gate.storing = false
	}
	if ofRole {
		w.stored(name, before, made)
	}
	if err != nil {
		w.forgetLogins()
	}
	if s.node.crashes(afterWrite, key) {
		return errDead
	}
	return err
}

func (s *nodeStorage) List(ctx context.Context, prefix string) ([]string, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.failure(ctx, false); err != nil {
		s.w.forgetLogins()
		return nil, err
	}
	s.count("", func(o *operations) *int { return &o.others })
	var names []string
	for key := range s.w.disk.entries {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// failure returns the error of an operation that fails, or nil. w.mu is held.
func (s *nodeStorage) failure(ctx context.Context, write bool) error {
	if s.check {
		return nil
	}
	if s.node.dead {
		return errDead
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.checkSpin()
	s.w.touched++
	switch f := s.w.fault; {
	case f == allFails, f == someFail && s.w.touched%3 == 0, write && (f == writesFail || f == writesLie):
		s.w.faulted, s.node.faultAt = true, s.w.now()
		return errBroken
	case write && f == readOnly:
		s.node.faultAt = s.w.now()
		return logical.ErrReadOnly
	default:
		return nil
	}
}

// mostAtOnce is far more than the engine ever does with storage at one moment.
const mostAtOnce = 20000

// checkSpin is L3. An engine that repeats something without waiting would stop fake time. w.mu is held.
func (s *nodeStorage) checkSpin() {
	n, now := s.node, s.w.now()
	if !n.atOnceMoment.Equal(now) {
		n.atOnceMoment, n.atOnce = now, 0
	}
	if n.atOnce++; n.atOnce == mostAtOnce {
		s.w.fail("L3: the engine repeats something without waiting")
		n.kill()
		go n.engine.Stop()
	}
}

// count counts an operation on the watched role, on a guard, or on another entry that belongs to no role. w.mu is held.
func (s *nodeStorage) count(key string, of func(*operations) *int) {
	switch {
	case s.check:
	case key == store.RolePrefix+s.w.watched:
		*of(&s.w.operations)++
	case strings.HasPrefix(key, store.GuardPrefix):
		s.w.operations.guards++
	case !strings.HasPrefix(key, store.RolePrefix):
		s.w.operations.others++
	}
}

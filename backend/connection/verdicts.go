package connection

import (
	"slices"

	"vault-plugin-secrets-hosting/backend/provider"
)

// verdict is what NotAllowed returned for the target names of a role.
type verdict struct {
	names []string
	err   *NotAllowedError
}

// maxVerdicts bounds the verdicts that a handle keeps.
const maxVerdicts = 10_000

// NotAllowed is [Connection.NotAllowed]. It matches the globs once for each role, because every read asks.
func (h *Handle) NotAllowed(role string, target provider.Target) *NotAllowedError {
	h.mu.Lock()
	known, ok := h.allowed[role]
	h.mu.Unlock()
	if ok && slices.Equal(known.names, target.Names) {
		return known.err
	}
	err := h.Connection.NotAllowed(role, target)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.allowed == nil || len(h.allowed) >= maxVerdicts {
		h.allowed = map[string]verdict{}
	}
	h.allowed[role] = verdict{target.Names, err}
	return err
}

// Allows is NotAllowed as an error.
func (h *Handle) Allows(role string, target provider.Target) error {
	if err := h.NotAllowed(role, target); err != nil {
		return err
	}
	return nil
}

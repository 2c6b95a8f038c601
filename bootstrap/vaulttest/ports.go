package vaulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range of ports for Vault to listen on. It is below the ephemeral ports of common systems and below those of the
// simulators, so that no other socket takes a port before Vault listens on it (seconds later for the cluster port) or while
// Vault is down.
const (
	firstPort = 10000
	lastPort  = 11999
)

// given holds the ports that this process has handed out.
var given struct {
	mu    sync.Mutex
	ports map[int]bool
}

// freeAddress returns an address that nothing listens on and that it has not returned before.
func freeAddress(ctx context.Context) (string, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var problem error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // not a secret
		if given.ports[port] {
			continue
		}
		given.ports[port] = true
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			problem = err
			continue
		}
		_ = listener.Close() // only checked that the port is free
		return address, nil
	}
	return "", fmt.Errorf("looking for a free port between %d and %d: %w", firstPort, lastPort, problem)
}

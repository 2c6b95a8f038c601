package vaulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports that Vaults listen on. Where systems give a port to whoever asks for any, it is a higher one: these stay free until
// Vault listens, which is seconds later for the port of a cluster, and while it is killed.
const (
	firstPort = 10000
	lastPort  = 29999
)

// given are the ports that this process has chosen.
var given struct {
	mu    sync.Mutex
	ports map[int]bool
}

// freeAddress is one that nothing listens on, and none that was given before.
func freeAddress(ctx context.Context) (string, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var problem error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // no secret
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
		_ = listener.Close() // nothing was sent
		return address, nil
	}
	return "", fmt.Errorf("looking for a free port between %d and %d: %w", firstPort, lastPort, problem)
}

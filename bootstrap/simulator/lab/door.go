package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Door is a TCP listener that can be shut and reopened on the same port. Shutting
// it closes all connections and refuses new ones, as if the machine behind it were
// down.
type Door struct {
	address net.Addr

	mu      sync.Mutex
	current net.Listener // nil while shut or closed
	changed chan struct{}
	closed  bool
	open    map[net.Conn]struct{}
	drops   func(remote net.Addr) bool // nil: nothing is dropped
}

// The port of a shut door is free, and the operating system would give it to the next
// socket that asks for any port. It takes those from 16000 or 32768 up, so doors get
// theirs from below. Vault has those below 12000; see package vaulttest.
const firstPort, ports = 12_000, 4_000

// taken are the ports of this process's doors, also of those that are shut.
var taken sync.Map

// Listen opens a door on an address, host:port; port 0 picks a free one.
func Listen(ctx context.Context, address string) (*Door, error) {
	listener, err := listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return &Door{address: listener.Addr(), current: listener, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}, nil
}

func listen(ctx context.Context, address string) (listener net.Listener, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != "0" {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	}
	for range ports {
		address = net.JoinHostPort(host, strconv.Itoa(firstPort+rand.IntN(ports))) //nolint:gosec // a port, not a secret
		if _, shut := taken.LoadOrStore(address, true); shut {
			err = syscall.EADDRINUSE
			continue
		}
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address); err == nil {
			break
		}
		taken.Delete(address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return listener, err
}

// Addr returns the address of the door.
func (d *Door) Addr() net.Addr { return d.address }

// Accept waits for the next connection. It keeps waiting while the door is shut.
func (d *Door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		listener, changed, closed := d.current, d.changed, d.closed
		d.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if listener == nil {
			<-changed
			continue
		}
		conn, err := listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				continue // shut or closed; the loop checks which
			}
			return nil, fmt.Errorf("accepting a connection: %w", err)
		}
		if wrapped := d.track(conn, listener); wrapped != nil {
			return wrapped, nil
		}
	}
}

// track registers a connection. It closes it and returns nil if the door has been
// shut in the meantime.
func (d *Door) track(conn net.Conn, via net.Listener) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != via {
		_ = conn.Close() // never handed to the server
		return nil
	}
	wrapped := &doorConn{Conn: conn, door: d}
	d.open[wrapped] = struct{}{}
	return wrapped
}

// Filter drops what arrives from some addresses, as a firewall does: connections hang
// until the client gives up.
func (d *Door) Filter(drops func(remote net.Addr) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drops = drops
}

// Shut refuses connections until Open.
func (d *Door) Shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// drop closes the listener and all connections. The caller holds mu.
func (d *Door) drop() {
	if d.current != nil {
		_ = d.current.Close() // there is no remedy if it fails
		d.current = nil
	}
	for conn := range d.open {
		if c, ok := conn.(*doorConn); ok {
			_ = c.Conn.Close() // the point is to break it
		}
	}
	clear(d.open)
}

// Open accepts connections again. It retries for a few seconds, since another
// process may briefly occupy the port.
func (d *Door) Open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		err := d.tryOpen(ctx)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *Door) tryOpen(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.current != nil {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.address.String())
	if err != nil {
		return fmt.Errorf("listening on %s again: %w", d.address, err)
	}
	d.current = listener
	d.signal()
	return nil
}

// signal wakes Accept. The caller holds mu.
func (d *Door) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Close shuts the door permanently.
func (d *Door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		d.drop()
		d.signal()
		taken.Delete(d.address.String())
	}
	return nil
}

type doorConn struct {
	net.Conn
	door *Door
	hung bool // used by Read only, which has one caller at a time
}

// Read returns what arrives. A connection of which something was dropped hangs for good.
func (c *doorConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil {
			return n, err //nolint:wrapcheck // as net.Conn
		}
		c.door.mu.Lock()
		drops := c.door.drops
		c.door.mu.Unlock()
		if c.hung = c.hung || drops != nil && drops(c.RemoteAddr()); !c.hung {
			return n, nil
		}
	}
}

func (c *doorConn) Close() error {
	c.door.mu.Lock()
	delete(c.door.open, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

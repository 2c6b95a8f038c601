package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Door is a TCP listener that can be shut and opened again on the same port.
// While it is shut, connections are refused and those that were open are closed,
// as if the machine behind it had gone.
type Door struct {
	address net.Addr

	mu      sync.Mutex
	current net.Listener // nil: shut or closed
	changed chan struct{}
	closed  bool
	open    map[net.Conn]struct{}
}

// Listen opens a door. address is host:port; port 0 takes a free one.
func Listen(ctx context.Context, address string) (*Door, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return &Door{address: listener.Addr(), current: listener, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}, nil
}

// Addr is the address that the door was opened on.
func (d *Door) Addr() net.Addr { return d.address }

// Accept waits for the next connection, over times when the door is shut.
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
				continue // shut or closed: the loop finds out which
			}
			return nil, fmt.Errorf("accepting a connection: %w", err)
		}
		if wrapped := d.track(conn, listener); wrapped != nil {
			return wrapped, nil
		}
	}
}

// track remembers a connection, unless the door was shut since.
func (d *Door) track(conn net.Conn, via net.Listener) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != via {
		_ = conn.Close() // it came too late
		return nil
	}
	wrapped := &doorConn{Conn: conn, door: d}
	d.open[wrapped] = struct{}{}
	return wrapped
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
		_ = d.current.Close() // nothing to be done about a listener that does not close
		d.current = nil
	}
	for conn := range d.open {
		if c, ok := conn.(*doorConn); ok {
			_ = c.Conn.Close() // meant to break
		}
	}
	clear(d.open)
}

// Open accepts connections again. It tries for some seconds, as another process
// may have taken the free port for a short while.
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

// Close shuts the door for good.
func (d *Door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		d.drop()
		d.signal()
	}
	return nil
}

type doorConn struct {
	net.Conn
	door *Door
}

func (c *doorConn) Close() error {
	c.door.mu.Lock()
	delete(c.door.open, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

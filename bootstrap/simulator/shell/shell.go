// Package shell simulates the SSH port of a server, as far as needed to check a
// password. It supports password authentication only and runs no commands: every
// session gets the line "web1: logged in as root" and exit status 0. Subsystems
// and forwarding are not supported.
//
// [Doors.Serve] opens a port. https://github.com/gliderlabs/ssh implements the
// protocol.
package shell

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// DoorName is the system name of all SSH ports in faults and in the journal. Their
// targets are the ids of the hosts.
const DoorName = "ssh"

const (
	maxConnections = 64 // per port; further ones are dropped, as a busy sshd does
	maxIdle        = 30 * time.Second
	maxConnection  = 5 * time.Minute
)

// Host is a server that accepts logins.
type Host struct {
	ID   string // its target in faults and in the journal
	Name string // its host name
	// Admit reports whether to accept a login. It is called concurrently.
	Admit func(user, password string) bool
	// Up reports whether the host is running. If not, connections are cut before
	// any data is exchanged. nil means always.
	Up func() bool
}

// Doors are the SSH ports of a simulator.
type Doors struct {
	mu      sync.Mutex
	idle    *sync.Cond // uses mu; signaled when running drops to 0
	running int        // connections and sessions
	closed  bool
	doors   []*lab.Door
	loops   sync.WaitGroup
}

// Serve serves logins at a door until it is closed. It generates a host key and
// returns it as an authorized_keys line.
func (d *Doors) Serve(l *lab.Lab, host Host, door *lab.Door) (hostKey string, err error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", fmt.Errorf("generating a host key: %w", err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return "", fmt.Errorf("generating a host key: %w", err)
	}
	p := &port{doors: d, lab: l, host: host, places: make(chan struct{}, maxConnections)}
	server := &ssh.Server{
		HostSigners:     []ssh.Signer{signer},
		Handler:         p.session,
		PasswordHandler: p.login,
		ConnCallback:    p.connect,
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": p.channel},
		IdleTimeout:     maxIdle,
		MaxTimeout:      maxConnection,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return "", errors.New("the SSH ports are closed")
	}
	d.doors = append(d.doors, door)
	d.loops.Go(func() { p.accept(server, door) })
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

// Close closes the ports and ends all sessions. It returns when none is left.
func (d *Doors) Close() {
	d.mu.Lock()
	d.closed = true
	doors := d.doors
	d.mu.Unlock()
	for _, door := range doors {
		_ = door.Close() // never fails; closes the connections too
	}
	d.loops.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.running > 0 {
		d.idle.Wait()
	}
}

// begin counts a connection or a session as running. It reports false if the ports
// are closed.
func (d *Doors) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle == nil {
		d.idle = sync.NewCond(&d.mu)
	}
	if !d.closed {
		d.running++
	}
	return !d.closed
}

func (d *Doors) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	if d.running == 0 {
		d.idle.Broadcast()
	}
}

// port is the SSH port of one host.
type port struct {
	doors  *Doors
	lab    *lab.Lab
	host   Host
	places chan struct{} // one for each connection
}

func (p *port) accept(server *ssh.Server, door *lab.Door) {
	for {
		conn, err := door.Accept()
		if err != nil {
			return
		}
		if !p.doors.begin() {
			_ = conn.Close() // the port is closing
			return
		}
		select {
		case p.places <- struct{}{}:
		default:
			turnAway(conn)
			p.doors.end()
			continue
		}
		go func() {
			defer func() { <-p.places; p.doors.end() }()
			server.HandleConn(conn)
		}()
	}
}

// turnAway closes a connection the way OpenSSH does when too many connections are
// not yet authenticated, with a message in place of its version: drop_connection in
// https://github.com/openssh/openssh-portable/blob/V_9_6/sshd.c
func turnAway(conn net.Conn) {
	_, _ = io.WriteString(conn, "Exceeded MaxStartups\r\n") // the client may be gone
	_ = conn.Close()                                        // nothing was left to write
}

// cutKey marks, in its context, a connection to cut when it sends a password.
type cutKey struct{}

// connect rejects a connection to a host that is down. Otherwise it applies a
// fault: Busy turns the connection away, any other kind cuts it as soon as the
// client has sent a password.
func (p *port) connect(ctx ssh.Context, conn net.Conn) net.Conn {
	if p.host.Up != nil && !p.host.Up() {
		p.note("down", "")
		return nil
	}
	kind, ok := p.lab.TakeLogin(DoorName, p.host.ID)
	if !ok {
		return conn
	}
	p.note("fault", kind)
	if kind == lab.Busy {
		turnAway(conn)
		return nil
	}
	ctx.SetValue(cutKey{}, conn)
	return conn
}

func (p *port) login(ctx ssh.Context, password string) bool {
	if conn, ok := ctx.Value(cutKey{}).(net.Conn); ok {
		_ = conn.Close() // the point is to break it
		return false
	}
	if !p.host.Admit(ctx.User(), password) {
		p.note("refused", "")
		return false
	}
	p.note("ok", "")
	return true
}

// note omits the user name: clients can send anything there, even a password.
func (p *port) note(result string, fault lab.Kind) {
	p.lab.Journal.Add(lab.Entry{System: DoorName, Target: p.host.ID, Operation: "login", Result: result, Fault: fault})
}

func (p *port) channel(server *ssh.Server, conn *gossh.ServerConn, channel gossh.NewChannel, ctx ssh.Context) {
	if !p.doors.begin() {
		return
	}
	defer p.doors.end()
	ssh.DefaultSessionHandler(server, conn, channel, ctx)
}

func (p *port) session(s ssh.Session) {
	if !p.doors.begin() {
		return
	}
	defer p.doors.end()
	_, _ = fmt.Fprintf(s, "%s: logged in as %s\n", p.host.Name, s.User()) // the client may be gone
	_ = s.Exit(0)                                                         // the client may be gone
}

// Package shell simulates the SSH port of a server, as far as it takes to try a
// password out: it lets in whoever the owner of the port says, by password only,
// and runs no command. Whatever a session asks for is answered with one line,
// "web1: logged in as root", and exit status 0. There are no subsystems and no
// forwarding.
//
// [Doors.Serve] opens a port. The protocol is done by
// https://github.com/gliderlabs/ssh.
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

// DoorName is what faults and the journal call the SSH ports, whoever owns them.
// Their targets are the ids of the hosts.
const DoorName = "ssh"

const (
	maxConnections = 64 // of one port; more are dropped as a busy sshd does
	maxIdle        = 30 * time.Second
	maxConnection  = 5 * time.Minute
)

// Host is a server to log in at.
type Host struct {
	ID   string // target of faults and of the journal
	Name string // what it calls itself
	// Admit tells whether a login is right. It is called concurrently.
	Admit func(user, password string) bool
	// Up tells whether the host runs; if not, connections are cut before a word
	// is said. nil: it always runs.
	Up func() bool
}

// Doors are the SSH ports of a simulator.
type Doors struct {
	mu      sync.Mutex
	idle    *sync.Cond // on mu: running has become 0
	running int        // connections and sessions
	closed  bool
	doors   []*lab.Door
	loops   sync.WaitGroup
}

// Serve lets logins in at a door until it is closed, and returns the host key,
// made for this run, in the form of an authorized_keys line.
func (d *Doors) Serve(l *lab.Lab, host Host, door *lab.Door) (hostKey string, err error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", fmt.Errorf("making a host key: %w", err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return "", fmt.Errorf("making a host key: %w", err)
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

// Close shuts the doors and ends all sessions. It returns when none is left.
func (d *Doors) Close() {
	d.mu.Lock()
	d.closed = true
	doors := d.doors
	d.mu.Unlock()
	for _, door := range doors {
		_ = door.Close() // never fails; it closes the connections too
	}
	d.loops.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.running > 0 {
		d.idle.Wait()
	}
}

// begin counts a connection or a session as running, unless the doors are closed.
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
			_ = conn.Close() // the door is closing
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

// turnAway is what OpenSSH says when too many connections wait for a login, in
// place of its version: drop_connection in
// https://github.com/openssh/openssh-portable/blob/V_9_6/sshd.c
func turnAway(conn net.Conn) {
	_, _ = io.WriteString(conn, "Exceeded MaxStartups\r\n") // the client may be gone
	_ = conn.Close()                                        // nothing was left to write
}

// cutKey is where the context of a connection has it if the password is to cut it.
type cutKey struct{}

// connect cuts a connection to a host that is down, and else applies a fault:
// Busy turns the connection away, any other kind cuts it as soon as it has sent
// a password.
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
		_ = conn.Close() // it is meant to break
		return false
	}
	if !p.host.Admit(ctx.User(), password) {
		p.note("refused", "")
		return false
	}
	p.note("ok", "")
	return true
}

// note leaves the user's name out: it may be anything, a password included.
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
	_ = s.Exit(0)                                                         // likewise
}

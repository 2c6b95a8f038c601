// Package shell simulates the SSH port of a server, as far as needed to check a
// password. It runs no commands: every session gets the line "web1: logged in as
// root" and exit status 0. Subsystems and forwarding are not supported.
//
// [Doors.Serve] opens a port. https://github.com/gliderlabs/ssh implements the
// protocol. A port can run OpenSSH's sshd instead, see [FindSSHD]. Its sessions
// run nothing at all.
//
// Refused logins are counted, and by default Fail2Ban bans a sender after five in
// ten minutes. Logins by package login are not counted: a test uses them to look
// which password works.
package shell

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

// DoorName is the system name of all SSH ports in faults and in the journal. Their
// targets are the ids of the hosts.
const DoorName = "ssh"

const (
	maxConnections = 64 // per port; further ones are dropped, as a busy sshd does
	maxIdle        = 30 * time.Second
	maxConnection  = 5 * time.Minute
	maxRefused     = 5 // refused logins that ban a sender, as Fail2Ban's jail sshd does
)

// Host is a server that accepts logins.
type Host struct {
	ID   string // its target in faults and in the journal
	Name string // its host name
	// Admit reports whether to accept a login. It is called concurrently.
	Admit func(user, password string) bool
	// RootPassword returns root's password. It is used by sshd only. nil means that
	// sshd cannot take the place of the host, because it has no root.
	RootPassword func() string
	// Up reports whether the host is running. If not, connections are cut before
	// any data is exchanged. nil means always.
	Up func() bool
}

// Doors are the SSH ports of a simulator. They are a system with switches.
type Doors struct {
	// SSHD is the path of the sshd that serves the logins, from [FindSSHD]; "" means
	// the simulated server. It must not change once a port is open.
	SSHD string

	mu      sync.Mutex
	idle    *sync.Cond // uses mu; signaled when running drops to 0
	running int        // connections and sessions
	closed  bool
	ports   []*port
	loops   sync.WaitGroup
}

// Serve serves logins at a door until it is closed.
func (d *Doors) Serve(l *lab.Lab, host Host, door *lab.Door) error {
	p, err := newPort(d, l, host, door)
	if err != nil {
		return err
	}
	door.Filter(p.drops)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("the SSH ports are closed")
	}
	d.ports = append(d.ports, p)
	d.loops.Go(p.accept)
	return nil
}

// Close closes the ports and ends all sessions. It returns when none is left.
func (d *Doors) Close() {
	d.mu.Lock()
	d.closed = true
	ports := d.ports
	d.mu.Unlock()
	for _, p := range ports {
		_ = p.door.Close() // never fails; closes the connections too
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
	doors    *Doors
	lab      *lab.Lab
	host     Host
	door     *lab.Door
	places   chan struct{} // one for each connection
	fail2ban *lab.Fail2Ban

	mu       sync.Mutex
	switches switches
	hostKey  ed25519.PrivateKey
}

func newPort(d *Doors, l *lab.Lab, host Host, door *lab.Door) (*port, error) {
	p := &port{
		doors: d, lab: l, host: host, door: door, places: make(chan struct{}, maxConnections), fail2ban: lab.NewFail2Ban(l.Clock, maxRefused),
		switches: switches{methods: methodPassword, rootLogin: rootYes},
	}
	err := p.newHostKey()
	return p, err
}

// drops reports whether the packets of an address are dropped.
func (p *port) drops(remote net.Addr) bool { return p.settings().hang || p.fail2ban.Drops(remote) }

func (p *port) accept() {
	for {
		conn, err := p.door.Accept()
		if err != nil {
			return
		}
		if !p.doors.begin() {
			_ = conn.Close() // the port is closing
			return
		}
		if p.drops(conn.RemoteAddr()) {
			go func() {
				defer p.doors.end()
				_, _ = io.Copy(io.Discard, conn) // returns when the client gives up
				_ = conn.Close()                 // nothing was written
			}()
			continue
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
			p.serve(conn)
		}()
	}
}

// serve serves a connection with the present switches and host key.
func (p *port) serve(conn net.Conn) {
	if p.doors.SSHD != "" && p.host.RootPassword != nil {
		p.runSSHD(conn)
		return
	}
	signer, err := gossh.NewSignerFromKey(p.privateKey())
	if err != nil {
		_ = conn.Close() // does not happen with an Ed25519 key
		return
	}
	server := &ssh.Server{
		HostSigners:     []ssh.Signer{signer},
		Handler:         p.session,
		ConnCallback:    p.connect,
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": p.channel},
		IdleTimeout:     maxIdle,
		MaxTimeout:      maxConnection,
		// Nobody has a key. It is not a password, and not counted as a refused one.
		PublicKeyHandler: func(ssh.Context, ssh.PublicKey) bool { return false },
	}
	settings := p.settings()
	if settings.offersPassword() {
		server.PasswordHandler = p.login
	}
	if settings.offersQuestions() {
		server.KeyboardInteractiveHandler = func(ctx ssh.Context, ask gossh.KeyboardInteractiveChallenge) bool {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			return err == nil && len(answers) == 1 && p.login(ctx, answers[0])
		}
	}
	server.HandleConn(conn)
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
	turnedAway, cut := p.greet(conn)
	if turnedAway {
		return nil
	}
	if cut {
		ctx.SetValue(cutKey{}, conn)
	}
	return conn
}

// greet turns a connection away if the host is down or the fault is Busy. It
// reports whether to cut the connection later.
func (p *port) greet(conn net.Conn) (turnedAway, cut bool) {
	if p.host.Up != nil && !p.host.Up() {
		p.note("down", "")
		return true, false
	}
	kind, ok := p.lab.TakeLogin(DoorName, p.host.ID)
	if !ok {
		return false, false
	}
	p.note("fault", kind)
	if kind == lab.Busy {
		turnAway(conn)
		return true, false
	}
	return false, true
}

func (p *port) login(ctx ssh.Context, password string) bool {
	if conn, ok := ctx.Value(cutKey{}).(net.Conn); ok {
		_ = conn.Close() // the point is to break it
		return false
	}
	refused := ctx.User() == "root" && p.settings().rootLogin != rootYes
	if refused || !p.host.Admit(ctx.User(), password) {
		p.refuse(ctx.RemoteAddr(), ctx.ClientVersion())
		return false
	}
	p.note("ok", "")
	return true
}

// refuse notes a refused login, and counts it unless a test has looked.
func (p *port) refuse(remote net.Addr, client string) {
	p.note("refused", "")
	if client != login.ClientVersion {
		p.fail2ban.Refused(remote.String())
	}
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

package dcs

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2/server"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// DoorName is the system name of the Redis ports in faults and in the journal.
const DoorName = "redis"

// address returns the host:port of the instance's Redis port.
func (i *instance) address() string {
	if i.host == "" {
		return ""
	}
	return net.JoinHostPort(i.host, strconv.Itoa(i.port))
}

// Doors are the Redis ports of the instances.
type Doors struct {
	redis []*server.Server
	doors []*lab.Door
	loops sync.WaitGroup
}

// Serve serves the Redis commands of one instance at a door until it is closed. It
// uses the TLS configuration if the instance has enable_ssl.
func (d *Doors) Serve(s *Service, instanceID string, door *lab.Door, config *tls.Config) error {
	s.mu.Lock()
	i := s.instance(instanceID)
	s.mu.Unlock()
	address, ok := door.Addr().(*net.TCPAddr)
	if i == nil || !ok {
		return errors.New("dcs: opening a Redis port: no such instance")
	}
	redis := server.NewServerConn()
	if err := s.register(redis, i); err != nil {
		return err
	}
	s.mu.Lock()
	i.host, i.port = address.IP.String(), address.Port
	s.mu.Unlock()
	d.redis, d.doors = append(d.redis, redis), append(d.doors, door)
	d.loops.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			if i.SSL {
				conn = tls.Server(conn, config)
			}
			redis.ServeConn(conn)
		}
	})
	return nil
}

// Close closes the ports and ends all sessions.
func (d *Doors) Close() {
	for _, door := range d.doors {
		_ = door.Close() // never fails
	}
	d.loops.Wait()
	for _, redis := range d.redis {
		redis.Close()
	}
}

// session is the login of a connection. It survives a change of the password, as
// sessions of DCS do.
type session struct {
	account *account // nil if not logged in
}

func (s *Service) session(p *server.Peer, i *instance) *session {
	if own, ok := p.Ctx.(*session); ok {
		return own
	}
	own := &session{}
	if i.NoPassword { // every connection is the default account
		for _, a := range i.accounts {
			if a.Type == "default" {
				own.account = a
			}
		}
	}
	p.Ctx = own
	return own
}

// register adds the few commands that are useful for checking a login.
func (s *Service) register(redis *server.Server, i *instance) error {
	command := func(name string, arguments int, writes bool, run func(p *server.Peer, args []string)) error {
		return redis.Register(name, func(p *server.Peer, _ string, args []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			own := s.session(p, i)
			switch {
			case own.account == nil:
				p.WriteError("NOAUTH Authentication required.")
			case len(args) != arguments && name != "PING":
				p.WriteError("ERR wrong number of arguments for '" + strings.ToLower(name) + "' command")
			case writes && own.account.Role == "read":
				p.WriteError("NOPERM this user has no permissions to run the '" + strings.ToLower(name) + "' command")
			default:
				run(p, args)
			}
		})
	}
	return errors.Join(
		redis.Register("AUTH", func(p *server.Peer, _ string, args []string) { s.auth(p, i, args) }),
		redis.Register("QUIT", func(p *server.Peer, _ string, _ []string) { p.WriteOK(); p.Close() }),
		command("PING", 0, false, func(p *server.Peer, args []string) {
			if len(args) == 0 {
				p.WriteInline("PONG")
				return
			}
			p.WriteBulk(args[0])
		}),
		command("GET", 1, false, func(p *server.Peer, args []string) {
			if value, ok := i.data[args[0]]; ok {
				p.WriteBulk(value)
				return
			}
			p.WriteNull()
		}),
		command("SET", 2, true, func(p *server.Peer, args []string) {
			i.data[args[0]] = args[1]
			p.WriteOK()
		}),
	)
}

// auth implements AUTH: AUTH name:password for a normal account, AUTH password for
// the default one, https://support.huaweicloud.com/eu/usermanual-dcs/dcs-ug-221220.html
// Whether AUTH name password works on newer instances is not documented.
func (s *Service) auth(p *server.Peer, i *instance, args []string) {
	if len(args) != 1 && len(args) != 2 {
		p.WriteError("ERR wrong number of arguments for 'auth' command")
		return
	}
	f, fault := s.lab.TakeLogin(DoorName, i.ID) // may wait
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if fault {
		s.note(i, nil, "fault", f)
		if f == lab.Busy {
			p.WriteError("LOADING Redis is loading the dataset in memory")
		} else {
			p.Close()
		}
		return
	}
	old := i.version() < 6
	switch {
	case len(args) == 2 && old && !s.switches.twoArguments:
		s.note(i, nil, "ERR", "")
		p.WriteError("ERR wrong number of arguments for 'auth' command")
		return
	case i.NoPassword && old:
		s.note(i, nil, "ERR", "")
		p.WriteError("ERR Client sent AUTH, but no password is set")
		return
	case i.NoPassword:
		s.note(i, nil, "ERR", "")
		p.WriteError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	a := s.find(i, args)
	if a == nil {
		s.note(i, nil, "WRONGPASS", "")
		s.refused(i.named(strings.Join(args, ":")), false)
		if old {
			p.WriteError("ERR invalid password")
			return
		}
		p.WriteError("WRONGPASS invalid username-password pair or user is disabled.")
		return
	}
	s.note(i, a, "OK", "")
	s.session(p, i).account = a
	p.WriteOK()
}

func (s *Service) note(i *instance, a *account, result string, fault lab.Kind) {
	target := i.ID
	if a != nil {
		target += "/" + a.ID
	}
	s.lab.Journal.Add(lab.Entry{System: DoorName, Target: target, Operation: "AUTH", Result: result, Fault: fault})
}

// find returns the account that the arguments of AUTH log in as, or nil.
func (s *Service) find(i *instance, args []string) *account {
	var found *account
	for _, a := range i.accounts {
		secret := a.Password
		if a.Type == "normal" {
			secret = a.Name + ":" + a.Password
		}
		right := len(args) == 1 && lab.Same(secret, args[0])
		if len(args) == 2 && s.switches.twoArguments {
			right = a.Name == args[0] && lab.Same(a.Password, args[1])
		}
		if right {
			found = a
		}
	}
	return found
}

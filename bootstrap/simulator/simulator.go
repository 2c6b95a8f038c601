// Package simulator simulates, on loopback, the remote systems that the secrets
// engine supports: a Plesk server's XML API; Huawei Cloud's IAM, DCS with a Redis
// port for each instance, CloudDC and Elastic Cloud Server with an SSH port for
// each server; Media Temple's API with an SSH port and a Plesk panel for each
// service. It is meant for tests and for trying out the engine.
//
// [Start] starts everything and [Simulator.Close] stops it. The systems are
// strict: they refuse what the real ones refuse. [Simulator.SetFault] injects
// faults by target and kind (see [lab.Kind]). [Simulator.Switch] changes settings
// where the behaviour of the real systems varies or is not documented.
// [Simulator.Journal] returns what was requested, what was answered and whether
// anything changed. [Simulator.LoginPlesk], [Simulator.LoginRedis],
// [Simulator.LoginSSH] and [Simulator.LoginPanel] open real connections, so that
// a test can end with a login.
//
// The control API offers the same to other processes over HTTP, in JSON. It
// answers unknown fields, kinds and switches with 400 and an explanation:
//
//	GET    /               a description of the API
//	GET    /v1/state       addresses, accounts, failures and locks; no secrets
//	PUT    /v1/faults      {"system":"plesk","target":"ops1","kind":"apply-cut","count":1}
//	                       optional: delay_ms, retry_after, retry_after_date, variant, location, applied, operations
//	GET    /v1/faults
//	DELETE /v1/faults      filter with ?system=&target=; releases held answers
//	GET    /v1/journal     filter with ?system=&target=
//	DELETE /v1/journal
//	PUT    /v1/switches    {"system":"plesk","policy":"very-strong"}
//	POST   /v1/clock       {"advance_seconds":300}
//	PUT    /v1/passwords   {"system":"plesk","target":"ops1","password":"..."}: a change behind the engine's back
//	POST   /v1/restart     {"system":"ecs","target":"..."}: an operator restarts a server
//
// The systems are plesk, iam, dcs, ecs and mediatemple. Faults and switches can
// also be set for ssh (operation class login) and for panel (Media Temple's Plesk
// panels; class check by default), and faults for redis (class login). A target is a Plesk login, an IAM user,
// "instance_id/account_id" for dcs, "service_id/root" or "service_id/plesk" for
// mediatemple, an instance id for redis, and a server id for ecs, ssh and panel;
// "*" matches any. The target of a check is the login that made it, or the
// instance or service that it reads.
//
// To add a system, implement [lab.System] in a new package and register it here.
package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-hosting/bootstrap/simulator/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/ecs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/mediatemple"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// Config configures a simulator. The zero value is ready to use.
type Config struct {
	// Listen addresses, host:port; "" means a free port on 127.0.0.1. The
	// certificate is valid for 127.0.0.1, ::1 and localhost.
	Control, Plesk, IAM, DCS, Redis, MediaTemple, CloudDC, ECS string

	// State is the initial state of the systems; nil parts get the default state.
	State State
	// Now is the base of the clock; nil means time.Now.
	Now func() time.Time
	// RedisServer is the host:port of a real Redis server (6.0 or newer) on which
	// to set the passwords of the DCS instance too; "" means none.
	RedisServer string
	// SSHD is the path of OpenSSH's sshd, from [shell.FindSSHD], with which the SSH
	// ports serve logins as root; "" means the simulated server.
	SSHD string
	// Logger receives the errors of the HTTP servers; nil discards them.
	Logger hclog.Logger
}

// Simulator is a running simulator. Its methods are safe for concurrent use.
type Simulator struct {
	lab       *lab.Lab
	authority *lab.Authority
	logger    hclog.Logger
	systems   map[string]lab.System
	doors     map[string][]*lab.Door // by system
	redis     dcs.Doors
	ssh       shell.Doors
	trap      trap
	state     State

	controlURL, pleskURL, iamURL, dcsURL, trapURL string
	mediaTempleURL, cloudDCURL, ecsURL            string
	redisAddresses                                []string // in the order of the instances in the state
	hosts                                         []Host

	servers []*http.Server
	close   sync.Once
	faultMu sync.Mutex // makes changing a fault and shutting doors atomic

	closeMu sync.Mutex
	closed  bool
	running sync.WaitGroup // listeners and requests; does not grow once closed
}

// Start starts all systems. The context applies to the start only.
func Start(ctx context.Context, config Config) (*Simulator, error) {
	s := &Simulator{lab: lab.New(config.Now), logger: config.Logger, doors: map[string][]*lab.Door{}, state: config.State.withDefaults()}
	if s.logger == nil {
		s.logger = hclog.NewNullLogger()
	}
	if err := s.start(ctx, config); err != nil {
		s.Close()
		return nil, fmt.Errorf("starting the simulator: %w", err)
	}
	return s, nil
}

func (s *Simulator) start(ctx context.Context, config Config) error {
	panel, err := plesk.New(s.lab, *s.state.Plesk)
	if err != nil {
		return err
	}
	cloud, err := huaweicloud.New(s.lab, *s.state.HuaweiCloud)
	if err != nil {
		return err
	}
	cache, err := dcs.New(ctx, s.lab, cloud, *s.state.DCS, config.RedisServer)
	if err != nil {
		return err
	}
	rental, err := mediatemple.New(s.lab, *s.state.MediaTemple)
	if err != nil {
		return err
	}
	servers, err := ecs.New(s.lab, cloud, *s.state.ECS)
	if err != nil {
		return err
	}
	s.systems = map[string]lab.System{plesk.Name: panel, huaweicloud.Name: cloud, dcs.Name: cache, ecs.Name: servers,
		mediatemple.Name: rental, mediatemple.PanelName: rental.Panels(), shell.DoorName: &s.ssh}
	if s.ssh.SSHD = config.SSHD; config.SSHD != "" {
		if err := shell.CheckSSHD(ctx, config.SSHD); err != nil {
			return err
		}
	}
	if s.authority, err = lab.NewAuthority(); err != nil {
		return err
	}
	for _, l := range []struct {
		system, address string
		handler         http.Handler
		url             *string
	}{
		{plesk.Name, config.Plesk, panel, &s.pleskURL},
		{huaweicloud.Name, config.IAM, cloud, &s.iamURL},
		{dcs.Name, config.DCS, cache, &s.dcsURL},
		{ecs.Name, config.CloudDC, servers.CloudDC(), &s.cloudDCURL},
		{ecs.Name, config.ECS, servers.CloudServers(), &s.ecsURL},
		{mediatemple.Name, config.MediaTemple, rental, &s.mediaTempleURL},
		{"", "", &s.trap, &s.trapURL},
		{"", config.Control, s.control(), &s.controlURL},
	} {
		scheme := "https"
		if l.url == &s.controlURL {
			scheme = "http"
		}
		door, err := s.listen(ctx, l.system, l.address)
		if err != nil {
			return err
		}
		if l.system == plesk.Name {
			door.Filter(panel.Drops)
		}
		*l.url = scheme + "://" + door.Addr().String()
		handler := l.handler
		if l.system != "" {
			handler = s.lab.Secrets.Watch(handler)
		}
		s.serve(door, handler, scheme == "https")
	}
	s.mediaTempleURL += mediatemple.Path
	s.lab.SetTrapURL(s.trapURL + "/trap")
	if err := s.startRedis(ctx, cache, config.Redis); err != nil {
		return err
	}
	if err := s.startServers(ctx, servers); err != nil {
		return err
	}
	return s.startServices(ctx, rental)
}

// startRedis opens a port for each instance. The first one listens on address,
// the others on free ports.
func (s *Simulator) startRedis(ctx context.Context, cache *dcs.Service, address string) error {
	for _, id := range cache.InstanceIDs() {
		door, err := s.listen(ctx, dcs.DoorName, address)
		if err != nil {
			return err
		}
		if err := s.redis.Serve(cache, id, door); err != nil {
			return errors.Join(err, door.Close())
		}
		s.redisAddresses = append(s.redisAddresses, door.Addr().String())
		address = ""
	}
	return nil
}

func (s *Simulator) listen(ctx context.Context, system, address string) (*lab.Door, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	door, err := lab.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	if system != "" {
		s.doors[system] = append(s.doors[system], door)
	}
	return door, nil
}

func (s *Simulator) serve(door *lab.Door, handler http.Handler, secure bool) {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !s.begin() {
				panic(http.ErrAbortHandler)
			}
			defer s.running.Done()
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	if s.logger.GetLevel() == hclog.Off {
		server.ErrorLog = log.New(discard{}, "", 0)
	}
	if secure {
		server.TLSConfig = s.authority.ServerConfig()
	}
	s.servers = append(s.servers, server)
	s.running.Go(func() {
		var err error
		if secure {
			err = server.ServeTLS(door, "", "")
		} else {
			err = server.Serve(door)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("a listener of the simulator ended", "error", err)
		}
	})
}

// begin counts a request as running. It reports false if the simulator is closed.
func (s *Simulator) begin() bool {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close stops the simulator and cuts requests in progress. It returns when all
// goroutines of the simulator have ended.
func (s *Simulator) Close() {
	s.close.Do(func() {
		s.closeMu.Lock()
		s.closed = true
		s.closeMu.Unlock()
		s.lab.Stop()
		for _, server := range s.servers {
			_ = server.Close() // its listener cannot fail to close
		}
		for _, doors := range s.doors {
			for _, door := range doors {
				_ = door.Close() // never fails
			}
		}
		s.redis.Close()
		s.ssh.Close()
		s.running.Wait()
		s.lab.Close()
	})
}

// trap is the target of redirects. It counts clients that follow one, which none
// should.
type trap struct {
	mu       sync.Mutex
	requests int
	bytes    int64
}

func (t *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.bytes += max(r.ContentLength, 0)
	w.WriteHeader(http.StatusOK)
}

func (t *trap) count() (requests int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests, t.bytes
}

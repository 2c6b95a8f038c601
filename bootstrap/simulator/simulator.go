// Package simulator runs the remote systems that the secrets engine manages, on
// loopback: a Plesk server's XML API, Huawei Cloud's IAM and DCS with Redis ports
// to log in at, its CloudDC and Elastic Cloud Server with an SSH port for each
// server, Media Temple's API with an SSH port and a Plesk panel for each service.
// It is for tests and for trying the engine out.
//
// [Start] starts everything; [Simulator.Close] ends it. The systems are strict:
// they refuse what the real ones refuse. What goes wrong on top of that is
// switched with [Simulator.SetFault], by account and kind, see [lab.Kind];
// settings that the real systems leave open with [Simulator.Switch]; and
// [Simulator.Journal] tells what was asked, what was answered and whether
// anything changed. [Simulator.LoginPlesk], [Simulator.LoginRedis],
// [Simulator.LoginSSH] and [Simulator.LoginPanel] really connect, so that a test
// can end with a login.
//
// The same is there over HTTP, for other processes (JSON; unknown fields, kinds
// and switches are answered 400 with a sentence):
//
//	GET    /               this list
//	GET    /v1/state       addresses, accounts, failures and locks; no secrets
//	PUT    /v1/faults      {"system":"plesk","target":"ops1","kind":"apply-cut","count":1}
//	                       further: delay_ms, retry_after, variant, location, applied, operations
//	GET    /v1/faults
//	DELETE /v1/faults      ?system=&target= narrow it down; releases held answers
//	GET    /v1/journal     ?system=&target= narrow it down
//	DELETE /v1/journal
//	PUT    /v1/switches    {"system":"plesk","policy":"very-strong"}
//	POST   /v1/clock       {"advance_seconds":300}
//	PUT    /v1/passwords   {"system":"plesk","target":"ops1","password":"..."}: behind the engine's back
//	POST   /v1/restart     {"system":"ecs","target":"..."}: an operator restarts a server
//
// Systems are plesk, iam, dcs, ecs, mediatemple and, for faults only, redis and ssh
// (class login) and panel (Media Temple's Plesk panels; class check, unless said
// otherwise). A target is a Plesk login, an IAM user, "instance_id/account_id",
// "service_id/root" or "service_id/plesk", an instance id for redis, and the id
// of the server for ecs, ssh and panel; "*" is any. The target of a check is the
// login that it is made with, or the instance or service that is shown.
//
// A further system is a folder of its own that implements [lab.System], and a
// few lines in this package.
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

// Config says how to start. The zero value is fine.
type Config struct {
	// Listen addresses, host:port; "" means a free port on 127.0.0.1. The hosts
	// that the certificate is good for are 127.0.0.1, ::1 and localhost.
	Control, Plesk, IAM, DCS, Redis, MediaTemple, CloudDC, ECS string

	// State is what the systems start with; parts that are nil are built in.
	State State
	// Now is the base of the clock; nil means time.Now.
	Now func() time.Time
	// RedisServer is the host:port of a real Redis server (6.0 or newer) that is
	// given the passwords of the one DCS instance too; "" means none.
	RedisServer string
	// Logger gets a line for what the servers complain about; nil means none.
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
	redisAddresses                                []string // by instance, in the order of the state
	hosts                                         []Host

	servers []*http.Server
	close   sync.Once
	faultMu sync.Mutex // makes changing a fault and shutting doors one step

	closeMu sync.Mutex
	closed  bool
	running sync.WaitGroup // listeners and requests; nothing is added once closed
}

// Start starts all systems. The context bounds starting only.
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
	s.systems = map[string]lab.System{plesk.Name: panel, huaweicloud.Name: cloud, dcs.Name: cache, ecs.Name: servers, mediatemple.Name: rental}
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

// startRedis opens a port for each instance; the first one gets the address.
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

// begin counts a request as running, unless the simulator is closed.
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

// Close ends everything: requests in progress are cut. It returns when nothing
// of the simulator runs any more.
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

// trap is where redirects lead: nobody should ever come here.
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

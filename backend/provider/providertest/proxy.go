package providertest

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is an HTTP proxy on loopback, which connects to nothing but loopback.
type Proxy struct {
	// User is the user and password that the proxy requires, "user:password"; "": none.
	User string
	// CA is the authority of the proxy's certificate, as PEM; "" without TLS.
	CA string

	server *httptest.Server
	mu     sync.Mutex // guards the fields below
	status int
	hosts  map[string]string
	asked  []string
}

// NewProxy starts a proxy that is stopped at the end of the test. withTLS makes it an https:// proxy with its own authority.
func NewProxy(t *testing.T, user string, withTLS bool) *Proxy {
	t.Helper()
	p := &Proxy{User: user, hosts: map[string]string{}}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if withTLS {
		var certificate tls.Certificate
		certificate, p.CA = Certificate(t, "127.0.0.1")
		p.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.Close)
	return p
}

// Address returns the host and port of the proxy.
func (p *Proxy) Address() string { return p.server.Listener.Addr().String() }

// URL returns the address of the proxy with a user and password, "user:password", or without them.
func (p *Proxy) URL(user string) string {
	scheme, host, _ := strings.Cut(p.server.URL, "://")
	if user != "" {
		host = user + "@" + host
	}
	return scheme + "://" + host
}

// Answer sets the answer to every CONNECT, with [Canary] in its text; 0: the proxy connects.
func (p *Proxy) Answer(status int) *Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
	return p
}

// Route makes the proxy connect to a loopback address for a host:port, which need not exist. Other hosts must be loopback
// addresses.
func (p *Proxy) Route(host, address string) *Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts[host] = address
	return p
}

// Asked returns the host:port of each CONNECT so far.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Host)
	status, host := p.status, cmp.Or(p.hosts[r.Host], r.Host)
	p.mu.Unlock()
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.User))
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, Canary, http.StatusMethodNotAllowed)
	case status != 0:
		http.Error(w, Canary, status)
	case p.User != "" && r.Header.Get("Proxy-Authorization") != login:
		http.Error(w, Canary, http.StatusProxyAuthRequired)
	default:
		connect(w, r, host)
	}
}

// connect connects to the host, and copies bytes in both directions until one side closes its connection.
func connect(w http.ResponseWriter, r *http.Request, host string) {
	address, err := netip.ParseAddrPort(host)
	if err != nil || !address.Addr().IsLoopback() {
		http.Error(w, Canary, http.StatusBadGateway)
		return
	}
	remote, err := new(net.Dialer).DialContext(r.Context(), "tcp", host)
	if err != nil {
		http.Error(w, Canary, http.StatusBadGateway)
		return
	}
	defer remote.Close() //nolint:errcheck // both sides are done
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic("the connection cannot be hijacked")
	}
	client, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer client.Close() //nolint:errcheck // both sides are done
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(remote, client)
		_ = remote.Close()
	}()
	_, _ = io.Copy(client, remote)
}

// Certificate returns a self-signed certificate for a host, and its PEM.
func Certificate(t *testing.T, host string) (certificate tls.Certificate, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if address := net.ParseIP(host); address != nil {
		template.IPAddresses = []net.IP{address}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// IgnoreProxies makes this process use no proxy of the machine. Call it before the first request: net/http reads the
// environment once.
func IgnoreProxies() {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		_ = os.Unsetenv(name)
	}
}

// NoSuchHost returns a resolver that answers for every name that it does not exist, without leaving the process.
func NoSuchHost() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close() //nolint:errcheck // the client is done
			var length [2]byte
			for {
				if _, err := io.ReadFull(server, length[:]); err != nil {
					return
				}
				message := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(server, message); err != nil || len(message) < 4 {
					return
				}
				message[2], message[3] = message[2]|0x80, 0x83 // a response, NXDOMAIN
				_, _ = server.Write(append(length[:], message...))
			}
		}()
		return client, nil
	}}
}
